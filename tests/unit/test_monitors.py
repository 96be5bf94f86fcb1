"""Monitors without Redis: targets, stacks, downs, and what this process knows of its own."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals
from celery.result import AsyncResult

from hardening import Receipt, Target, harden
from hardening.core import telemetry
from hardening.core.scripts import monitoring as scripts
from hardening.core.scripts.monitoring import Errand, Found, Told, Turn
from hardening.monitors.down import Down, DownReason
from hardening.monitors.errors import MonitorError, MonitorFailed
from hardening.monitors.notices import Notices
from hardening.monitors.owner import owner_of
from hardening.monitors.ref import Monitor, tag_of
from hardening.monitors.running import Running, running_task, tell_of_ends
from hardening.monitors.stack import callers
from hardening.monitors.sweep import _is_gone, _reason
from hardening.monitors.table import Held, Table
from hardening.monitors.teller import Teller
from hardening.monitors.watch import Watch
from hardening.monitors.watching import prepare
from tests.forked import forked

APP = harden(Celery("monitors", broker="redis://127.0.0.1:1/0", set_as_current=False))


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("web@host", "node:web@host"), ("worker:web@host", "node:web@host"), ("worker:h:1:aa", "worker:h:1:aa"),
        ("queue:mail", "queue:mail"), ("queue:a:b", "queue:a:b"), ("agent:mail", "queue:agent.mail"),
        ("task:17", "receipt:17"), ("receipt:17", "receipt:17"), (Receipt("17", APP), "receipt:17"),
        (AsyncResult("17", app=APP), "receipt:17"), (Target.queue("mail"), "queue:mail"),
    ],
)  # fmt: skip
def test_a_target_is_known_by_many_names(what: Any, shown: str) -> None:
    """Text, receipts and results."""
    assert str(Target.of(what)) == shown


def test_a_stack_is_of_the_callers() -> None:
    """As deep as was asked; what is deep in a path is cut at its front."""

    def inner(depth: int) -> list[str]:
        return json.loads(callers(depth))  # type: ignore[no-any-return]

    assert inner(0) == []
    first, second = inner(2)
    assert first.endswith(f"in {test_a_stack_is_of_the_callers.__qualname__}.<locals>.inner")
    assert second.endswith(f"in {test_a_stack_is_of_the_callers.__qualname__}")
    where = compile("found = callers(1)", "/" + "deep/" * 100 + "x.py", "exec")
    names: dict[str, Any] = {"callers": callers}
    exec(where, names)  # noqa: S102 - a file with a long path
    (line,) = json.loads(names["found"])
    assert (len(line), line[0]) == (200, "…")


@pytest.mark.parametrize("depth", [0, 3])
def test_what_is_said_of_a_monitor_is_json(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written piece by piece: whatever the tag, in a task and outside, and with what is to be sent."""
    settings = vars(APP)["_hardening_settings"].model_copy(update={"monitor_stack_depth": depth})
    monkeypatch.setitem(vars(APP), "_hardening_settings", settings)
    tag = 'a "tag"\n\\ of \u202e, \ud800'

    @APP.task(name=f'odd "{depth}"', shared=False)
    def odd() -> list[Any]:
        sent = odd.si(1, two="2")
        return [json.loads(prepare("queue:mail", tag, told, 1.0, "now", APP)[1].errand.about) for told in (None, sent)]

    alone = odd()
    assert [one.pop("on_down", {}).get("kwargs") for one in alone] == [None, {"two": "2"}]
    assert [len(one.pop("stack", ())) for one in alone] == [depth, depth]
    assert alone == [{"tag": tag}, {"tag": tag}]
    in_task = odd.apply(task_id='an "id"').get()[0]
    assert len(in_task.pop("stack", ())) == depth
    assert in_task == {"tag": tag, "task": 'an "id"', "task_name": odd.name}
    with pytest.raises(TypeError, match="arguments of on_down are not JSON"):
        prepare("queue:mail", tag, odd.si(object()), 1.0, "now", APP)


def test_a_child_that_is_forked_in_a_task_does_not_end_what_its_parent_monitors() -> None:
    """Though the task ends there as well, say by ``sys.exit`` in it."""
    table = owner_of(APP).table
    held = Held(Errand("o#fork", "queue:mail", has_task=False, leak_after_ms=1, about="{}"), "", "the task", None)
    table.put(held)

    def take(task_id: str) -> None:
        table.take_of(task_id)

    tell_of_ends(take)

    def end() -> None:
        signals.task_postrun.send(sender=None, task_id="the task")
        assert table.get("o#fork") is held

    assert forked(end) == 0
    signals.task_postrun.send(sender=None, task_id="the task")
    assert table.get("o#fork") is None


