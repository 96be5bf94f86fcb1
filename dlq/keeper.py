"""Keeping the dead letters: what can heal is retried, what is too old or too much goes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import OutOfMemoryError

from dlq import events
from dlq.archive import append_to
from dlq.entry import Entry
from dlq.policy import RetryPolicy
from dlq.reading import paired
from dlq.retention import Retention
from dlq.rewrite import Changes
from hardening.core import telemetry
from hardening.core.errors import DlqUnknown
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Scope, keeping
from hardening.core.scripts.keeping import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from hardening.core.scripts import Call
    from hardening.core.settings import Settings

    #: Letters to archive, and the call that trims them.
    _Batch = tuple[list[Any], Call]

__all__ = ["Keeper", "Report"]

#: Letters in one script call: a few ms of Redis.
_BATCH = 200
#: For how long one keeper has the turn without renewing it.
_TURN_MS = 15_000
#: For how long letters are claimed; well above what rewriting a batch takes.
_CLAIM_MS = 30_000
#: How long one run may take, in seconds: well below the turn.
_BUDGET_S = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did.

    Attributes:
        trimmed: letters that were too old, or too many.
        retried: letters that went back to their queues.
        planned: letters that will.
        parked: letters that were left to people.
    """

    trimmed: int = 0
    retried: int = 0
    planned: int = 0
    parked: int = 0


