"""Which dead letters go before the others: limits by reason, queue, name and task."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dlq.events import RetentionUnmatched
from dlq.group import ANY
from dlq.groups import read_groups
from dlq.policy import breadth
from dlq.reading import oldest_of
from hardening.core import telemetry
from hardening.core.errors import DlqUnknown
from hardening.core.scripts import keeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from redis import Redis

    from dlq.group import Group
    from hardening.core.keys import Keys
    from hardening.core.retention_rules import RetentionRule
    from hardening.core.scripts import Call

__all__ = ["Over", "Retention"]


@dataclass(frozen=True, slots=True)
class Over:
    """Letters that are too old or too many by one rule.

    Attributes:
        rule: which.
        groups: all groups that it is for.
        letters: oldest first, as (entry id, group).
    """

    rule: RetentionRule
    groups: list[str]
    letters: list[tuple[str, str]]

    def call(self, keys: Keys) -> Call:
        """Trims them, as far as they are too many still."""
        most = -1 if self.rule.max_entries is None else self.rule.max_entries
        max_age_ms = -1 if self.rule.max_age_s is None else int(self.rule.max_age_s * 1000)
        return keeping.thin(keys, self.groups, self.letters, most=most, max_age_ms=max_age_ms)


class Retention:
    """The rules of the setting ``dlq_retention``. They narrow the limits for all dead letters, and never widen them.

    A letter is the most special rule's alone, and its rule's limits are for all letters of that rule together.

    Does not guarantee: anything for letters of more kinds than are told apart (see ``lib/groups.lua``): those are the
    limits' for all.

    Events: ``hardening.retention.unmatched``, once for a name.

    Args:
        rules: by what they are for.
        tasks_of: the tasks of a name, as :meth:`dlq.DeadLetters.tasks_of`.
    """

    def __init__(self, rules: Mapping[str, RetentionRule], tasks_of: Callable[[str], frozenset[str]]) -> None:
        self._rules = rules
        self._tasks_of = tasks_of
        self._named: dict[str, frozenset[str]] | None = None

    def __bool__(self) -> bool:
        return bool(self._rules)

    def over(self, client: Redis, keys: Keys, now_ms: int, limit: int) -> Over | None:
        """The next letters to go; None: there is nothing to do.

        Args:
            client: replies must not be decoded.
            keys: the deployment's.
            now_ms: by the clock of Redis.
            limit: how many at most.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        for name, groups in self._by_rule(read_groups(client, keys).groups).items():
            rule = self._rules[name]
            beyond = 0 if rule.max_entries is None else sum(group.count for group in groups) - rule.max_entries
            before_ms = 0 if rule.max_age_s is None else now_ms - int(rule.max_age_s * 1000)
            if beyond > 0 or min(group.oldest_ms for group in groups) < before_ms:
                found = oldest_of(client, keys, groups, limit)
                letters = [
                    letter for at, letter in enumerate(found)
                    if at < beyond or int(letter[0].partition("-")[0]) < before_ms
                ]  # fmt: skip
                return Over(rule, [group.id for group in groups], letters)
        return None

    def _by_rule(self, groups: Iterable[Group]) -> dict[str, list[Group]]:
        found: dict[str, list[Group]] = {}
        if self._named is None:  # once: it imports the app's modules
            names = [name for name in self._rules if name.startswith("dlq:")]
            self._named = {name: self._tasks(name.removeprefix("dlq:")) for name in names}
        for group in groups:
            name = self._rule_of(group, self._named)
            if name is not None:
                found.setdefault(name, []).append(group)
        return found

    def _rule_of(self, group: Group, named: Mapping[str, frozenset[str]]) -> str | None:
        """The most special rule for a group: its task's, its name's, its queue's, its reason's, or the default."""
        if ANY in (group.reason, group.task, group.queue):
            return None
        patterns = [name for name in self._rules if name.startswith("task:")]
        matching = [name for name in patterns if fnmatchcase(group.task, name.removeprefix("task:"))]
        special = [
            *sorted(matching, key=breadth),
            *(name for name, tasks in named.items() if group.task in tasks),
            f"queue:{group.queue}",
            f"reason:{group.reason}",
            "default",
        ]
        return next((name for name in special if name in self._rules), None)

    def _tasks(self, dlq: str) -> frozenset[str]:
        try:
            return self._tasks_of(dlq)
        except DlqUnknown as error:
            telemetry.emit(RetentionUnmatched(dlq=dlq, error=str(error)))
            return frozenset()
