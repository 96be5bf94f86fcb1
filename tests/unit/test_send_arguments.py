"""supervised_send refuses what makes no sense before it does anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from kombu.exceptions import EncodeError

from hardening import harden, send_many, supervised_send
from hardening.core.errors import ConfigError
from hardening.delivery import Receipt


@pytest.fixture
def app() -> Celery:
    """A hardened app whose broker nobody listens on: whatever tries to send fails otherwise than expected here."""
    return harden(Celery("app", broker="redis://127.0.0.1:1/0", set_as_current=False))


@pytest.fixture
def add(app: Celery) -> Any:
    """A task of two arguments."""

    @app.task(name="add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    return add


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"confirm": "done"}, "confirm is 'done', expected one of: queued, replicated, claimed, started, acked"),
        ({"confirm": "replicated", "replicas": 0}, "replicas is 0, expected 1 or more"),
        ({"replicas": 2}, "confirm is 'queued', expected 'replicated' with replicas or on_disk"),
        ({"on_disk": True}, "confirm is 'queued', expected 'replicated' with replicas or on_disk"),
        ({"on_error": "spool"}, "on_error is 'spool', expected one of: dead_letter, raise, log, ignore"),
        ({"timeout": 0}, "timeout is 0, expected a positive number of seconds"),
        ({"timeout": -1.5}, "timeout is -1.5, expected a positive number of seconds"),
        ({"timeout": float("inf")}, "timeout is inf, expected a positive number of seconds"),
        ({"timeout": float("nan")}, "timeout is nan, expected a positive number of seconds"),
        ({"retries": -1}, "retries is -1, expected 0 or more"),
        ({"idempotency_window": 5}, "idempotency_window is 5, but there is no idempotency_key"),
        ({"idempotency_key": ""}, "idempotency_key is empty, expected a name for the message, such as 'order-17-paid'"),
        *(
            (
                {"idempotency_key": "k", "idempotency_window": window},
                f"idempotency_window is {window!r}, expected seconds, from 0.001 to 31536000",
            )
            for window in (0, -1, float("nan"), float("inf"), timedelta(0), timedelta(days=366))
        ),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "ignore"])
def test_an_argument_that_makes_no_sense_is_a_value_error(
    app: Celery, options: dict[str, Any], told: str, on_error: str
) -> None:
    """Also for who ignores errors: this one is the caller's."""
    with pytest.raises(ValueError, match=r".") as raised:
        supervised_send("add", app=app, **{"on_error": on_error, **options})
    assert str(raised.value) == told


def test_an_idempotency_key_is_text(app: Celery) -> None:
    """A number would be another key than its digits."""
    key: Any = 17
    with pytest.raises(TypeError, match="idempotency_key is 17, expected a str"):
        supervised_send("add", app=app, idempotency_key=key, on_error="ignore")


@pytest.mark.parametrize("kind", ["group", "chain", "chord", "chunks"])
def test_what_is_many_already_is_not_sent_many_times(add: Any, kind: str) -> None:
    """Each item is one message."""
    parts = [add.s(1, 2), add.s(3, 4)]
    canvases: dict[str, Any] = {
        "group": lambda: group(parts),
        "chain": lambda: chain(*parts),
        "chord": lambda: chord(parts, add.s(5)),
        "chunks": lambda: add.chunks([(1, 2), (3, 4)], 1),
    }
    canvas = canvases[kind]()
    with pytest.raises(ValueError, match=f"task is a celery.{kind}, expected one task"):
        send_many(canvas, [()])


@pytest.mark.parametrize("options", [{"headers": {"x": object()}}, {"metadata": {"x": object()}}, {"args": [object()]}])
def test_what_is_not_json_is_the_callers_error(app: Celery, options: dict[str, Any]) -> None:
    """Whatever ``on_error`` says."""
    with pytest.raises((EncodeError, TypeError), match="not JSON serializable"):
        supervised_send("add", app=app, on_error="ignore", **options)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1,), {}), ((1, 2, 3), {}), ((1,), {"z": 2})])
def test_arguments_that_the_task_does_not_take_are_the_callers_error(
    add: Any, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    """Before anything is sent, as for ``apply_async``."""
    with pytest.raises(TypeError, match="argument"):
        supervised_send(add, args, kwargs, on_error="ignore")


def test_an_app_that_is_not_hardened_cannot_send_so() -> None:
    """It would have nobody who keeps the receipt."""
    app = Celery("plain", broker="redis://127.0.0.1:1/0", set_as_current=False)
    with pytest.raises(ConfigError, match="the app 'plain' is not hardened"):
        supervised_send("add", app=app)
    with pytest.raises(ConfigError, match="the app 'plain' is not hardened"):
        Receipt.load("r" * 36, app=app)


def test_the_old_message_protocol_is_refused(app: Celery) -> None:
    """It keeps in the body what a receipt needs in the headers."""
    app.conf.task_protocol = 1
    with pytest.raises(ConfigError, match="task_protocol is 1, expected 2"):
        supervised_send("add", app=app, on_error="ignore")


@pytest.mark.parametrize("state", ["", "nonsense", "scheduled", "dead", "spooled", "unknown"])
def test_only_states_on_the_way_can_be_waited_for(app: Celery, state: str) -> None:
    """To the others no message gets by waiting."""
    with pytest.raises(ValueError, match=f"cannot wait for '{state}', expected queued, claimed, started or acked"):
        Receipt("r" * 36, app).wait(state, 0.1)