class Keeper:
    """Retries, parks and trims dead letters. Every worker runs one; one of them at a time does the work.

    Guarantees: a letter is retried once for each attempt, however many keepers there are and whatever dies when.
    What is trimmed is counted, told, and, if there is an archive, on disk before it goes.

    Does not guarantee: that what is archived is archived once, when a keeper dies between the two.

    Events: ``hardening.dead_letters.retried``, ``.parked``, ``.trimmed``, ``hardening.archive.failed``.

    Args:
        client: replies must not be decoded; used by the keeper's thread.
        settings: rules, retention and archive.
        name: of this keeper, unlike any other's.
        chance: a number from 0 to 1, evenly spread, for the jitter.
        tasks_of: the tasks of a named dead-letter queue; by default there are none.
    """

    def __init__(
        self,
        client: Redis,
        settings: Settings,
        *,
        name: str,
        chance: Callable[[], float] = random.random,
        tasks_of: Callable[[str], frozenset[str]] | None = None,
    ) -> None:
        self._client: Any = client
        self._settings = settings
        self._keys = settings.keys
        self._scope = Scope(settings.keys, settings.receipt_ttl_ms, "retry")
        self._policy = RetryPolicy(settings.dlq_retry)
        self._retention = Retention(settings.dlq_retention, tasks_of or _unknown)
        self._name = name
        self._chance = chance

    def run_once(self) -> Report:
        """Does what there is to do, for a few seconds at most.

        On a full Redis nothing is planned, but what makes room goes on.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        turn = Turn.parse(keeping.keep(self._keys, self._name, _TURN_MS).run(self._client))
        if not turn.is_mine:
            return Report()
        until_s = boot_clock_s() + _BUDGET_S
        trimmed = sum(self._clear(turn, until_s, beyond) for beyond in (self._beyond_limits, self._beyond_rules))
        retried = self._retry(until_s) if turn.due else 0
        planned, parked = self._plan(turn, until_s)
        if retried:
            telemetry.emit(events.DeadLettersRetried(retried=retried))
        if parked:
            telemetry.emit(events.DeadLettersParked(parked=parked))
        return Report(trimmed, retried, planned, parked)

    # -- retention

    def _clear(self, turn: Turn, until_s: float, next_batch: Callable[[Turn], _Batch | None]) -> int:
        """Archives what is kept no longer, then trims it, batch by batch."""
        trimmed = archived = 0
        while turn.is_mine and boot_clock_s() < until_s and (batch := next_batch(turn)):
            letters, call = batch
            if self._settings.dlq_archive and not self._archive(letters):
                break
            archived += len(letters)
            gone = int(call.run(self._client))
            if not gone:
                break
            trimmed += gone
            turn = Turn.parse(keeping.keep(self._keys, self._name, _TURN_MS).run(self._client))
        if trimmed:
            telemetry.emit(events.DeadLettersTrimmed(trimmed=trimmed, archived=archived))
        return trimmed

    def _beyond_limits(self, turn: Turn) -> _Batch | None:
        """What is too old, or too much, of all."""
        if not self._is_over(turn):
            return None
        letters = self._oldest_over(turn) if self._settings.dlq_archive else []
        if self._settings.dlq_archive and not letters:
            return None
        call = keeping.trim(
            self._keys, most=self._settings.dlq_max_entries, max_age_ms=self._settings.dlq_max_age_ms,
            limit=_BATCH, up_to=letters[-1][0].decode() if letters else "+",
        )  # fmt: skip
        return letters, call

    def _beyond_rules(self, turn: Turn) -> _Batch | None:
        """What the rules for some letters do not keep; without such rules nothing is asked."""
        over = self._retention.over(self._client, self._keys, turn.now_ms, _BATCH) if self._retention else None
        if over is None:
            return None
        letters = []
        if self._settings.dlq_archive:
            with self._client.pipeline(transaction=False) as pipe:
                for entry_id, _ in over.letters:
                    pipe.xrange(self._keys.dlq, entry_id, entry_id)
                letters = [letter for page in pipe.execute() for letter in page]
        return letters, over.call(self._keys)

    def _is_over(self, turn: Turn) -> bool:
        if not turn.oldest:
            return False
        return turn.letters > self._settings.dlq_max_entries or self._is_old(turn.oldest, turn.now_ms)

    def _is_old(self, entry_id: str, now_ms: int) -> bool:
        return int(entry_id.partition("-")[0]) < now_ms - self._settings.dlq_max_age_ms

    def _oldest_over(self, turn: Turn) -> list[Any]:
        page = self._client.xrange(self._keys.dlq, count=_BATCH)
        beyond = turn.letters - self._settings.dlq_max_entries
        return [
            letter for at, letter in enumerate(page) if at < beyond or self._is_old(letter[0].decode(), turn.now_ms)
        ]

    def _archive(self, letters: list[Any]) -> bool:
        try:
            append_to(self._settings.dlq_archive, letters)
        except OSError as error:
            telemetry.emit(events.ArchiveFailed(path=self._settings.dlq_archive, error=repr(error)))
            return False
        return True

    # -- retries

    def _retry(self, until_s: float) -> int:
        """Claims what is due and returns it to its queues, with one more attempt to its count."""
        retried = 0
        while boot_clock_s() < until_s:
            claimed = keeping.claim(self._keys, _BATCH, _CLAIM_MS).run(self._client)
            entries = [Entry.of(entry_id, paired(fields)) for entry_id, fields in claimed]
            if not entries:
                break
            anew = ((entry, self._anew(entry)) for entry in entries)
            parts = [(entry.id, entry.group, entry.list_key, raw) for entry, raw in anew if raw != entry.raw]
            retried += int(self._scope.replay(parts).run(self._client))
        return retried

    @staticmethod
    def _anew(entry: Entry) -> bytes:
        return entry.replay_raw(Changes(attempts=entry.attempts + 1))

    def _plan(self, turn: Turn, until_s: float) -> tuple[int, int]:
        """Decides about every letter once, in the order in which they died."""
        planned = parked = 0
        so_far = turn.planned
        while _place(turn.newest) > _place(so_far) and boot_clock_s() < until_s:
            page = self._client.xrange(self._keys.dlq, f"({so_far}" if so_far else "-", turn.newest, count=_BATCH)
            if not page:
                break
            up_to = page[-1][0].decode()
            entries = [Entry.of(entry_id, fields) for entry_id, fields in page]
            retries = [retry for entry in entries if (retry := self._retry_of(entry)) is not None]
            try:
                count = int(keeping.plan(self._keys, so_far, up_to, retries).run(self._client))
            except OutOfMemoryError:
                break
            if count < 0:
                break
            planned, parked, so_far = planned + count, parked + len(page) - count, up_to
        return planned, parked

    def _retry_of(self, entry: Entry) -> tuple[str, str, int] | None:
        """When an entry is to be retried; None: it is parked, as is what cannot carry its count along."""
        longest_s = self._policy.longest_wait_s(entry)
        if longest_s is None or not entry.list_key or self._anew(entry) == entry.raw:
            return None
        return entry.id, entry.queue, int(self._chance() * longest_s * 1000)


def _unknown(dlq: str) -> frozenset[str]:
    raise DlqUnknown(dlq, [])


def _place(entry_id: str) -> tuple[int, int]:
    """Where an id stands in the order of the stream; an empty one before all others."""
    ms, _, seq = entry_id.partition("-")
    return int(ms or 0), int(seq or 0)
