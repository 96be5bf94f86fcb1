"""``celery`` as it is called: from a script, or at a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from celery.bin.celery import celery
from click.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from celery import Celery
    from click.testing import Result

__all__ = ["Seen", "call_celery", "call_celery_at_terminal"]

_STYLE = re.compile(r"\x1b\[[0-9;]*[mK]")


def call_celery(app: Celery | None, *args: str, **environ: str) -> Result:
    """Calls ``celery -A app ...`` with nobody at a terminal; no exception may leave it."""
    return CliRunner().invoke(celery, args, default_map={"app": app}, env=environ, catch_exceptions=False)


@dataclass(frozen=True)
class Seen:
    """What a call at a terminal did: its exit code, and all that was shown there, without styles."""

    exit_code: int
    text: str
    styled: str

    @property
    def lines(self) -> list[str]:
        """The lines shown."""
        return self.text.splitlines()


def call_celery_at_terminal(
    monkeypatch: pytest.MonkeyPatch, app: Celery, *args: str, typed: str = "", columns: int = 80
) -> Seen:
    """Calls ``celery -A app ...`` at a terminal where something has been typed."""
    exit_code = 0
    with _terminal(columns) as (ours, keyboard, screen, shown), monkeypatch.context() as patch:
        os.write(ours, typed.encode())
        for name, stream in (("stdin", keyboard), ("stdout", screen), ("stderr", screen)):
            patch.setattr(sys, name, stream)
        patch.setenv("TERM", "xterm-256color")
        patch.delenv("COLUMNS", raising=False)
        try:
            celery.main(list(args), prog_name="celery", default_map={"app": app})
        except SystemExit as end:
            exit_code = int(end.code or 0)
    styled = b"".join(shown).decode().replace("\r\n", "\n")
    return Seen(exit_code, _STYLE.sub("", styled), styled)


@contextmanager
def _terminal(columns: int) -> Iterator[tuple[int, TextIO, TextIO, list[bytes]]]:
    """A terminal: our end, a keyboard, a screen, and all that it has shown, complete after the block."""
    ours, line = pty.openpty()
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(ours, shown))
    reader.start()
    try:
        with os.fdopen(os.dup(line), "r") as keyboard, os.fdopen(line, "w", buffering=1) as screen:
            yield ours, keyboard, screen, shown
    finally:
        reader.join(10)
        os.close(ours)


def _read_all(descriptor: int, into: list[bytes]) -> None:
    try:
        while piece := os.read(descriptor, 65_536):
            into.append(piece)
    except OSError:  # Linux says so when the other end is closed
        pass
