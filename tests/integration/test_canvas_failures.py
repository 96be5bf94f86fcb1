"""Canvases that Redis takes in part, or not at all: what was sent is told, what can be is spooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import chord, group
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import supervised_send
from hardening.core.errors import PublishFailed, SendManyFailed
from hardening.core.scripts import Call
from hardening.delivery.fallback import fallback_of
from tests.integration.painting import painted, sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server


@pytest.fixture
def app(server: EmbeddedRedis, prefix: str, queue: str) -> Iterator[Celery]:
    """With two tasks and a result backend."""
    yield from painted(server, prefix, queue)


@pytest.fixture
def add(app: Celery) -> Any:
    """Adds two numbers."""
    return app.tasks["add"]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has Redis go away after so many publications, until it is told to come back."""
    run, left = Call.run, [100]

    def run_or_fail(self: Call, client: Any) -> Any:
        if self.script.name == "publish":
            left[0] -= 1
            if left[0] < 0:
                raise RedisConnectionError("gone")
        return run(self, client)

    monkeypatch.setattr(Call, "run", run_or_fail)
    monkeypatch.setattr("hardening.delivery.flusher.Flusher.start", lambda _: None)
    return lambda n: left.__setitem__(0, n)


def test_what_of_a_group_redis_is_not_there_to_take_is_spooled(
    app: Celery, stage: Stage, add: Any, failing: Any
) -> None:
    """Member by member; it is all there when Redis is back."""
    failing(2)
    receipt = sent(group(add.s(1, n) for n in range(5)), retries=0)
    assert receipt.counts() == {"queued": 2, "spooled": 3}
    assert (receipt.status(), [one.status() for one in receipt]) == ("spooled", ["queued"] * 2 + ["spooled"] * 3)
    failing(100)
    assert fallback_of(app).flusher.run_once().flushed == 3
    assert receipt.counts() == {"queued": 5}
    assert stage.ledger().counters["published"] == 5


@pytest.mark.parametrize("on_error", ["raise", "log", "ignore"])
def test_what_of_a_group_was_sent_is_told(add: Any, stage: Stage, failing: Any, on_error: Any) -> None:
    """In an error of ours; or the rest is unknown, as was asked for."""
    failing(2)
    canvas = group(add.s(1, n) for n in range(5))
    if on_error == "raise":
        with pytest.raises(SendManyFailed, match="gone; 2 were") as raised:
            supervised_send(canvas, retries=0, on_error=on_error)
        assert [one.status() for one in raised.value.receipts] == ["queued"] * 2
        assert [(one.index, type(one.error)) for one in raised.value.failures] == [(2, PublishFailed)]
    else:
        assert sent(canvas, retries=0, on_error=on_error).counts() == {"queued": 2, "unknown": 3}
    assert stage.ledger().counters == {"published": 2}


def test_a_chain_that_is_not_sent_fails_as_one_message(add: Any, failing: Any) -> None:
    """Which it is."""
    failing(0)
    with pytest.raises(PublishFailed):
        supervised_send(add.s(1, 2) | add.s(3), retries=0, on_error="raise")
    assert supervised_send(add.s(1, 2) | add.s(3), retries=0).status() == "spooled"


def test_a_chord_is_not_begun_while_its_result_backend_is_away(app: Celery, stage: Stage, add: Any) -> None:
    """Its header would run in vain."""

    def gone(_: str) -> None:
        raise RedisConnectionError("gone")

    canvas = chord([add.s(1, 2), add.s(3, 4)], app.tasks["total"].s())
    backend: Any = app.backend
    backend.get_task_meta = gone
    with pytest.raises(SendManyFailed, match="gone") as raised:
        supervised_send(canvas)
    assert (raised.value.sent, raised.value.receipts) == (0, [])
    assert isinstance(raised.value.failures[0].error, PublishFailed)
    assert len(sent(canvas, on_error="ignore")) == 0
    assert stage.ledger().counters == {}
