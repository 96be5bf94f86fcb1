"""One process of a measurement: it ends when it is told to, or when the one that started it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Process"]

_ROOT = Path(__file__).parents[1]
#: How long the operating system may take to end a killed process, in seconds.
_END_S = 10.0
#: Settings of the user's that would change what is measured.
_FOREIGN = ("HARDENING_", "CELERY_", "BENCHMARKS_")


class Process:
    """A process in a group of its own; the pipe to its standard input ends when this process does.

    Args:
        command: what to run.
        log: where its standard error goes.
        environ: what it finds in its environment besides ours.
        talks: whether its standard output is for us to read, as opposed to the log.
    """

    def __init__(self, command: Sequence[str], log: Path, environ: dict[str, str], *, talks: bool) -> None:
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        with log.open("ab") as sink:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if talks else sink,
                stderr=sink,
                bufsize=0,
                env={**inherited, "PYTHONPATH": path, **environ},
                start_new_session=True,
            )

    @property
    def stdin(self) -> IO[bytes]:
        """What it reads."""
        return cast("IO[bytes]", self._popen.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """What it says, if it talks."""
        return cast("IO[bytes]", self._popen.stdout)

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    @property
    def complaint(self) -> str:
        """The last line of its log."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "it left no word")

    def kill(self) -> None:
        """SIGKILL to its whole group. Idempotent."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(_END_S)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