def test_a_loop_that_closes_as_it_is_told_costs_nobody_else_a_down() -> None:
    """Redis has been told that all of them were heard."""
    loop: Any = SimpleNamespace(is_closed=lambda: False, call_soon_threadsafe=_raise_closed)

    async def on_down(_: Down) -> None: ...

    with telemetry.capture("hardening.monitor.tell_failed") as events:
        Teller().tell(on_down, Down.of(Told("o#1", "exited", 1, "x", "y"), "t"), loop)
    assert [event.error for event in events] == ["RuntimeError('Event loop is closed')"]  # type: ignore[attr-defined]


def test_a_loop_that_is_closed_already_is_told_of() -> None:
    """A coroutine function that was to run there never runs; what needs no loop is called all the same."""
    loop, called = asyncio.new_event_loop(), threading.Event()
    loop.close()

    async def on_down(_: Down) -> None: ...

    down, teller = Down.of(Told("o#1", "exited", 1, "x", "y"), "t"), Teller()
    with telemetry.capture("hardening.monitor.tell_failed") as events:
        teller.tell(on_down, down, loop)
        teller.tell(lambda _: called.set(), down, loop)
        assert called.wait(10)
    expected = "RuntimeError('the event loop that was to await it is closed')"
    assert [event.error for event in events] == [expected]  # type: ignore[attr-defined]


def test_a_down_that_cannot_be_told_costs_those_behind_it_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what nobody can read, nor one for which no thread was to be had: that is told with the next."""
    owner, told = owner_of(APP), threading.Event()
    watch = Watch(owner)
    names = ["o#early", "o#late"]
    downs = [b"nonsense", *(f"{name}\x1fexited\x1f1\x1fqueue:q\x1fx".encode() for name in names)]
    heard_by: list[str] = []

    def on_down(down: Down) -> None:
        heard_by.append(down.monitor)
        if down.monitor == names[-1]:
            told.set()

    for name in names:
        errand = Errand(name, "queue:q", has_task=False, leak_after_ms=1, about="{}")
        owner.table.put(Held(errand, "", "", on_down))

    def renew(_keys: Any, _owner: str, _ttl_ms: int, heard: int) -> Any:
        del downs[:heard]
        return SimpleNamespace(run=lambda _client: [len(downs), *downs])

    monkeypatch.setattr(scripts, "renew", renew)
    with pytest.raises(ValueError, match="not enough values"):
        watch._hear()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _raise_closed)
        with pytest.raises(RuntimeError):
            watch._hear()
    watch._hear()
    assert told.wait(10)
    assert (heard_by, downs) == (names, [])


def _raise_closed(*_: Any) -> None:
    raise RuntimeError("Event loop is closed")


def test_notices_are_sent_when_there_are_threads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there was none to be had."""
    notices, ran = Notices(APP), threading.Event()
    monkeypatch.setattr(notices, "run_once", ran.set)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _raise_closed)
        with pytest.raises(RuntimeError):
            notices.start()
    notices.start()
    assert ran.wait(10)


def test_a_down_is_told_as_text() -> None:
    """A reason that is not known is unknown."""
    down = Down.of(Told.parse(b"o#1\x1fcrashed\x1f1000\x1freceipt:r\x1fdead failed"), "t")
    assert down.to_json() == {
        "monitor": "o#1", "target": "receipt:r", "tag": "t", "reason": "crashed", "how": "dead failed",
        "at": "1970-01-01T00:00:01+00:00",
    }  # fmt: skip
    assert Down.of(Told("o#1", "strange", 1, "x", "y"), "t").reason is DownReason.UNKNOWN


def test_replies_are_read() -> None:
    """Of a turn, and of a record whose text nobody vouches for."""
    assert Turn.parse([0]) == Turn(is_mine=False)
    assert Turn.parse([1, 2, 3, 4, b"queue:q", b"exited", b"", b"o", b"p"]) == Turn(
        is_mine=True, due=2, owed=3, owners=4, gone=(("queue:q", "exited"),), dead=("o", "p")
    )
    found = Found.parse(b"o#1", b's\x1f1000\x1f3000\x1fqueue:q\x1f{"on_down": {"task": "t"}}')
    one = Monitor.of(found, 2500)
    assert (one.owner, one.age_s, one.leak_after_s, one.on_down, one.tag) == ("o", 1.5, 2.0, "task:t", "")
    assert [tag_of(about) for about in ('{"tag": "x"}', "[]", "[" * 100_000)] == ["x", "", ""]


