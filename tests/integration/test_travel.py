"""What travels along, travels with every message, whichever way it is sent."""

from __future__ import annotations

import asyncio
import json
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord, group, signals

from hardening import asupervised_send, send_many, supervised_send
from hardening.context.here import pack
from hardening.core import travel
from hardening.core.context_header import HEADER
from hardening.delivery import stream_many
from tests.conftest import SERVERS
from tests.counting import calls_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

pytestmark = pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine")

_HEADER = "hardening_test_luggage"
_luggage: ContextVar[Any] = ContextVar("luggage", default=None)


@pytest.fixture(autouse=True)
def _packer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carries what this test says, or what came along with the task that runs."""
    monkeypatch.setattr(travel, "_packers", travel._packers)
    travel.register(_HEADER, lambda: _luggage.get() or travel.received(_HEADER))


@pytest.fixture
def carried() -> Iterator[str]:
    """Something that goes along with what the test sends."""
    token = _luggage.set("a trunk")
    yield "a trunk"
    _luggage.reset(token)


@pytest.fixture
def add(app: Celery) -> Any:
    """A plain task."""

    @app.task(name="add", shared=False)
    def add(*_args: Any, **_kwargs: Any) -> None:
        pass

    return app.tasks["add"]


def _headers(client: Redis, queue: str) -> list[dict[str, Any]]:
    """Of all that waits in a queue, the newest first."""
    stored: Any = client.lrange(queue, 0, -1)
    return [json.loads(raw)["headers"] for raw in stored]


def _listened(send: Callable[[Any], object]) -> Callable[[Any], object]:
    """The same while a tracer listens to what Celery publishes, which takes the templates out of use."""

    def sending(add: Any) -> None:
        def listen(**_: Any) -> None:
            pass

        signals.after_task_publish.connect(listen)
        try:
            send(add)
        finally:
            signals.after_task_publish.disconnect(listen)

    return sending


_WAYS: dict[str, Callable[[Any], object]] = {
    "delay": lambda add: add.delay(1),
    "apply_async": lambda add: add.apply_async((1,), headers={"mine": 1}, priority=0),
    "by name": lambda add: add.app.send_task("elsewhere", (1,)),
    "signature": lambda add: add.s(1).apply_async(),
    "group": lambda add: group(add.s(1), add.s(2)).apply_async(),
    "chain": lambda add: chain(add.s(1), add.s(2)).apply_async(),
    "chord": lambda add: chord([add.s(1)], app=add.app)(add.s(2)),
    "supervised": lambda add: supervised_send(add, (1,)),
    "supervised, with options": lambda add: supervised_send(add, (1,), shadow="x", headers={"mine": 1}),
    "supervised, by name": lambda add: supervised_send("elsewhere", (1,), app=add.app),
    "supervised signature": lambda add: supervised_send(add.s(1)),
    "supervised, watched": _listened(lambda add: supervised_send(add, (1,))),
    "many": lambda add: send_many(add, [(1,), (2,), (3,)], chunk=2),
    "many, one by one": _listened(lambda add: send_many(add, [(1,), (2,)])),
    "stream": lambda add: list(stream_many(add, [(1,), (2,)])),
    "coroutine": lambda add: asyncio.run(_asend(add)),
    "coroutine, watched": _listened(lambda add: asyncio.run(_asend(add))),
}


async def _asend(add: Any) -> None:
    await asupervised_send(add, (1,))


@pytest.mark.parametrize("way", _WAYS)
def test_every_way_of_sending_carries_it(way: str, add: Any, client: Redis, queue: str, carried: str) -> None:
    """And what the sender put into the headers is there too."""
    add.app.conf.result_backend = add.app.conf.broker_url
    _WAYS[way](add)
    sent = _headers(client, queue)
    assert sent
    assert [headers.get(_HEADER) for headers in sent] == [carried] * len(sent)
    if "options" in way or way == "apply_async":
        assert sent[0]["mine"] == 1


@pytest.mark.parametrize("way", _WAYS)
def test_every_way_of_sending_carries_on_what_came_with_a_task(way: str, add: Any, client: Redis, queue: str) -> None:
    """A task that knows nothing of it sends, and it goes on."""
    app: Celery = add.app
    add.app.conf.result_backend = app.conf.broker_url

    @app.task(name="outer", shared=False)
    def outer() -> None:
        _WAYS[way](add)

    outer.apply(headers={_HEADER: "from afar"}).get()
    sent = _headers(client, queue)
    assert sent
    assert [headers.get(_HEADER) for headers in sent] == ["from afar"] * len(sent)


@pytest.mark.parametrize("way", _WAYS)
def test_what_is_sent_after_it_goes_without(way: str, add: Any, client: Redis, queue: str) -> None:
    """No template keeps what was for one message, nor goes on without what is for the next."""
    add.app.conf.result_backend = add.app.conf.broker_url
    send = _WAYS[way]
    send(add)
    token = _luggage.set("a bag")
    send(add)
    _luggage.reset(token)
    send(add)
    told = [headers.get(_HEADER) for headers in _headers(client, queue)]
    third = len(told) // 3
    assert told == [None] * third + ["a bag"] * third + [None] * third


def test_a_chunk_takes_what_there_is_when_it_is_sent(add: Any, client: Redis, queue: str) -> None:
    """The receipts of a stream are asked for over time."""
    stream = stream_many(add, [(number,) for number in range(3)], chunk=1)
    next(stream)
    token = _luggage.set("a bag")
    next(stream)
    _luggage.reset(token)
    next(stream)
    assert [headers.get(_HEADER) for headers in _headers(client, queue)] == [None, "a bag", None]


def test_a_retry_brings_what_there_is_now(app: Celery, client: Redis, queue: str) -> None:
    """Celery gives it the headers that it came with; what was packed anew is newer."""

    @app.task(name="again", bind=True, shared=False)
    def again(self: Any) -> None:
        signature = self.signature_from_request(self.request)
        signature.apply_async()
        token = _luggage.set("newer")
        signature.apply_async()
        _luggage.reset(token)

    again.apply(headers={_HEADER: "older"}).get()
    assert [headers[_HEADER] for headers in _headers(client, queue)] == ["newer", "older"]


def test_it_is_found_through_what_is_called_inside_a_task(app: Celery) -> None:
    """Tasks that are called as functions, themselves among them, and tasks that run inside without their own."""
    found: list[Any] = []

    @app.task(name="inner", shared=False)
    def inner() -> None:
        found.append(travel.received(_HEADER))

    @app.task(name="outer", shared=False)
    def outer(*, deep: bool = False) -> None:
        inner()
        inner.apply().get()
        inner.apply(headers={_HEADER: "its own"}).get()
        if not deep:
            outer(deep=True)

    outer.apply(headers={_HEADER: "from afar"}).get()
    assert found == ["from afar", "from afar", "its own"] * 2
    inner()
    assert found[-1] is None


def test_no_task_runs_in_another_thread(app: Celery) -> None:
    """Whoever starts one says what goes along."""
    found: list[Any] = []

    @app.task(name="outer", shared=False)
    def outer() -> None:
        thread = threading.Thread(target=lambda: found.append(travel.received(_HEADER)))
        thread.start()
        thread.join(10)

    outer.apply(headers={_HEADER: "from afar"}).get()
    assert found == [None]


@pytest.mark.parametrize("headers", [None, [], "text", 7, {_HEADER: None}, {"other": 1}])
def test_headers_may_be_anything(app: Celery, headers: Any) -> None:
    """Whoever publishes to Redis writes them."""
    found: list[Any] = []

    @app.task(name="outer", bind=True, shared=False)
    def outer(self: Any) -> None:
        self.request.headers = headers
        found.append(travel.received(_HEADER))

    outer.apply().get()
    assert found == [None]


def test_a_header_has_one_packer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one."""
    monkeypatch.setattr(travel, "_packers", ())
    travel.register("hardening_a", lambda: 1)
    travel.register("hardening_b", lambda: None)
    travel.register("hardening_a", lambda: 2)
    assert travel.outgoing() == {"hardening_a": 2}


def test_what_ran_before_the_app_was_hardened_does_not_matter(app: Celery, client: Redis, queue: str) -> None:
    """Celery keeps its sender; a new one is made."""
    from hardening import harden  # noqa: PLC0415 - a second app

    second = Celery("second", broker=app.conf.broker_url, set_as_current=False)
    second.conf.update(task_default_queue=queue, hardening_prefix=app.conf.hardening_prefix)
    assert second.amqp.send_task_message
    harden(second)
    token = _luggage.set("a bag")
    second.send_task("elsewhere")
    _luggage.reset(token)
    second.close()
    assert _headers(client, queue)[0][_HEADER] == "a bag"


def test_having_nothing_to_carry_costs_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the context and one at Celery's stack: a few calls, counted, for a clock would tell of the machine."""
    monkeypatch.setattr(travel, "_packers", ((HEADER, pack),))
    assert calls_of(travel.outgoing) <= 10
