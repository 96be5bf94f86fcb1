"""Waiting for many receipts at once, against one deadline.

One pipelined look reads all of them and has their changes told of; after that a single blocked read hears of all
changes, and only what changed is looked at again. The caller's thread runs it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.calls import watch
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.receipt import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery import Celery

__all__ = ["Confirmations", "Seen"]

#: The way of a message that comes through.
_WAY = ("scheduled", "queued", "claimed", "started", "acked")
_STATES = {status.value: status for status in DeliveryStatus}
#: How many receipts one pipeline looks at.
_LOOK = 500
#: How soon to ask again when Redis is away, in seconds.
_PAUSE_S = 0.1
#: An idle Redis ends a blocked read up to a tenth of a second late; so near the end it is asked this often instead, in
#: seconds.
_NEAR_S, _POLL_S = 0.3, 0.02
#: How long news may gather, for each receipt that is waited for, in seconds: one look then serves many.
_GATHER_S = 0.00002


@dataclass(slots=True)
class Seen:
    """What is known of one message.

    Attributes:
        state: where it was last seen.
        reason: why it is dead.
        is_reached: whether it has got as far as is waited for.
        last: the id of the last change that is known.
    """

    state: DeliveryStatus
    reason: str = ""
    is_reached: bool = False
    last: str = "0"

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.is_reached or self.state is DeliveryStatus.DEAD


class Confirmations:
    """Waits for many receipts.

    Args:
        app: over whose broker their messages travel.
        receipts: their ids, each with where its message was last seen.
        awaited: how far they must get.
        until_s: by when, by the boot clock, in seconds.
        is_one_enough: whether to wait for the first alone.

    Attributes:
        seen: what is known of each, by the id of its receipt.
    """

    def __init__(
        self, app: Celery, receipts: dict[str, DeliveryStatus], awaited: str, until_s: float, *, is_one_enough: bool
    ) -> None:
        self._app = app
        self._settings = settings_of(app)
        self._keys = self._settings.keys
        self._enough = frozenset(_WAY[_WAY.index(awaited) :])
        self._until_s = until_s
        self._is_one_enough = is_one_enough
        self._look_at_s = 0.0
        self.seen = {receipt: Seen(state) for receipt, state in receipts.items()}

    @property
    def left_s(self) -> float:
        """How much of the time is left, in seconds."""
        return max(0.0, self._until_s - boot_clock_s())

    @property
    def waiting(self) -> list[str]:
        """The receipts whose messages are still on their way."""
        return [receipt for receipt, seen in self.seen.items() if not seen.is_over]

    @property
    def _is_over(self) -> bool:
        if self._is_one_enough and any(seen.is_reached for seen in self.seen.values()):
            return True
        return all(seen.is_over for seen in self.seen.values())

    def run(self) -> None:
        """Waits until all have got there or died, or one has, or time is up. Looks at least once.

        Redis may be away meanwhile. A Redis that hangs is waited for no longer than the time that is left, and at
        least a tenth of a second.
        """
        news: Iterable[str] = self.waiting
        while True:
            try:
                self._look(news)
                if self._is_over or not self.left_s:
                    return
                news = self._listen()
            except TRANSIENT:
                if not self.left_s:
                    return
                threading.Event().wait(min(_PAUSE_S, self.left_s))
                news = self.waiting

    def _look(self, receipts: Iterable[str]) -> None:
        """Reads receipts, and has their changes told of for as long as a socket may take."""
        asked = list(receipts)
        watch_ms = round(self._settings.socket_timeout_s * 1000)
        if len(asked) == len(self.waiting):
            self._look_at_s = boot_clock_s() + self._settings.socket_timeout_s / 2
        for at in range(0, len(asked), _LOOK):
            page = asked[at : at + _LOOK]
            made: Any = client_of(self._app, patience_s=self.left_s).pipeline(transaction=False)
            with made as pipe:
                calls = [watch(self._keys, receipt, watch_ms) for receipt in page]
                pipe.execute_command("SCRIPT LOAD", calls[0].script.source)
                for call in calls:
                    pipe.execute_command(*call.command)
                _, *replies = pipe.execute()
            for receipt, reply in zip(page, replies, strict=True):
                self._note(self.seen[receipt], [part.decode("utf-8", "replace") for part in reply])

    def _note(self, seen: Seen, told: list[str]) -> None:
        fields = dict(zip(told[1::2], told[2::2], strict=True))
        state = fields.get("state", "")
        if not state:  # it has expired, or this Redis has never had it
            seen.state = DeliveryStatus.UNKNOWN
            return
        seen.last = told[0]
        seen.state, seen.reason = _STATES.get(state, DeliveryStatus.UNKNOWN), fields.get("reason", "")
        passed = {change.split(" ", 2)[1] for name, change in fields.items() if name[:1] == "#"}
        seen.is_reached = not self._enough.isdisjoint(passed)

    def _listen(self) -> list[str]:
        """Blocks until something changes, for less than a socket may take. Returns which receipts to look at."""
        waiting = self.waiting
        if boot_clock_s() >= self._look_at_s:
            return waiting
        left_s = self.left_s
        by_stream = {self._keys.changes(receipt).encode(): receipt for receipt in waiting}
        streams: Any = {self._keys.changes(receipt): self.seen[receipt].last for receipt in waiting}
        block_ms: int | None = int(min(left_s, self._settings.socket_timeout_s) * 1000 / 4)
        if left_s < _NEAR_S:
            threading.Event().wait(min(_POLL_S, left_s))
            block_ms = None
        told: Any = client_of(self._app, patience_s=left_s).xread(streams, block=block_ms)
        news = [by_stream[stream] for stream in (told if isinstance(told, dict) else (item[0] for item in told))]
        if news and len(waiting) > 1 and not self._is_one_enough:
            threading.Event().wait(min(len(waiting) * _GATHER_S, self.left_s))
        return news
