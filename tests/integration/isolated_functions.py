"""Functions that tests run in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

__all__ = [
    "Nested", "answer", "die", "fail", "handed_on", "hang", "interrupted", "leave", "odd", "spawn", "talk", "wide",
]  # fmt: skip


def answer(*args: Any, **kwargs: Any) -> list[Any]:
    """Says what it was given, and where it runs."""
    return [args, kwargs, os.getpid()]


class Nested:
    """A place for a function."""

    @staticmethod
    def double(number: int) -> int:
        """Doubles."""
        return 2 * number


def talk() -> str:
    """Prints, on whatever there is."""
    print("to standard output")  # noqa: T201 - must not be taken for the answer
    os.write(1, b'{"result": "a lie"}\n')
    subprocess.run([sys.executable, "-c", "print('a child too')"], check=True)
    return "the truth"


def fail() -> None:
    """Raises."""
    raise ValueError("no luck")


def leave() -> None:
    """Leaves."""
    sys.exit(3)


def die(number: int) -> None:
    """Is killed."""
    os.kill(os.getpid(), number)
    threading.Event().wait(30)


def odd() -> object:
    """Gives what is no JSON."""
    return object()


def wide() -> str:
    """Gives too much."""
    return "x" * 2**24


def handed_on() -> list[int]:
    """What a child has open that is given all there is to give."""
    listing = "import os; print(*[fd for fd in range(64) if os.path.exists(f'/proc/self/fd/{fd}')])"
    child = subprocess.run([sys.executable, "-c", listing], stdout=subprocess.PIPE, close_fds=False, check=True)
    return [int(fd) for fd in child.stdout.split()]


def interrupted(size: int) -> str:
    """Gives much, while a signal comes again and again."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    return "x" * size


def spawn(pids: str) -> None:
    """Starts a child, in which it ignores whatever can be ignored, and says both pids."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(pids).write_text(f"{os.getpid()} {child.pid}\n")


def hang(pids: str) -> None:
    """Likewise, and does not return."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    spawn(pids)
    threading.Event().wait(600)
