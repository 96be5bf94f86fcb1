"""``@app.task(boundary=...)``: Celery retries what may be over in a moment, and only that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from celery.exceptions import Retry

from hardening.boundaries import BoundaryError, RetryBudget, RetryStrategy, tasks
from hardening.core import telemetry
from hardening.core.errors import ConfigError
from tests.conftest import SERVERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

pytestmark = [pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine"), pytest.mark.one_server]


@pytest.fixture(autouse=True)
def strategy(monkeypatch: pytest.MonkeyPatch) -> RetryStrategy:
    """A budget of this test's own, and no pauses to speak of."""
    own = RetryStrategy(base_s=0.01, cap_s=0.01, retry_after_cap_s=3600, budget=RetryBudget(per_s=0))
    monkeypatch.setattr(tasks, "_STRATEGY", own)
    return own


def _failing(app: Celery, error: Callable[[int], Exception | None], **options: Any) -> tuple[Any, list[int]]:
    """A task that raises, by attempt, and the attempts that it made."""
    attempts: list[int] = []

    def body(self: Any, word: str = "done", *, times: int = 1) -> str:
        """Tries."""
        attempts.append(self.request.retries)
        if failed := error(self.request.retries):
            raise failed
        return word * times

    shop: Any = app
    return shop.task(name="failing", bind=True, shared=False, **{"boundary": "network", **options})(body), attempts


def test_it_is_retried_until_it_works(app: Celery) -> None:
    """By Celery, which counts."""
    task, attempts = _failing(app, lambda retries: TimeoutError() if retries < 2 else None)
    with telemetry.capture("hardening.boundary") as events:
        assert task.apply(("a",), {"times": 3}).get() == "aaa"
    assert attempts == [0, 1, 2]
    told: list[Any] = events
    assert [(event.category, event.attempt) for event in told] == [("network", 1), ("network", 2)]


def test_it_fails_with_the_boundary_error_in_the_end(app: Celery) -> None:
    """After as many retries as Celery allows the task."""
    task, attempts = _failing(app, lambda _: TimeoutError(), max_retries=2)
    with pytest.raises(BoundaryError, match="network: TimeoutError"):
        task.apply().get()
    assert attempts == [0, 1, 2]


@pytest.mark.parametrize("error", [ValueError("bug"), httpx.DecodingError("never")])
def test_what_will_not_be_over_is_not_retried(app: Celery, error: Exception) -> None:
    """Nor what was not to be expected, which crashes as it is."""
    task, attempts = _failing(app, lambda _: error)
    with pytest.raises(type(error) if isinstance(error, ValueError) else BoundaryError):
        task.apply().get()
    assert attempts == [0]


def test_an_outage_does_not_make_many_messages_of_one(app: Celery) -> None:
    """The budget is the process's: ten to begin with, then one for each ten tasks."""
    task, attempts = _failing(app, lambda _: TimeoutError(), max_retries=None)
    with telemetry.capture("hardening.retry") as events:
        for _ in range(50):
            with pytest.raises(BoundaryError):
                task.apply().get()
    assert len(attempts) - 50 == 14  # the deposits of tasks that began while the reserve was full do not count
    assert len(events) == 50


def test_it_asks_celery_for_the_pause_that_the_other_side_asks_for(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to an hour."""
    asked: list[float] = []
    response = httpx.Response(503, headers={"Retry-After": "1800"}, request=httpx.Request("GET", "http://there"))
    task, _ = _failing(app, lambda _: httpx.HTTPStatusError("busy", request=response.request, response=response))

    def retry(_self: Any, *, exc: Exception, countdown: float) -> Retry:
        asked.append(countdown)
        return Retry("later", exc)

    monkeypatch.setattr(task.__class__, "retry", retry)
    assert task.apply().state == "RETRY"
    assert asked == [1800.0]


def test_called_as_a_function_it_raises(app: Celery) -> None:
    """There is no message that could be sent again."""
    task, attempts = _failing(app, lambda _: TimeoutError())
    with pytest.raises(BoundaryError):
        task()
    assert attempts == [0]


def test_tasks_of_all_shapes_may_have_one(app: Celery) -> None:
    """Functions, classes, tasks that inherit it, and tasks that retry themselves for other reasons."""
    shop: Any = app
    attempts: list[str] = []

    def shout(text: str) -> str:
        return text.upper()

    plain = shop.task(name="plain", shared=False, boundary="json")(shout)

    class Classy(shop.Task):  # type: ignore[misc]
        name = "classy"
        boundary = "redis"

        def run(self, text: str) -> str:
            return f"{self.name} {text}"

    class Heir(Classy):
        name = "heir"

    def try_twice() -> str:
        attempts.append("auto")
        if len(attempts) < 3:
            raise (KeyError, TimeoutError)[len(attempts) - 1]
        return "worked"

    again = {"autoretry_for": (KeyError,), "retry_backoff": False, "default_retry_delay": 0}
    auto = shop.task(name="auto", shared=False, boundary="network", **again)(try_twice)

    def fail() -> None:
        raise TimeoutError

    none = shop.task(name="none", shared=False, boundary=None)(fail)

    classy, heir = shop.register_task(Classy()), shop.register_task(Heir())
    assert [plain.apply(("a",)).get(), classy.apply(("b",)).get(), heir.apply(("c",)).get()] == [
        "A", "classy b", "heir c",
    ]  # fmt: skip
    assert auto.apply().get() == "worked"
    assert len(attempts) == 3
    with pytest.raises(TimeoutError):
        none.apply().get()
    with pytest.raises(TypeError):
        plain.delay()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("netwrok", "boundary of task wrong is 'netwrok', did you mean 'network'?"),
        ("?", "boundary of task wrong is '?', expected one of: network, database, json, redis"),
        (7, "boundary of task wrong is 7, expected one of: network, database, json, redis"),
    ],
)
def test_an_unknown_boundary_is_refused_when_the_task_is_bound(app: Celery, name: object, told: str) -> None:
    """With the near name."""

    @app.task(name="wrong", shared=False, boundary=name)
    def wrong() -> None:
        pass

    with pytest.raises(ConfigError) as caught:
        app.finalize()
    assert str(caught.value) == told
