"""An example, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

__all__ = ["Demo"]

_ROOT = Path(__file__).parents[2]
_TEMPORARY = "TMPDIR"


class Demo:
    """Runs an example with a temporary directory of its own, by which all its processes are known.

    Args:
        example: the package.
        directory: for everything.
        server: the Redis to use.
    """

    def __init__(self, example: str, directory: Path, server: str) -> None:
        self.directory = directory
        self._command = [sys.executable, "-m", example]
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self._environ = {**os.environ, _TEMPORARY: str(self.temporary), "HARDENING_REDIS_SERVER": server}

    def start(self, *args: object) -> subprocess.Popen[str]:
        """Starts it."""
        return subprocess.Popen(
            [*self._command, *map(str, args)],
            cwd=_ROOT, env=self._environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *args: object) -> tuple[int, str, str]:
        """Runs it to its end: exit code, output, errors."""
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=240)
        finally:
            process.kill()
        assert "Traceback" not in out + err, out + err
        return process.returncode, out, err

    def processes(self) -> list[str]:
        """The command lines of all its processes that are still there."""
        return [" ".join(process.cmdline()) for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            temporary = process.environ().get(_TEMPORARY, "")
            return process.status() != psutil.STATUS_ZOMBIE and temporary.startswith(str(self.temporary))
        except psutil.Error:
            return False
