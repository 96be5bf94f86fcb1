"""Bringing back what the dead had taken."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dlq.entry import Entry
from dlq.reason import Reason
from hardening.core import raw as raw_message
from hardening.core import telemetry
from hardening.core.keys import queue_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Recovery

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from hardening.core.membership import Lease
    from hardening.core.scripts import Buried, Scope
    from hardening.core.settings import Settings

__all__ = ["Recoverer"]

#: Messages one script call moves: about 5 ms of Redis.
_BATCH = 500


class Recoverer:
    """Sweeps for expired leases. Every consumer runs one, about once a second; no lock is needed.

    Guarantees: each entry is moved by exactly one sweeper, for the move begins with its removal.

    Args:
        client: a client for the sweeper's thread.
        scope: how calls sign themselves.
        settings: for the crash limits.
        lease: of the consumer that sweeps; it is never its own prey.
        on_buried: told the raw bytes of each message that a sweep buried, in a thread of its own.
    """

    def __init__(
        self, client: Redis, scope: Scope, settings: Settings, *, lease: Lease, on_buried: Callable[[bytes], None]
    ) -> None:
        self._client = client
        self._scope = scope
        self._settings = settings
        self._lease = lease
        self._on_buried = on_buried

    def run_once(self) -> int:
        """Sweeps until nobody dead is left, or for a sixth of a lease: the caller has a lease to renew.

        Returns:
            How many messages were moved.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        moved, more = 0, self._lease.is_steady()
        until_s = boot_clock_s() + self._settings.lease_ttl_s / 6
        while more and boot_clock_s() < until_s:
            call = self._scope.recover(
                self._lease.consumer, max_crashes=self._settings.max_crashes,
                base_delay_ms=self._settings.crash_delay_ms, limit=_BATCH,
            )  # fmt: skip
            recovery = Recovery.parse(call.run(self._client))
            more = recovery.more
            moved += recovery.restored + len(recovery.buried)
            self._tell(recovery)
        return moved

    def _tell(self, recovery: Recovery) -> None:
        if recovery.restored or recovery.buried:
            telemetry.emit(
                telemetry.ConsumerRecovered(
                    consumer=recovery.consumer, restored=recovery.restored,
                    charged=recovery.charged, buried=len(recovery.buried),
                )
            )  # fmt: skip
        if recovery.buried:  # a result backend may hang for as long as it likes
            threading.Thread(
                target=self._tell_of, args=(recovery.buried,), name="hardening-buried", daemon=True
            ).start()

    def _tell_of(self, buried: list[Buried]) -> None:
        for one in buried:
            about = telemetry.MessageBuried(
                message=raw_message.message_id(one.raw), task=Entry(one.entry, {b"raw": one.raw}).task,
                queue=queue_of(one.list_key), reason=Reason.CRASHED, entry=one.entry, raw=one.raw,
            )  # fmt: skip
            telemetry.emit(about)
            self._on_buried(one.raw)
