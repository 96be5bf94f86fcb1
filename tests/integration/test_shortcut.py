"""The short way to a message leads to the same message as Celery's own."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from celery import Celery, signals
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu import Exchange, Queue
from pydantic import BaseModel

from hardening.delivery.shortcut import is_plain, send_plain
from tests.conftest import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine")

_SOON = datetime.now(UTC) + timedelta(hours=1)


class _Recorder:
    """A producer that keeps what it is given, together with what the signals said."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @property
    def connection(self) -> _Recorder:
        return self

    @contextmanager
    def _reraise_as_library_errors(self) -> Iterator[None]:
        yield

    def publish(self, body: Any, **options: Any) -> None:
        self.seen.append(("published", body, options))

    def told(self, name: str, **said: Any) -> None:
        del said["signal"]
        self.seen.append((name, said))

    @contextmanager
    def listening(self) -> Iterator[None]:
        before, after = functools.partial(self.told, "before"), functools.partial(self.told, "after")
        signals.before_task_publish.connect(before, weak=False, dispatch_uid="before")
        signals.after_task_publish.connect(after, weak=False, dispatch_uid="after")
        try:
            yield
        finally:
            signals.before_task_publish.disconnect(dispatch_uid="before")
            signals.after_task_publish.disconnect(dispatch_uid="after")


