"""How many dead letters there are, and how few problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dlq.group import ANY, Group
from dlq.groups import read_groups

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from dlq.entry import Entry
    from dlq.selection import Selection
    from hardening.core.keys import Keys

__all__ = ["Stats", "count_entries", "count_groups"]

_UNREADABLE = "(unreadable)"
_UNKNOWN = "(unknown)"
_OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Stats:
    """How many dead letters there are, and of what kind.

    Attributes:
        total: all of them.
        by_reason: most frequent first, like the next ones.
        by_task: ``(unreadable)``: of messages that cannot be read.
        by_queue: where they were taken from.
        by_fingerprint: what failed and where; ``(others)``: beyond the thousand kinds that are told apart.
        groups: what shares all four: one problem each.
        oldest_ms: when the oldest died, ms since the epoch; None: there is none.
        newest_ms: when the newest died.
    """

    total: int
    by_reason: dict[str, int]
    by_task: dict[str, int]
    by_queue: dict[str, int]
    by_fingerprint: dict[str, int] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    oldest_ms: int | None = None
    newest_ms: int | None = None


def count_groups(client: Redis, keys: Keys, selection: Selection) -> Stats | None:
    """Counts by group: about a millisecond for a hundred groups, however many letters there are.

    Returns:
        None when that is not possible: a group may hold what is meant beside what is not.
    """
    census = read_groups(client, keys)
    groups = [group for group in census.groups if selection.may_match(group)]
    wanted = {"reason": selection.reason, "task": selection.task, "queue": selection.queue,
              "fingerprint": selection.fingerprint}  # fmt: skip
    asked = [name for name, value in wanted.items() if value is not None] + (["task"] if selection.tasks else [])
    if any(getattr(group, name) == ANY for group in groups for name in asked):
        return None
    return _stats(groups)


def count_entries(entries: Iterable[Entry]) -> Stats:
    """Counts entries one by one, oldest first."""
    groups: dict[tuple[str, str, str, str], Group] = {}
    for entry in entries:
        kind = (entry.reason, entry.task, entry.queue, entry.fingerprint)
        group = groups.get(kind) or Group("", *kind, 0, entry.died_ms, entry.died_ms, 0)
        groups[kind] = replace(group, count=group.count + 1, last_ms=entry.died_ms)
    return _stats(sorted(groups.values(), key=lambda group: -group.count))


def _stats(groups: list[Group]) -> Stats:
    counters: dict[str, Counter[str]] = {name: Counter() for name in ("reason", "task", "queue", "fingerprint")}
    empty = {"task": _UNREADABLE, "fingerprint": _UNKNOWN}
    for group in groups:
        for name, counter in counters.items():
            value = getattr(group, name)
            counter[_OTHERS if value == ANY else value or empty.get(name, "")] += group.count
    by_reason, by_task, by_queue, by_fingerprint = (dict(counter.most_common()) for counter in counters.values())
    return Stats(
        sum(group.count for group in groups),
        by_reason,
        by_task,
        by_queue,
        by_fingerprint,
        groups,
        min((group.oldest_ms for group in groups), default=None),
        max((group.last_ms for group in groups), default=None),
    )
