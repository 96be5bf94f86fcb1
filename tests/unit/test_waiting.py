"""Results that are waited for without a timeout."""

from __future__ import annotations

import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chord, group
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import AsyncResult, GroupResult, ResultSet

from hardening import harden
from hardening.core import telemetry
from hardening.core.errors import HardeningWarning
from hardening.timeouts import UnboundedWait, deadline
from hardening.timeouts import waiting as room
from hardening.timeouts.clock import clock_of
from hardening.timeouts.waiting import bound_waits
from tests.unit.making import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Every way to wait for a result, or some.
_WAYS: dict[str, Callable[[Any], Any]] = {
    "get": lambda app: app.AsyncResult("a").get(interval=0.01),
    "celery's own get": lambda app: AsyncResult("a", app=app).get(interval=0.01),
    "wait": lambda app: app.AsyncResult("a").wait(interval=0.01),
    "None": lambda app: app.AsyncResult("a").get(None, interval=0.01),
    "join": lambda app: ResultSet([app.AsyncResult("a")], app=app).join(interval=0.01),
    "set's get": lambda app: ResultSet([app.AsyncResult("a")], app=app).get(interval=0.01),
    "group's get": lambda app: app.GroupResult("g", [app.AsyncResult("a")]).get(interval=0.01),
    "native": lambda app: GroupResult("g", [app.AsyncResult("a")], app=app).join_native(interval=0.01),
}


@pytest.fixture(autouse=True)
def _unwarned() -> Iterator[None]:
    room._warned.clear()
    yield
    room._warned.clear()


def _shop(**conf: Any) -> Celery:
    conf = {"hardening_timeouts": {"celery.result.*": 0.05}, "result_backend": "cache+memory://", **conf}
    return harden(make(**conf))


@pytest.mark.parametrize("way", _WAYS.values(), ids=_WAYS)
def test_every_wait_ends_when_the_table_says_so(way: Callable[[Any], Any]) -> None:
    """And warns, with the line of the caller, which is this file."""
    app = _shop()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began_s = time.monotonic()
        with pytest.raises(ResultTimeout):
            way(app)
    assert time.monotonic() - began_s < 5
    (warning,) = caught
    assert warning.category is HardeningWarning
    assert warning.filename == __file__
    assert f"{__file__}:{warning.lineno} waits for a result without a timeout" in str(warning.message)
    assert "it waits 0.05 s" in str(warning.message)


def test_a_line_is_told_once() -> None:
    """Each line, however often it waits; also as an event."""
    app = _shop()
    with telemetry.capture("hardening.wait") as events, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            with pytest.raises(ResultTimeout):
                app.AsyncResult("a").get(interval=0.01)
        with pytest.raises(ResultTimeout):
            app.AsyncResult("a").get(interval=0.01)
    assert len(caught) == len(events) == 2
    assert [event.line.partition(":")[0] for event in events] == [__file__] * 2  # type: ignore[attr-defined]


def test_a_timeout_that_is_said_is_kept_and_not_warned_of() -> None:
    """Warnings are errors here."""
    app = _shop()
    with pytest.raises(ResultTimeout):
        app.AsyncResult("a").get(timeout=0.01, interval=0.01)
    with pytest.raises(ResultTimeout):
        app.AsyncResult("a").get(0.01)
    with pytest.raises(ResultTimeout):
        app.GroupResult("g", [app.AsyncResult("a")]).join(timeout=0.01, interval=0.01)


def test_a_result_that_is_there_is_returned() -> None:
    """The timeout changes nothing about it."""
    app = _shop()
    app.backend.store_result("there", 7, "SUCCESS")
    with pytest.warns(HardeningWarning, match=r"celery\.result\.get"):
        assert app.AsyncResult("there").get() == 7
    with pytest.warns(HardeningWarning, match=r"celery\.result\.join"):
        assert app.GroupResult("g", [app.AsyncResult("there")]).get() == [7]


@pytest.mark.parametrize("policy", ["enforce", "raise"])
def test_what_ran_here_is_not_waited_for(policy: str) -> None:
    """Nobody is warned or refused: neither who asks for it, nor Celery, which joins a chord's header itself."""
    app = _shop(hardening_unbounded_get=policy)

    @app.task(shared=False)
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    many: Any = group(total.s([1, 2]), total.s([4]), app=app).apply()
    assert many.get() == many.join() == [3, 4]
    assert app.GroupResult("outer", [many]).get() == [[3, 4]]
    assert chord([total.s([1]), total.s([2])], total.s(), app=app).apply().get() == 3
    assert ResultSet([], app=app).get() == []
    mixed = ResultSet([total.s([1]).apply(), app.AsyncResult("a")], app=app)
    expected = HardeningWarning if policy == "enforce" else UnboundedWait
    with pytest.raises(expected):
        mixed.get(interval=0.01)


def test_a_result_that_was_fetched_is_not_waited_for_again() -> None:
    """It is kept by who asked for it. A set asks its backend all the same, and so may wait."""
    app = _shop(hardening_unbounded_get="raise")
    app.backend.store_result("there", 7, "SUCCESS")
    result = app.AsyncResult("there")
    assert result.get(timeout=1) == 7
    assert result.get() == 7
    with pytest.raises(UnboundedWait):
        ResultSet([result], app=app).get()


def test_a_deadline_bounds_the_wait_further() -> None:
    """No one waits longer than there is time."""
    app = _shop(hardening_timeouts={"celery.result.get": 60})
    clock_of(app).learn(0, 0, 0)
    with (
        deadline(0.05, app=app),
        pytest.warns(HardeningWarning, match=r"it waits 0\.0"),
        pytest.raises(ResultTimeout),
    ):
        app.AsyncResult("a").get(interval=0.01)


def test_raise_refuses_at_once() -> None:
    """The strictest."""
    app = _shop(hardening_unbounded_get="raise")
    with pytest.raises(UnboundedWait, match=r"celery\.result\.get without a timeout may wait for ever") as raised:
        app.AsyncResult("a").get()
    assert raised.value.operation == "celery.result.get"
    with pytest.raises(ResultTimeout):
        app.AsyncResult("a").get(timeout=0.01)


def test_warn_only_warns() -> None:
    """The wait is Celery's: as long as it takes."""
    app = _shop(hardening_unbounded_get="warn")
    with pytest.warns(HardeningWarning, match="it may wait for ever"):
        assert room._timeout_for(app, "celery.result.get", sys._getframe()) is None


def test_apps_that_are_not_hardened_are_left_alone() -> None:
    """Their results pass through."""
    app = Celery("plain", backend="cache+memory://", set_as_current=False)
    app.backend.store_result("there", 7, "SUCCESS")
    assert app.AsyncResult("there").get() == 7


def test_bounding_twice_changes_nothing() -> None:
    """As hardening a second app does."""
    bound_waits()
    before = (AsyncResult.get, ResultSet.join)
    bound_waits()
    assert (AsyncResult.get, ResultSet.join) == before


def test_not_every_line_of_a_generated_program_is_remembered() -> None:
    """A bounded memory."""
    room._warned.update(("x", str(number)) for number in range(1000))
    app = _shop()
    with pytest.raises(ResultTimeout):
        app.AsyncResult("a").get(interval=0.01)
    assert len(room._warned) == 1000
