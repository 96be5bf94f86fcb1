"""What the event loop waits on."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from kombu.transport.redis import MultiChannelPoller
from kombu.utils.eventio import READ

if TYPE_CHECKING:
    from hardening.transport.channel import TakingChannel

__all__ = ["Poller"]


class Poller(MultiChannelPoller):
    """kombu's poller, with the two connections of each intake added.

    Also has a nudge: a pipe that makes the loop come round again when deliveries are left over.
    """

    def __init__(self) -> None:
        super().__init__()
        self._nudge: tuple[int, int] | None = None
        self._has_loop = False
        self._is_nudged = False
        self._has_news = False
        self._thread = 0

    # -- connections

    def register(self, channel: TakingChannel, client: Any, kind: str) -> None:
        """Connects a client if need be and watches its socket."""
        if not self._client_registered(channel, client, kind):
            self._register(channel, client, kind)

    def _register(self, channel: Any, client: Any, kind: str) -> None:
        super()._register(channel, client, kind)
        self._has_news = True

    @property
    def fds(self) -> dict[int, Any]:
        """Sockets the loop has to be told of: kombu tells it of all of them before every wait."""
        watched: dict[int, Any] = super().fds
        if not self._has_loop or self._has_news or any(kind == "BRPOP" for _, kind in watched.values()):
            self._has_news = False
            return watched
        return {}

    def on_poll_start(self) -> None:
        """Before every wait."""
        super().on_poll_start()
        for channel in list(self._channels):
            channel.tick()

    def on_readable(self, fileno: int) -> Any:
        """A socket has something to read."""
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind == "LINE":
            return channel.intake.on_line()
        if kind == "BELL":
            return channel.intake.on_bell()
        return super().on_readable(fileno)

    def handle_event(self, fileno: int, event: int) -> Any:
        """The same, for callers without an event loop."""
        _, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind in ("LINE", "BELL"):
            return self.on_readable(fileno), self
        if self._nudge is not None and fileno == self._nudge[0]:
            self._on_nudge()
            return True, self
        return super().handle_event(fileno, event)

    def check_overdue(self) -> None:
        """Once a second: drops connections that swallow what is written to them."""
        for channel in list(self._channels):
            channel.check_overdue()

    # -- without an event loop

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Delivers something, or at least moves things on; raises ``Empty`` when nothing happened."""
        takers = [channel.intake for channel in list(self._channels) if channel.intake]
        if any(intake.deliver_one() for intake in takers):
            return
        if self._nudge is None and takers:
            self.poller.register(self._open_nudge(), READ)
        self.check_overdue()
        super().get(callback, timeout=1.0 if timeout is None else min(timeout, 1.0))

    # -- the nudge

    def watch_nudges(self, loop: Any) -> None:
        """Lets the loop be nudged."""
        self._has_loop = True
        loop.add_reader(self._open_nudge(), self._on_nudge)

    def _open_nudge(self) -> int:
        """The end of a new pipe at which to wait for nudges, in this thread."""
        self._close_nudge()
        self._nudge = os.pipe()
        self._is_nudged = False
        self._thread = threading.get_ident()
        return self._nudge[0]

    def nudge(self) -> None:
        """Makes the loop come round once more without waiting."""
        if self._nudge is not None and not self._is_nudged:
            self._is_nudged = True
            os.write(self._nudge[1], b"\0")

    def wake(self) -> None:
        """The same for other threads; the loop's own will come round anyway."""
        if threading.get_ident() != self._thread:
            self.nudge()

    def _on_nudge(self) -> None:
        if self._nudge is None:
            return
        self._is_nudged = False  # first, so that a nudge that comes now is not lost
        os.read(self._nudge[0], 1)
        for channel in list(self._channels):
            if channel.intake is not None:
                channel.intake.deliver()

    def close(self) -> None:
        """Ends all watching."""
        super().close()
        self._close_nudge()

    def _close_nudge(self) -> None:
        if self._nudge is not None:
            ends, self._nudge = self._nudge, None
            for end in ends:
                os.close(end)
