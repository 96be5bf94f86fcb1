"""Many dead letters of many kinds, buried as quickly as Redis can."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from dlq import DeadLetters
from hardening.core.ledger import read_ledger
from hardening.core.scripts import Death

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from dlq import Entry, Selection
    from hardening.core.keys import Keys

__all__ = ["Graveyard", "Kind"]


class Kind(NamedTuple):
    """What dead letters of one group share."""

    reason: str = "failed"
    task: str = "t"
    queue: str = "q"
    error: str = "ValueError"

    def is_meant(self, selection: Selection) -> bool:
        """The model of a filter: every field that is given is the same. For filters without patterns."""
        wanted = (selection.reason, selection.task, selection.queue, selection.fingerprint)
        return all(value in (None, own) for value, own in zip(wanted, self, strict=True))


class Graveyard:
    """The dead letters of one prefix, all of messages that were acknowledged before they failed.

    Args:
        client: replies must not be decoded.
        keys: under a prefix of the test's own.
    """

    def __init__(self, client: Redis, keys: Keys) -> None:
        self.client: Any = client
        self.keys = keys
        self.letters = DeadLetters(client, keys, receipt_ttl_ms=60_000)
        self._scope = self.letters.scope

    def bury(self, kinds: Iterable[Kind]) -> list[str]:
        """Buries a message of each kind. Returns the ids of their entries."""
        count = 0
        with self.client.pipeline(transaction=False) as pipe:
            for count, kind in enumerate(kinds, 1):
                raw = b'{"body": "", "headers": {"lang": "py", "task": "%s", "id": "t%d"}}' % (
                    kind.task.encode(),
                    count,
                )
                death = Death(kind.reason, kind.error)
                call = self._scope.bury("w", 0, death, list_key=f"{self.keys.prefix}.{kind.queue}", raw=raw)
                pipe.execute_command(*(call.command if count > 1 else call.full_command))
            assert pipe.execute() == [1] * count
        return [entry_id.decode() for entry_id, _ in reversed(self.client.xrevrange(self.keys.dlq, count=count))]

    def find(self, selection: Selection, **how: Any) -> list[str]:
        """The ids of what is meant; queues are named without the prefix."""
        if selection.queue is not None:
            selection = replace(selection, queue=f"{self.keys.prefix}.{selection.queue}")
        return [entry.id for entry in self.letters.select(selection, **how)]

    def entries(self, ids: Iterable[str]) -> list[Entry]:
        """Entries by id."""
        return [self.letters.get(entry_id) for entry_id in ids]

    def check(self) -> dict[str, int]:
        """The counters of the ledger, which must balance."""
        ledger = read_ledger(self.client, self.keys)
        assert ledger.is_balanced, ledger
        return ledger.counters
