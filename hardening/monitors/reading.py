"""Looking at the monitors of a deployment, from any process."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from celery._state import get_current_app

from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import monitoring as scripts
from hardening.core.scripts.monitoring import Found
from hardening.monitors.ref import Monitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

__all__ = ["MonitorFilter", "MonitorStats", "each_monitor", "find_leaks", "list_monitors", "stats"]

#: Monitors in one script call: a few ms of Redis.
_PAGE = 250
_COUNTERS = ("monitors", "monitors_ended", "monitor_downs", "monitors_orphaned", "monitors_leaked")


@dataclass(frozen=True, slots=True)
class MonitorFilter:
    """Which monitors. Each is a pattern as of a shell (``*``, ``?``, ``[ab]``); empty: any.

    Attributes:
        target: ``kind:name``.
        tag: as the owner gave it.
        owner: the process.
        task: the name or the id of the task that set it.
    """

    target: str = ""
    tag: str = ""
    owner: str = ""
    task: str = ""

    def matches(self, one: Monitor) -> bool:
        """Whether it is one of these."""
        return (
            _is(self.target, one.target)
            and _is(self.tag, one.tag)
            and _is(self.owner, one.owner)
            and (_is(self.task, one.task) or _is(self.task, one.task_name))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStats:
    """All monitors of a deployment, in numbers. What is counted is counted since there is the deployment.

    Attributes:
        alive: how many there are.
        owners: processes that have some, and durable monitors, each of which counts as one.
        leaked: how many of them were reported as leaks.
        owed: notices that are still to be sent as tasks.
        monitors: how many were ever set.
        ended: how many were ended by their owners.
        downs: how many were told that their target is down.
        orphaned: how many were removed because their owner died, or, being durable, had stood for their time.
        leaks: how many leaks were ever reported.
    """

    alive: int
    owners: int
    leaked: int
    owed: int
    monitors: int
    ended: int
    downs: int
    orphaned: int
    leaks: int

    def to_json(self) -> dict[str, int]:
        """By name."""
        return asdict(self)


def list_monitors(
    filter: MonitorFilter | None = None,  # noqa: A002 - the word for it
    *,
    limit: int | None = 1000,
    app: Celery | None = None,
) -> list[Monitor]:
    """Monitors of living owners, oldest first. Read in pages; not all of one instant.

    Args:
        filter: which; default: all.
        limit: the most to return; None: all there are.
        app: a hardened app; default: the current one.

    Raises:
        redis.RedisError: Redis could not be asked.
    """
    return _some(each_monitor(app), filter, limit)


def find_leaks(
    age: float | None = None,
    *,
    filter: MonitorFilter | None = None,  # noqa: A002 - the word for it
    limit: int | None = 1000,
    app: Celery | None = None,
) -> list[Monitor]:
    """Monitors that look forgotten: old, while their owner and target are alive. Oldest first; read in pages.

    Args:
        age: at least so old, in seconds; default: those that were reported, each after its own ``leak_after``.
        filter: which of them; default: all.
        limit: the most to return; None: all there are.
        app: a hardened app; default: the current one.

    Raises:
        redis.RedisError: Redis could not be asked.
        ValueError: an age that is negative.
    """
    if age is not None and age < 0:
        raise ValueError(f"age is {age!r}, expected seconds, 0 or more")
    return _some(each_monitor(app, leaks=True, age_s=age), filter, limit)


def stats(*, app: Celery | None = None) -> MonitorStats:
    """All monitors in numbers; one round trip, whatever there is.

    Raises:
        redis.RedisError: Redis could not be asked.
    """
    app = app or get_current_app()
    keys = settings_of(app).keys
    pipe: Any = client_of(app).pipeline(transaction=False)
    pipe.zcard(keys.monitor_since).zcard(keys.owners).zcard(keys.monitor_leaked).zcard(keys.monitor_owed)
    pipe.hmget(keys.counters, _COUNTERS)
    alive, owners, leaked, owed, counted = pipe.execute()
    monitors, ended, downs, orphaned, leaks = (int(count or 0) for count in counted)
    return MonitorStats(
        alive=alive, owners=owners, leaked=leaked, owed=owed, monitors=monitors, ended=ended, downs=downs,
        orphaned=orphaned, leaks=leaks,
    )  # fmt: skip


def each_monitor(app: Celery | None = None, *, leaks: bool = False, age_s: float | None = None) -> Iterator[Monitor]:
    """Monitors of living owners, a page to a round trip; see :func:`list_monitors` and :func:`find_leaks`."""
    app = app or get_current_app()
    keys, client = settings_of(app).keys, client_of(app)
    offset, looked_at = 0, _PAGE
    while looked_at == _PAGE:
        call = scripts.find(
            keys, age_ms=int((age_s or 0) * 1000), offset=offset, limit=_PAGE, leaked=leaks and age_s is None,
            is_there=leaks,
        )  # fmt: skip
        now_ms, looked_at, *found = call.run(client)
        offset += looked_at
        for monitor_id, record, is_leaked in zip(found[::3], found[1::3], found[2::3], strict=True):
            yield Monitor.of(Found.parse(monitor_id, record, is_leaked=bool(is_leaked)), now_ms)


def _some(found: Iterator[Monitor], which: MonitorFilter | None, limit: int | None) -> list[Monitor]:
    some: list[Monitor] = []
    for one in found:
        if limit is not None and len(some) >= limit:
            break
        if which is None or which.matches(one):
            some.append(one)
    return some


def _is(pattern: str, value: str) -> bool:
    return not pattern or fnmatchcase(value, pattern)
