"""Looking after the monitors of a whole deployment: downs, dead owners, leaks."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import monitoring as scripts
from hardening.core.scripts.monitoring import Found, Turn
from hardening.monitors import events
from hardening.monitors.down import DownReason
from hardening.monitors.leak_log import log_leaks
from hardening.monitors.ref import Monitor

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

__all__ = ["Report", "Sweeper"]

#: Monitors in one script call: a few ms of Redis.
_BATCH = 200
#: For how long one process has the turn without renewing it.
_TURN_MS = 1200
#: How long one run may take, in seconds: its thread has a lease to renew.
_BUDGET_S = 0.3


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did.

    Attributes:
        told: monitors whose target is down.
        orphaned: monitors whose owner is dead.
        leaked: monitors that were reported as leaks.
        owed: notices that are to be sent as tasks.
    """

    told: int = 0
    orphaned: int = 0
    leaked: int = 0
    owed: int = 0


class Sweeper:
    """Every process that has monitors runs one, and so does every worker while anybody has; one at a time works.

    Guarantees: each monitor is told of once, removed once, and reported as a leak once, however many sweep at once:
    each of these begins with its removal from where it was found. Nobody is declared dead before Redis has been up, and
    in reach, for a whole lease.

    Does not guarantee: that a leak is logged, if the process dies that has just found it; it stays listed.

    Events: ``hardening.monitor.leaked``, ``.orphaned``.

    Args:
        app: over whose broker.
        name: of this process, unlike any other's.
    """

    def __init__(self, app: Celery, name: str) -> None:
        self._app = app
        self._name = name
        settings = settings_of(app)
        log_leaks()
        self._keys = settings.keys
        self._ttl_s = settings.lease_ttl_s
        self._steady_since_s: float | None = None

    def lost_sight(self) -> None:
        """Redis was out of reach: those who are silent may only not be back yet."""
        self._steady_since_s = boot_clock_s()

    def run_once(self, *, at_once: bool = False) -> Report:
        """Does what there is to do, for a fraction of a second.

        Args:
            at_once: whoever's turn it is.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        client = client_of(self._app)
        ask = scripts.turn(
            self._keys, self._name, _TURN_MS, may_judge=self._may_judge(client), at_once=at_once
        )  # fmt: skip
        turn = Turn.parse(ask.run(client))
        if not turn.is_mine:
            return Report()
        until_s = boot_clock_s() + _BUDGET_S
        told = sum(self._tell(client, target, how, until_s) for target, how in turn.gone)
        orphaned = sum(self._reap(client, owner, until_s) for owner in turn.dead)
        leaked = self._report_leaks(client, until_s) if turn.due else 0
        return Report(told, orphaned, leaked, turn.owed)

    def _may_judge(self, client: Redis) -> bool:
        if self._steady_since_s is None:
            server: Any = client.info("server")
            self._steady_since_s = boot_clock_s() - float(server["uptime_in_seconds"])
        return boot_clock_s() - self._steady_since_s >= self._ttl_s

    def _tell(self, client: Redis, target: str, how: str, until_s: float) -> int:
        told, left = 0, 1
        while left and boot_clock_s() < until_s:
            count, left = scripts.down(self._keys, target, _reason(target, how), how, _BATCH).run(client)
            told += count
        return told

    def _reap(self, client: Redis, owner: str, until_s: float) -> int:
        removed, left = 0, 1
        while left > 0 and boot_clock_s() < until_s:
            count, left = scripts.reap(self._keys, owner, _BATCH).run(client)
            removed += max(count, 0)
            if not (count or left):
                removed += self._forget(client, owner)
        if removed:
            telemetry.emit(events.MonitorsOrphaned(owner=owner, removed=removed))
        return removed

    def _forget(self, client: Redis, owner: str) -> int:
        """Its monitors have vanished by themselves: nobody swept for two leases. The indexes still name them.

        Returns:
            How many these were.
        """
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", owner) + "#*"
        refs: list[tuple[str, str]] = []
        for member, _ in client.zscan_iter(self._keys.monitor_since, match=pattern, count=1000):
            monitor_id, _, target = member.decode("utf-8", "replace").partition("\x1f")
            refs.append((monitor_id, target))
        forgotten = 0
        for at in range(0, len(refs), _BATCH):
            count, _ = scripts.reap(self._keys, owner, _BATCH, given=refs[at : at + _BATCH]).run(client)
            forgotten += max(count, 0)
        return forgotten

    def _report_leaks(self, client: Redis, until_s: float) -> int:
        leaked, looked_at = 0, _BATCH
        while looked_at == _BATCH and boot_clock_s() < until_s:
            now_ms, looked_at, *found = scripts.leaks(self._keys, _BATCH).run(client)
            for monitor_id, record in zip(found[::2], found[1::2], strict=True):
                self._report(Monitor.of(Found.parse(monitor_id, record, is_leaked=True), now_ms))
            leaked += len(found) // 2
        return leaked

    @staticmethod
    def _report(leak: Monitor) -> None:
        telemetry.emit(
            events.MonitorLeaked(
                monitor=leak.id, target=leak.target, tag=leak.tag, task=leak.task, age_s=leak.age_s, stack=leak.stack
            )
        )


def _reason(target: str, how: str) -> str:
    """Why a target is down that ended so; empty: the script knows."""
    if how in ("exited", "abandoned"):
        return DownReason.EXITED
    if how != "silent":
        return ""
    kind, _, consumer = target.partition(":")
    return DownReason.CRASHED if kind == "worker" and _is_gone(consumer) else DownReason.LEASE_LOST


def _is_gone(consumer: str) -> bool:
    """Whether a consumer's process is known to be gone: it was on this host, and is not any more."""
    host, _, rest = consumer.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    with suppress(OSError):
        os.kill(int(pid), 0)
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"
    return not Path(f"/proc/{pid}").exists()
