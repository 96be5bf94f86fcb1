"""Blocks that say what is being done: they nest, restore, follow, and end where they should."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from celery import Celery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardening.context import Breadcrumb, ErrorContext, breadcrumb, carry, current, error_context
from hardening.context.here import pack
from hardening.core.context_header import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app that has no broker."""
    app = Celery("context", broker="memory://", set_as_current=False)
    yield app
    app.close()


def _task(app: Celery, body: Callable[[], Any]) -> Any:
    @app.task(name="task", shared=False)
    def task(**_kwargs: Any) -> Any:
        return body()

    return task


_CAME = {"correlation_id": "abc", "operation": "ship", "fields": {"order": 1}, "breadcrumbs": [{"text": "packed"}]}


def test_outside_of_all_blocks_there_is_none() -> None:
    """Nor does a breadcrumb make one."""
    breadcrumb("nobody sees this")
    assert current() is None
    assert pack() is None


def test_blocks_nest_and_restore() -> None:
    """What is said inside is added to what is said around, and is gone after it."""
    with error_context("checkout", order=17, step=1) as outer:
        assert outer == current() == ErrorContext(outer.correlation_id, "checkout", {"order": 17, "step": 1})
        with error_context(step=2) as inner:
            assert inner == (outer.correlation_id, "checkout", {"order": 17, "step": 2}, ())
        assert current() == outer
        with error_context("charge"):
            assert current() == outer._replace(operation="charge")
    assert current() is None


def test_a_correlation_id_is_made_once_or_given() -> None:
    """Each beginning has another one."""
    with error_context() as first, error_context() as same:
        assert first.correlation_id == same.correlation_id
    with error_context() as second:
        assert second.correlation_id not in ("", first.correlation_id)
    with error_context(correlation_id="mine") as third:
        assert third.correlation_id == "mine"
        with error_context(correlation_id="another") as fourth:
            assert fourth.correlation_id == "another"
        assert pack() == {"correlation_id": "mine", "operation": "", "fields": {}, "breadcrumbs": []}


def test_a_block_that_raises_restores_too() -> None:
    """Whatever is raised."""
    for error in (ValueError(), KeyboardInterrupt()):
        with error_context("outer") as outer:
            with pytest.raises(type(error)), error_context("inner"):
                raise error
            assert current() == outer
    assert current() is None


def test_breadcrumbs_stay_for_the_blocks_around() -> None:
    """In order; the last twenty."""
    with error_context():
        breadcrumb("one", a=1)
        with error_context():
            breadcrumb("two")
        here = current()
        assert here is not None
        assert here.breadcrumbs == (Breadcrumb("one", {"a": 1}), Breadcrumb("two"))
        for number in range(30):
            breadcrumb(str(number))
        here = current()
        assert here is not None
        assert [crumb.text for crumb in here.breadcrumbs] == [str(number) for number in range(10, 30)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(st.just(0), lambda inside: st.lists(inside, max_size=4), max_leaves=20))
def test_whatever_the_nesting_each_block_ends_as_it_began(shape: Any) -> None:
    """But for the breadcrumbs, of which there is one for each block, in the order in which they were dropped."""
    dropped: list[str] = []

    def walk(node: Any, depth: int) -> None:
        with error_context(str(depth), depth=depth) as entered:
            dropped.append(str(len(dropped)))
            breadcrumb(dropped[-1])
            for child in node or ():
                walk(child, depth + 1)
            left = current()
            assert left is not None
            assert left[:3] == entered[:3]
            assert [crumb.text for crumb in left.breadcrumbs] == dropped[-20:]

    walk(shape, 0)
    assert current() is None


# -- what follows


def test_coroutines_that_run_at_once_do_not_mix() -> None:
    """Each has the context of whoever started it, and its own from there."""

    async def one(name: str) -> ErrorContext | None:
        with error_context(name):
            breadcrumb(name)
            await asyncio.sleep(0)
            breadcrumb(f"{name} again")
            return current()

    async def all_of_them() -> Any:
        with error_context(batch=7):
            breadcrumb("begin")
            found = await asyncio.gather(one("a"), one("b"))
            assert [crumb.text for crumb in (current() or found[0]).breadcrumbs] == ["begin"]  # type: ignore[union-attr]
            return found

    found = asyncio.run(all_of_them())
    for name, context in zip("ab", found, strict=True):
        assert context is not None
        assert (context.operation, context.fields) == (name, {"batch": 7})
        assert [crumb.text for crumb in context.breadcrumbs] == ["begin", name, f"{name} again"]


def test_a_thread_has_none_unless_it_is_carried() -> None:
    """One carried function may run in many threads at once."""
    with error_context("around") as around, ThreadPoolExecutor(2) as pool:
        assert pool.submit(current).result(10) is None
        carried = carry(current)
        gate = threading.Barrier(2, timeout=10)
        meeting = carry(lambda: (gate.wait(), current())[1])
        both = [pool.submit(meeting) for _ in range(2)]
        assert [one.result(10) for one in both] == [around, around]
    assert carried() == around
    assert current() is None


def test_green_threads_do_not_mix() -> None:
    """Each has its own."""

    def one(name: str) -> Any:
        with error_context(name):
            gevent.sleep(0)
            return current()

    found = gevent.joinall([gevent.spawn(one, "a"), gevent.spawn(one, "b")], timeout=10)
    assert [green.value.operation for green in found] == ["a", "b"]
    assert current() is None


# -- inside a task


