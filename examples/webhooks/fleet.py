"""The workers: started, killed, and restarted when they are dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONCURRENCY", "Fleet", "Worker"]

#: Pool processes of each worker.
CONCURRENCY = 4
#: How long a dead worker stays dead, in seconds; what systemd or Kubernetes would do.
RESTART_S = 1.0
#: How long the operating system may take to end a killed process, in seconds.
_END_S = 10.0

_ROOT = Path(__file__).parents[2]


class Worker:
    """One ``celery worker`` with its pool, in a process group of its own.

    Args:
        name: unique in the fleet.
        directory: where its log goes.
        environ: its environment.

    Attributes:
        pid: of the process that was started last.
        exit_code: of the one that ended last; negative: the signal that killed it.
        died_at_s: when its death was noticed, by :func:`time.monotonic`; None: it is alive, or was not begun.
    """

    def __init__(self, name: str, directory: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.died_at_s: float | None = None
        self._log = directory / f"{name}.log"
        self._ready = directory / f"{name}.ready"
        self._environ = {**environ, "WEBHOOKS_READY": str(self._ready)}
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = self.exit_code = 0

    @property
    def is_ready(self) -> bool:
        """Whether it is alive and consumes."""
        return self._process is not None and self._ready.exists()

    def start(self) -> None:
        """Starts it, with a pipe that ends it when this process does."""
        self._ready.unlink(missing_ok=True)
        self.died_at_s = None
        command = [
            sys.executable, "-m", "celery", "-A", "examples.webhooks.worker", "worker",
            "-n", f"{self.name}@webhooks", "-P", "prefork", "-c", str(CONCURRENCY), "-l", "WARNING",
            "--without-gossip", "--without-mingle",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self._environ, start_new_session=True
            )
        self.pid = self._process.pid

    def kill(self) -> None:
        """SIGKILL to the worker and its whole pool, as when a machine or a container dies. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        self.died_at_s = time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self.exit_code = process.wait(_END_S)
        if process.stdin:
            process.stdin.close()

    def has_died(self) -> bool:
        """Whether it died without us; if so, clears away what is left of its pool."""
        if self._process is None or self._process.poll() is None:
            return False
        self.kill()
        return True


class Fleet:
    """All workers of a run.

    Args:
        directory: where logs go.
        broker_url: of Redis.
        endpoint_url: where workers post events.
        stock: plain Celery.
        size: how many workers.
    """

    def __init__(self, directory: Path, *, broker_url: str, endpoint_url: str, stock: bool, size: int = 2) -> None:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        about = {"WEBHOOKS_BROKER": broker_url, "WEBHOOKS_ENDPOINT": endpoint_url, "WEBHOOKS_STOCK": str(int(stock))}
        environ = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(directory), **about}
        self.workers = [Worker(f"worker-{number}", directory, environ) for number in range(1, size + 1)]

    def start(self) -> None:
        """Starts all."""
        for worker in self.workers:
            worker.start()

    def kill(self) -> None:
        """Kills all. Idempotent."""
        for worker in self.workers:
            worker.kill()

    @property
    def is_ready(self) -> bool:
        """Whether every worker consumes."""
        return all(worker.is_ready for worker in self.workers)

    def mend(self) -> list[Worker]:
        """Restarts workers that have been dead for long enough.

        Returns:
            Those which died since the last call without having been killed by us.
        """
        died = [worker for worker in self.workers if worker.has_died()]
        for worker in self.workers:
            if worker.died_at_s is not None and time.monotonic() - worker.died_at_s >= RESTART_S:
                worker.start()
        return died
