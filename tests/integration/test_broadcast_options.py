"""What may be said of a broadcast, and what may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hardening import broadcast
from tests.integration.spooling import app_for
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


@pytest.fixture
def add(server: EmbeddedRedis, prefix: str) -> Any:
    """A task of an app on the stage's queue."""

    @app_for(server.broker_url, prefix).task(name="add", shared=False)
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add


def names(stage: Stage, *queues: str) -> list[str]:
    """Queues of the stage."""
    return [stage.list_key(queue) for queue in queues]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"idempotency_key": "k"}, ValueError, "idempotency_key is 'k', but a broadcast is several messages"),
        ({"idempotency_window": 5.0}, ValueError, "idempotency_window is 5.0, but a broadcast is several messages"),
        ({"queue": "a"}, TypeError, "queue is for one message: a broadcast goes where its recipients are"),
        ({"task_id": "a"}, TypeError, "task_id is for one message"),
        ({"strategy": "most"}, ValueError, "strategy is 'most', expected one of: best_effort, at_least_one, all_or_no"),
        ({"confirm": "seen"}, ValueError, "confirm is 'seen', expected one of"),
        ({"timeout": 0}, ValueError, "timeout is 0, expected a positive number of seconds"),
        ({"countdwn": 1}, TypeError, "unknown option countdwn, did you mean countdown"),
        ({"delay": 1, "countdown": 2}, ValueError, "name one of them"),
    ],
)
def test_an_option_that_makes_no_sense_is_told(
    stage: Stage, add: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """In one line, and nothing is sent."""
    with pytest.raises(error, match=text):
        broadcast(add, names(stage, "a"), (1,), **options)
    assert stage.state() == State()


def test_an_option_that_says_nothing_is_nothing(stage: Stage, add: Any) -> None:
    """Who passes options on need not leave it out."""
    assert broadcast(add, names(stage, "a"), (1,), idempotency_key=None, idempotency_window=None).ok


def test_all_or_nothing_has_bounds(add: Any, stage: Stage) -> None:
    """One call of one script: Redis does nothing else meanwhile."""
    with pytest.raises(ValueError, match="1001 recipients, expected at most 1000 for all_or_nothing"):
        broadcast(add, [f"q{number}" for number in range(1001)], (1,), strategy="all_or_nothing")
    with pytest.raises(ValueError, match=r"3 messages have \d+ bytes together, expected at most 67108864"):
        broadcast(add, ["a", "b", "c"], ("x" * 2**24,), strategy="all_or_nothing")
    assert stage.state() == State()


def test_a_delay_is_for_all(stage: Stage, add: Any) -> None:
    """They are held until it is over."""
    result = broadcast(add, names(stage, "a", "b"), (1,), delay=3600)
    assert [one.state for one in result] == ["scheduled", "scheduled"]
    assert sorted(stage.state().scheduled) == sorted(one.id for one in result.receipts)
