"""A function in a process of its own: it answers in time, or is killed with all that it started."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardening.boundaries import BoundaryError, IsolationError, isolate
from hardening.boundaries.isolated import run
from tests.eventually import eventually
from tests.integration import isolated_functions as functions

_HERE = "tests.integration.isolated_functions"


def is_gone(pid: int) -> bool:
    """Whether a process is no more, or waits only to be forgotten."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _fds() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing itself is one of them, each time


def test_it_runs_elsewhere_and_answers() -> None:
    """With its arguments, by function or by name."""
    args, kwargs, pid = isolate(functions.answer, 1, "two", [3], timeout=30, four={"five": None})
    assert (args, kwargs) == ([1, "two", [3]], {"four": {"five": None}})
    assert pid != os.getpid()
    assert isolate(functions.Nested.double, 21, timeout=30) == 42
    assert isolate("math:sqrt", 9, timeout=30) == 3.0


def test_what_it_prints_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """It goes to standard error."""
    assert isolate(functions.talk, timeout=30) == "the truth"
    told = capfd.readouterr()
    assert told.out == ""
    assert [line in told.err for line in ("to standard output", "a lie", "a child too")] == [True] * 3


@pytest.mark.parametrize(
    ("function", "args", "why", "text"),
    [
        (functions.fail, (), "raised", "it raised ValueError: no luck"),
        (functions.leave, (), "raised", "it raised SystemExit: 3"),
        (functions.die, (signal.SIGKILL,), "died", "its process ended with signal 9"),
        (functions.die, (signal.SIGSEGV,), "died", "its process ended with signal 11"),
        ("os:_exit", (7,), "died", "its process ended with exit code 7"),
        (functions.odd, (), "refused", "its result is no JSON"),
        (functions.wide, (), "refused", "its result is longer than"),
        ("no_such_module:f", (), "refused", "it cannot be imported: ModuleNotFoundError"),
        (f"{_HERE}:missing", (), "refused", "it cannot be imported: AttributeError"),
    ],
)
def test_however_it_ends_without_a_result_it_is_said(function: Any, args: tuple[Any, ...], why: str, text: str) -> None:
    """As one error, which is a boundary's, and is not tried again."""
    before = _fds()
    with pytest.raises(IsolationError, match=text) as caught:
        isolate(function, *args, timeout=30)
    error = caught.value
    assert isinstance(error, BoundaryError)
    assert (error.why, error.category, error.retryable, error.cause) == (why, "isolation", False, None)
    assert error.function in str(error)
    assert ("no luck" in error.remote) == ("no luck" in text)
    assert _fds() == before


def test_it_is_killed_at_its_deadline_with_its_children(tmp_path: Path) -> None:
    """Though they listen to nothing else; and little later."""
    before, begin_s = _fds(), time.monotonic()
    with pytest.raises(IsolationError, match=r"its time of 1\.5 s was up") as caught:
        isolate(functions.hang, str(tmp_path / "pids"), timeout=1.5)
    assert caught.value.why == "timeout"
    assert 1.5 <= time.monotonic() - begin_s < 10
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    eventually(lambda: all(is_gone(pid) for pid in pids), 10)
    assert _fds() == before


def test_what_it_leaves_behind_is_killed(tmp_path: Path) -> None:
    """When it has answered."""
    assert isolate(functions.spawn, str(tmp_path / "pids"), timeout=30) is None
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    eventually(lambda: all(is_gone(pid) for pid in pids), 10)


def test_it_dies_with_the_one_who_waits(tmp_path: Path) -> None:
    """Such as a pool's child that runs into its hard time limit."""
    code = f"from hardening.boundaries import isolate; isolate('{_HERE}:hang', {str(tmp_path / 'pids')!r}, timeout=600)"
    waiting = subprocess.Popen([sys.executable, "-c", code])
    eventually(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"), 30)
    waiting.kill()
    waiting.wait(10)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    eventually(lambda: all(is_gone(pid) for pid in pids), 10)


def _in_a_daemon(queue: Any) -> None:
    queue.put([multiprocessing.current_process().daemon, isolate(functions.Nested.double, 4, timeout=30)])


def test_a_daemon_may_use_it() -> None:
    """Children of a prefork pool are such, and may start no process the usual way."""
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()
    daemon = fork.Process(target=_in_a_daemon, args=(queue,), daemon=True)
    daemon.start()
    assert queue.get() == [True, 8]
    daemon.join(10)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), 1e9])
def test_a_timeout_must_make_sense(timeout: float) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match="timeout is"):
        isolate(functions.answer, timeout=timeout)


def test_a_function_must_be_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lambdas, nothing of ``__main__``, nothing that hides behind another's name."""

    def local() -> None:
        pass

    hidden = FunctionType(local.__code__, {"__name__": _HERE}, "answer")
    hidden.__qualname__ = "answer"
    of_main = FunctionType(local.__code__, {"__name__": "__main__"}, "of_main")
    of_main.__qualname__ = "of_main"
    monkeypatch.setattr(sys.modules["__main__"], "of_main", of_main, raising=False)  # found here, and not there
    for wrong in (local, lambda: None, hidden, of_main, 7, "module", "a:b:c"):
        with pytest.raises(ValueError, match="function is"):
            isolate(wrong, timeout=30)  # type: ignore[arg-type]


def test_arguments_must_be_json() -> None:
    """Before anything is started."""
    with pytest.raises(TypeError, match="JSON"):
        isolate(functions.answer, object(), timeout=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    )
)
def test_the_other_side_gives_back_any_json(value: Any) -> None:
    """As it was given."""
    request = json.loads(json.dumps({"function": f"{_HERE}:answer", "args": [value], "kwargs": {}}))
    assert json.loads(json.dumps(run(request)))["result"][0] == [value]