def _both(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> tuple[Any, Any]:
    """What either way hands to the producer and to the signals."""
    options = {"task_id": "7" * 36, **options}
    assert is_plain(task, task.app, options)
    short, long = _Recorder(), _Recorder()
    with short.listening():
        send_plain(task, args, kwargs, _copy(options), short)
    with long.listening():
        task.apply_async(args, kwargs, producer=long, **_copy(options))
    return short.seen, long.seen


def _copy(options: dict[str, Any]) -> dict[str, Any]:
    """Both ways write into the headers they are given."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in options.items()}


@pytest.fixture
def shop(app: Celery) -> Celery:
    """An app with tasks of all plain kinds."""
    app.conf.task_queues = [
        Queue("mail", Exchange("mail", "topic"), routing_key="mail.#"),
        Queue(app.conf.task_default_queue),
        Queue("fast"),
    ]
    app.conf.task_routes = {"routed": {"queue": "fast", "priority": 3}, "post.*": "mail"}

    def anything(*args: Any, **kwargs: Any) -> None:
        pass

    options: dict[str, dict[str, Any]] = {
        "anything": {},
        "routed": {},
        "post.card": {},
        "limited": {"time_limit": 7, "soft_time_limit": 5},
        "kept": {"ignore_result": True},
        "squeezed": {"compression": "gzip"},
        "shadowed": {"shadow_name": lambda task, *_: f"shadow of {task.name}"},
    }
    for name, has in options.items():
        cast("Any", app).task(name=name, shared=False, **has)(anything)
    return app


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda of: st.lists(of, max_size=3)
)
_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "headers": st.dictionaries(st.text("abc", min_size=1), st.text(max_size=5), max_size=2),
        "queue": st.sampled_from(["fast", "mail"]),
        "priority": st.integers(0, 9),
        "eta": st.just(_SOON),
        "serializer": st.just("json"),
        "compression": st.just("bzip2"),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["anything", "routed", "post.card", "limited", "kept", "squeezed", "shadowed"]),
    args=st.lists(_JSON, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text("xyz", min_size=1), _JSON, max_size=3),
    options=_OPTIONS,
    event=st.booleans(),
)
def test_either_way_makes_the_same_message(
    shop: Celery, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any], *, event: bool
) -> None:
    """Whatever the task, its arguments and its options; and the signals say the same."""
    shop.conf.task_send_sent_event = event
    short, long = _both(shop.tasks[name], args, kwargs, options)
    assert [entry[0] for entry in short][:2] == ["before", "published"]
    assert _without_times(short) == _without_times(long)


def _without_times(seen: list[Any]) -> list[Any]:
    """Events say when they were made."""
    for entry in seen:
        if entry[0] == "published" and isinstance(entry[1], dict):
            for field in ("timestamp", "clock", "local_received"):
                entry[1].pop(field, None)
    return seen


def test_either_way_refuses_arguments_that_the_task_does_not_take(shop: Celery) -> None:
    """Before anything is published."""

    @shop.task(name="one", shared=False)
    def one(only: int) -> None:
        pass

    recorder = _Recorder()
    with pytest.raises(TypeError, match="positional argument"):
        send_plain(one, (), {}, {"task_id": "x"}, recorder)
    assert recorder.seen == []


def test_a_countdown_is_counted_from_now(shop: Celery) -> None:
    """As Celery counts it."""
    short, long = _both(shop.tasks["anything"], (), {}, {"countdown": 60})
    due = [datetime.fromisoformat(seen[1][2]["headers"]["eta"]) for seen in (short, long)]
    assert abs(due[0] - due[1]) < timedelta(seconds=5)
    assert timedelta(seconds=50) < due[0] - datetime.now(UTC) < timedelta(seconds=65)


class _Card(BaseModel):
    number: str


@pytest.mark.parametrize("option", ["expires", "link", "exchange", "chain", "root_id", "retries", "unheard_of"])
def test_an_option_that_is_not_plain_goes_the_long_way(shop: Celery, option: str) -> None:
    """Celery knows what to do with it, or refuses it."""
    assert not is_plain(shop.tasks["anything"], shop, {"task_id": "x", option: None})


def test_a_task_that_is_not_plain_goes_the_long_way(shop: Celery) -> None:
    """With models for arguments, with an expiry, by name only, of another app, eager, or with a method of its own."""

    class Own(shop.Task):  # type: ignore[misc,name-defined]
        def apply_async(self, *args: Any, **kwargs: Any) -> Any:
            return super().apply_async(*args, **kwargs)

    @shop.task(name="modelled", shared=False, pydantic=True)
    def modelled(card: _Card) -> None:
        pass

    @shop.task(name="own", shared=False, base=Own)
    def own() -> None:
        pass

    @shop.task(name="brief", shared=False, expires=60)
    def brief() -> None:
        pass

    @shop.task(name="proxied", shared=False)
    def proxied() -> None:
        pass

    plain = shop.tasks["anything"]
    assert is_plain(plain, shop, {})
    assert is_plain(proxied, shop, {})
    assert not is_plain(shop.tasks["modelled"], shop, {})
    assert not is_plain(shop.tasks["own"], shop, {})
    assert not is_plain(shop.tasks["brief"], shop, {})
    assert not is_plain("anything", shop, {})
    assert not is_plain(plain.s(), shop, {})
    assert not is_plain(plain, Celery(set_as_current=False), {})
    shop.conf.task_always_eager = True
    assert not is_plain(plain, shop, {})


@pytest.mark.parametrize("name", ["apply_async", "send_task"])
def test_what_a_tracer_put_in_the_way_is_gone_through(shop: Celery, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Sentry and others wrap these methods, with everything copied that functools.wraps copies."""
    from celery import Task  # noqa: PLC0415 - as a tracer does it

    owner: Any = Task if name == "apply_async" else Celery
    original = getattr(owner, name)

    @functools.wraps(original)
    def traced(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    plain = shop.tasks["anything"]
    assert is_plain(plain, shop, {})
    monkeypatch.setattr(owner, name, traced)
    assert not is_plain(plain, shop, {})


def test_a_task_that_is_sent_by_a_task_goes_the_long_way(shop: Celery) -> None:
    """It belongs to a tree of tasks, which Celery writes down."""
    seen = []

    @shop.task(name="outer", shared=False)
    def outer() -> None:
        seen.append(is_plain(shop.tasks["anything"], shop, {}))

    outer.apply()
    assert seen == [False]
