"""A function in a process of its own: what it is given, how much it may tell, what is left if there is no process."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hardening.boundaries import IsolationError, isolate
from hardening.boundaries.isolated import run

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
