"""A function in a process of its own: what it is given, how much it may tell, what is left if there is no process."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hardening.boundaries import IsolationError, isolate, isolation
from hardening.boundaries.isolated import run
from tests.integration import isolated_functions as functions

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = """
import sys

def path():
    sys.stdout.write("left in a buffer")
    return __file__

def deep():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return nested

def fail():
    raise ValueError("x" * 50_000)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that only this process's import path leads to."""
    (tmp_path / "apart_from_all.py").write_text(_TEXT)
    monkeypatch.syspath_prepend(tmp_path)
    return "apart_from_all"


def test_it_imports_what_this_process_can(
    module: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it had printed is not lost as its process is killed at its end."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    assert isolate(f"{module}:path", timeout=30) == str(tmp_path / "apart_from_all.py")
    assert "left in a buffer" in capfd.readouterr().err


def test_what_lies_next_to_its_script_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of this room that is named like a module of Python's would be taken for it."""
    script = tmp_path / isolation._ENTRY.name
    shutil.copy(isolation._ENTRY, script)
    (tmp_path / "json.py").write_text("raise SystemExit('not the one that was meant')")
    monkeypatch.setattr(isolation, "_ENTRY", script)
    assert isolate("math:sqrt", 9, timeout=30) == 3.0


def test_what_it_starts_holds_nothing_of_ours() -> None:
    """Not the pipe by which it learns of our end, nor that of its answer."""
    assert isolate(functions.handed_on, timeout=30) == [0, 1, 2]


def test_an_answer_that_is_interrupted_is_told_to_its_end() -> None:
    """Its function left a timer behind, whose signals come while a full pipe holds up the answer."""
    assert len(isolate(functions.interrupted, 2**23, timeout=30)) == 2**23


@pytest.mark.usefixtures("module")
def test_what_is_told_is_bounded() -> None:
    """However long the error, and however deep the result."""
    request: dict[str, Any] = {"args": [], "kwargs": {}, "path": []}
    failed = run({**request, "function": "apart_from_all:fail"})
    assert (failed["why"], len(failed["remote"])) == ("raised", 10_000)
    with pytest.raises(IsolationError, match="its result is no JSON"):
        isolate("apart_from_all:deep", timeout=30)


def test_a_process_that_cannot_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many processes, say."""

    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", fail)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are all that is wanted
    with pytest.raises(BlockingIOError):
        isolate("math:sqrt", 9, timeout=30)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
