"""A subject of a measure in a process of its own, which is asked and answers."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from benchmarks.failure import MeasureFailed
from benchmarks.process import Process

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Child"]

#: How long a subject may take to come up and warm up, in seconds.
_START_S = 60.0


class Child:
    """The asking end; :mod:`benchmarks.subject` is the answering one.

    Args:
        subject: ``module:Class``.
        spec: the class's arguments; JSON.
        log: where its standard error goes.
        processor: to which it is held; None: any.
    """

    def __init__(self, subject: str, spec: dict[str, Any], log: Path, *, processor: int | None = None) -> None:
        self._subject = subject
        self._spec = json.dumps(spec)
        self._log = log
        self._environ = {} if processor is None else {"BENCHMARKS_PROCESSOR": str(processor)}
        self._process: Process | None = None
        self._unread = b""

    def __enter__(self) -> Self:
        """Starts it and waits until it is ready.

        Raises:
            MeasureFailed: it did not come up.
        """
        command = [sys.executable, "-m", "benchmarks.subject", self._subject, self._spec]
        self._process = Process(command, self._log, self._environ, talks=True)
        try:
            self._read(self._process, _START_S)
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kills it."""
        if self._process is not None:
            self._process.kill()

    def ask(self, *, timeout_s: float = 60.0, **question: Any) -> Any:
        """Asks once and waits for the answer.

        Args:
            timeout_s: for how long, in seconds.
            **question: arguments of the subject's call; JSON.

        Raises:
            MeasureFailed: it died, or did not answer in time.
        """
        if self._process is None:
            raise MeasureFailed(f"{self._subject} was not started")
        with suppress(BrokenPipeError):  # it died: reading tells why
            self._process.stdin.write(f"{json.dumps(question)}\n".encode())
        return self._read(self._process, timeout_s)

    def _read(self, process: Process, timeout_s: float) -> Any:
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise MeasureFailed(f"{self._subject} did not answer within {timeout_s:g} s")
            more = os.read(process.stdout.fileno(), 65_536)
            if not more:
                raise MeasureFailed(f"{self._subject} died: {process.complaint}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)
