"""A TCP proxy in the test's own process that can cut, swallow, and cut just there where it hurts."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Proxy"]


class Proxy:
    """Forwards connections to Redis until told otherwise. While Redis is down, whoever connects is hung up on.

    Args:
        broker: URL of the Redis behind it, on the loopback interface.

    Attributes:
        cuts: how often connections were cut.
        held: how many connections stood still, or still do.
    """

    def __init__(self, broker: str) -> None:
        self._upstream = urlsplit(broker).port
        self._mutex = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._trigger: tuple[bytes, bool] | None = None
        self._swallowing = threading.Event()
        self._last: bytes | None = None
        self._needle: bytes | None = None
        self._released = threading.Event()
        self.cuts = 0
        self.held = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # or its thread would accept for ever
        self._server.close()
        self.release()
        self.cut()

    @property
    def url(self) -> str:
        """For Celery."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Closes every connection, now."""
        with self._mutex:
            pairs, self._pairs = self._pairs, []
            self.cuts += 1
        for pair in pairs:
            self._close(*pair)

    def cut_when(self, needle: bytes, *, after_reply: bool) -> None:
        """Cuts, once, the connection that next carries ``needle`` to Redis.

        Args:
            needle: for example the hash of a script.
            after_reply: let Redis run it and drop its reply; otherwise Redis never sees it.
        """
        with self._mutex:
            self._trigger = (needle, after_reply)

    def swallow(self) -> None:
        """From now on takes every byte and forwards none, as a dead middlebox does."""
        self._swallowing.set()

    def swallow_when(self, needle: bytes) -> None:
        """Does so from when a connection next carries ``needle`` to Redis, which never sees it."""
        self._last = needle

    @property
    def swallows(self) -> bool:
        """Whether it does."""
        return self._swallowing.is_set()

    def forward(self) -> None:
        """Ends :meth:`swallow` for new connections; those that lost bytes are cut."""
        self._last = None
        self._swallowing.clear()
        self.cut()

    def hold(self, needle: bytes) -> None:
        """From now on lets a connection stand still where it carries ``needle`` to Redis; the others go on."""
        self._released.clear()
        self._needle = needle

    def release(self) -> None:
        """Ends :meth:`hold`: what stood still goes on, nothing is lost."""
        self._needle = None
        self._released.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._upstream), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self._mutex:
                self._pairs.append((near, far))
            doomed = threading.Event()
            for pump in (self._upwards, self._downwards):
                threading.Thread(target=pump, args=(near, far, doomed), daemon=True).start()

    def _upwards(self, near: socket.socket, far: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                if self._needle is not None and self._needle in data:
                    self.held += 1
                    self._released.wait()
                if self._last is not None and self._last in data:
                    self._swallowing.set()
                if self._swallowing.is_set():
                    continue
                after_reply = self._triggered(data)
                if after_reply is False:
                    break
                if after_reply:
                    doomed.set()
                far.sendall(data)
        self._close(near, far)

    def _downwards(self, near: socket.socket, far: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if doomed.is_set():
                    break
                if not self._swallowing.is_set():
                    near.sendall(data)
        self._close(near, far)

    def _triggered(self, data: bytes) -> bool | None:
        with self._mutex:
            if self._trigger is None or self._trigger[0] not in data:
                return None
            (_, after_reply), self._trigger = self._trigger, None
            self.cuts += 1
            return after_reply

    @staticmethod
    def _close(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
