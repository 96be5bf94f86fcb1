"""Sends the events while everything else goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hardening.core.errors import HardeningError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.webhooks.events import Event

__all__ = ["Sender"]


class Sender:
    """A thread that sends events, one after the other.

    Args:
        events: what to send.
        send: sends one; raises when the broker did not take it.

    Attributes:
        tried: how many were given to the broker.
        refused: the ids of those it did not take.
    """

    def __init__(self, events: Sequence[Event], send: Callable[[Event], None]) -> None:
        self._events = events
        self._send = send
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self.tried = 0
        self.refused: list[str] = []

    @property
    def is_done(self) -> bool:
        """Whether every event was sent or refused."""
        return self.tried == len(self._events)

    @property
    def sent(self) -> int:
        """How many the broker took."""
        return self.tried - len(self.refused)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends after the event that is being sent."""
        self._is_stopped.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        for event in self._events:
            if self._is_stopped.is_set():
                return
            try:
                self._send(event)
            except (HardeningError, OperationalError, RedisError, OSError):
                self.refused.append(event.id)
            self.tried += 1