def test_errors_say_what_to_do() -> None:
    """And are ours."""
    error = MonitorFailed("queue:q", ConnectionError("away\nfor long"))
    assert isinstance(error, MonitorError)
    assert str(error) == (
        'queue:q is not monitored, Redis did not take it: ConnectionError: away; with when="later" it is set '
        "when Redis is back"
    )


def test_reasons_follow_from_what_was_seen() -> None:
    """Of a silent worker: whether its process is still on this host."""
    host = os.uname().nodename
    assert [_reason("queue:q", how) for how in ("exited", "abandoned", "silent", "acked")] == [
        "exited", "exited", "lease_lost", "",
    ]  # fmt: skip
    assert not _is_gone(f"{host}:{os.getpid()}:aa")
    assert not _is_gone("elsewhere:1:aa")
    assert not _is_gone(f"{host}:x:aa")
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert _is_gone(f"{host}:{child}:aa")  # nobody has waited for it yet: it is a zombie
    os.waitpid(child, 0)
    assert _reason(f"worker:{host}:{child}:aa", "silent") == "crashed"


def held(number: int, task: str = "") -> Held:
    """A monitor."""
    return Held(Errand(f"o#{number}", "queue:q", has_task=False, leak_after_ms=1, about=""), "t", task, None)


def test_what_is_taken_out_is_taken_once() -> None:
    """By id, by task, or all."""
    table = Table()
    monitors = [held(1), held(2, "a"), held(3, "a"), held(4, "b")]
    for one in monitors:
        table.put(one)
    assert (len(table), table.kept(), table.is_idle) == (4, [], False)
    monitors[0].is_kept = monitors[3].is_kept = True
    assert table.kept() == [monitors[0], monitors[3]]
    assert [table.take("o#2"), table.take("o#2")] == [monitors[1], None]
    assert [table.take_of("a"), table.take_of("a"), table.take_of("none")] == [[monitors[2]], [], []]
    assert table.take_all() == [monitors[0], monitors[3]]
    assert (table.is_idle, table._by_task) == (True, {})
    table.owe([("o#1", "queue:q"), ("o#2", "queue:q")])
    assert table.take_owed(1) == [("o#1", "queue:q")]
    assert not table.is_idle
    assert (table.take_owed(), table.take_owed(), table.is_idle) == ([("o#2", "queue:q")], [], True)


def test_what_is_to_be_set_is_begun_once_and_put_back_unless_it_has_ended() -> None:
    """What ended before it was begun was never sent."""
    table = Table()
    monitors = [held(1), held(2), held(3), held(4)]
    for one in monitors:
        one.is_pending = True
        table.put(one)
    assert table.take("o#1") is monitors[0]
    assert not monitors[0].is_sent
    begun = table.begin_pending(2)
    assert begun == monitors[1:3]
    assert [(one.is_pending, one.is_sent) for one in monitors[1:]] == [(False, True), (False, True), (True, False)]
    table.take("o#2")
    table.put_back(begun)
    assert [(one.is_pending, one.is_sent) for one in monitors[1:3]] == [(False, True), (True, True)]
    assert (table.begin_pending(9), table.begin_pending(9)) == ([monitors[3], monitors[2]], [])


def test_a_child_has_none_of_its_parents_monitors() -> None:
    """Nor its name."""
    owner = owner_of(APP)
    owner.table.put(held(1))
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        other = owner_of(APP)
        os.write(writes, b"ok" if other is not owner and other.table.is_idle and other.name != owner.name else b"no")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reads, 2) == b"ok"
    assert owner_of(APP) is owner
    owner.table.take_all()
    for end in (reads, writes):
        os.close(end)


def test_a_task_that_is_only_called_owns_nothing() -> None:
    """Its caller does."""

    @APP.task(shared=False)
    def which() -> Running:
        return running_task()

    assert running_task() == Running()
    assert which() == Running()
    assert which.apply(task_id="17").get() == Running("17", which.name)
