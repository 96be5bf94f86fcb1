"""The processes: two workers that do everything, and a beat."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from examples.orders.couriers import COURIERS
from examples.orders.inventory import Inventory

if TYPE_CHECKING:
    from hardening import Agent

__all__ = ["WORKERS", "Crew"]

_AGENTS: tuple[type[Agent], ...] = (Inventory, *COURIERS)
#: What each worker takes from; an agent's mailbox is a queue.
_QUEUES = ("orders", *(f"agent.{agent.name}" for agent in _AGENTS))
_THREADS = 6
_END_S = 10.0
_ROOT = Path(__file__).parents[2]
_WORKER = ("worker", "-P", "threads", "-c", str(_THREADS), "-Q", ",".join(_QUEUES))
#: How many workers there are.
WORKERS = 2
_COMMANDS = {
    **{f"worker-{number}": (*_WORKER, "-n", f"worker-{number}@orders") for number in range(1, WORKERS + 1)},
    "beat": ("hardening", "beat"),
}


class Crew:
    """Starts all processes, each in a group of its own; a context that leaves none.

    Args:
        directory: for their logs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for name, command in _COMMANDS.items():
                self._start(name, command)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in _COMMANDS:
            self.kill(name)

    @property
    def ended(self) -> list[str]:
        """Those that ended by themselves, which they should not."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def name_of(self, pid: int) -> str:
        """Which of them has a process id."""
        return next(name for name, process in self._processes.items() if process.pid == pid)

    def kill(self, name: str) -> None:
        """SIGKILL to a process and all it started, as when a machine dies. Idempotent."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_END_S)
        if process.stdin:
            process.stdin.close()

    def _start(self, name: str, command: tuple[str, ...]) -> None:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        with (self._directory / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "examples.orders.worker", *command],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )  # fmt: skip