def test_a_task_has_what_came_with_its_message(app: Celery) -> None:
    """Read when it is asked for, in the task and in what it calls."""
    found = _task(app, current).apply(headers={HEADER: _CAME}).get()
    assert found == ("abc", "ship", {"order": 1}, (Breadcrumb("packed"),))
    assert current() is None


def test_blocks_of_a_task_nest_in_what_came(app: Celery) -> None:
    """Breadcrumbs that it drops stay for it, and it alone."""

    def body() -> list[Any]:
        breadcrumb("begun")
        with error_context("charge", card=3):
            breadcrumb("charged")
            inside = current()
        breadcrumb("ending")
        return [inside, current(), pack()]

    task = _task(app, body)
    for _ in range(2):
        inside, after, packed = task.apply(headers={HEADER: _CAME}).get()
        assert inside[:3] == ("abc", "charge", {"order": 1, "card": 3})
        assert after[:3] == ("abc", "ship", {"order": 1})
        assert [crumb["text"] for crumb in packed["breadcrumbs"]] == ["packed", "begun", "charged", "ending"]


def test_a_task_without_gets_one_with_its_first_breadcrumb(app: Celery) -> None:
    """So that the breadcrumb is not lost."""

    def body() -> list[ErrorContext | None]:
        before = current()
        breadcrumb("begun")
        first = current()
        breadcrumb("going on")
        return [before, first, current()]

    before, first, second = _task(app, body).apply().get()
    assert before is None
    assert first.breadcrumbs == (Breadcrumb("begun"),)
    assert second == first._replace(breadcrumbs=(Breadcrumb("begun"), Breadcrumb("going on")))
    assert current() is None


def test_breadcrumbs_in_a_block_of_a_task_without_outlive_the_block(app: Celery) -> None:
    """Though the rest of the block does not."""

    def body() -> ErrorContext | None:
        with error_context("inner"):
            breadcrumb("inside")
        return current()

    found = _task(app, body).apply().get()
    assert (found.operation, found.breadcrumbs) == ("", (Breadcrumb("inside"),))


def test_a_task_called_as_a_function_is_part_of_the_one_that_runs(app: Celery) -> None:
    """Its breadcrumbs are that one's."""

    @app.task(name="inner", shared=False)
    def inner() -> None:
        breadcrumb("inside")

    def body() -> ErrorContext | None:
        inner()
        return current()

    found = _task(app, body).apply(headers={HEADER: _CAME}).get()
    assert [crumb.text for crumb in found.breadcrumbs] == ["packed", "inside"]


def test_a_thread_of_a_task_can_be_carried(app: Celery) -> None:
    """Though no task of Celery's runs there."""

    def body() -> list[ErrorContext | None]:
        with ThreadPoolExecutor(1) as pool:
            return [pool.submit(function).result(10) for function in (current, carry(current))]

    bare, carried = _task(app, body).apply(headers={HEADER: _CAME}).get()
    assert bare is None
    assert carried.correlation_id == "abc"


def test_a_task_that_is_applied_in_a_carried_thread_is_inside_it(app: Celery) -> None:
    """Its own requests come first, then those that were carried."""

    @app.task(name="inner", shared=False)
    def inner() -> ErrorContext | None:
        return current()

    def body() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(carry(lambda: inner.apply().get())).result(10)

    assert _task(app, body).apply(headers={HEADER: _CAME}).get().correlation_id == "abc"


def test_a_task_called_as_a_function_in_a_carried_thread_is_part_of_what_was_carried(app: Celery) -> None:
    """Though Celery has it on its stack there, as the only one."""

    @app.task(name="inner", shared=False)
    def inner() -> ErrorContext | None:
        return current()

    def body() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(carry(inner)).result(10)

    assert _task(app, body).apply(headers={HEADER: _CAME}).get().correlation_id == "abc"


def test_what_came_is_read_once(app: Celery) -> None:
    """It is the same object after that."""
    first, second = _task(app, lambda: (current(), current())).apply(headers={HEADER: _CAME}).get()
    assert first is second


# -- the old way


def test_the_old_argument_is_adopted_with_a_warning(app: Celery) -> None:
    """Once for each run; what travels on is a header."""

    def body() -> list[Any]:
        return [current(), current(), pack()]

    old = {"correlation_id": "old", "operation": "ship", "order": 1, "password": "x"}
    with pytest.warns(DeprecationWarning, match=r"task was called with error_context=.*docs/context\.md") as warned:
        first, second, packed = _task(app, body).apply(kwargs={"error_context": old}).get()
    assert len(warned) == 1
    assert first == second == ("old", "ship", {"order": 1, "password": "x"}, ())
    assert packed["correlation_id"] == "old"


@pytest.mark.parametrize("old", [None, "text", 7, ["a"]])
def test_an_argument_of_that_name_that_is_no_dictionary_is_something_else(app: Celery, old: object) -> None:
    """It is the task's own business."""
    assert _task(app, current).apply(kwargs={"error_context": old}).get() is None


def test_an_old_context_may_say_anything(app: Celery) -> None:
    """An id is made where there is none."""
    with pytest.warns(DeprecationWarning, match="task was called"):
        found = _task(app, current).apply(kwargs={"error_context": {"correlation_id": 7, "operation": [], 3: 4}}).get()
    assert len(found.correlation_id) == 32
    assert (found.operation, found.fields) == ("", {3: 4})


def test_a_header_is_newer_than_the_old_argument(app: Celery) -> None:
    """No warning: whoever sent it has moved on."""
    task = _task(app, current)
    found = task.apply(kwargs={"error_context": {"correlation_id": "old"}}, headers={HEADER: _CAME}).get()
    assert found.correlation_id == "abc"
