"""What keepers of dead letters ask of Redis, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hardening.core.keys import Keys

__all__ = ["Turn", "claim", "keep", "plan", "readmit", "thin", "trim"]


def keep(keys: Keys, keeper: str, turn_ms: int) -> Call:
    """Takes or renews the turn to keep the dead letters. Reply: see :class:`Turn`."""
    return Call(_KEEP, (keys.dlq, keys.dlq_turn, keys.dlq_planned, keys.dlq_retry), (keeper, turn_ms))


def plan(keys: Keys, so_far: str, up_to: str, retries: Iterable[tuple[str, str, int]]) -> Call:
    """Decides about a page of dead letters; retries are (entry id, queue, delay in ms). Reply: how many, or -1."""
    parts = [part for retry in retries for part in retry]
    fixed = (keys.dlq, keys.dlq_planned, keys.dlq_retry, keys.dlq_queues, keys.queues)
    return Call(_PLAN, fixed, (so_far, up_to, *parts))


def claim(keys: Keys, limit: int, claim_ms: int) -> Call:
    """Hands out dead letters that are due. Reply: as the stream has them."""
    return Call(_CLAIM, (keys.dlq, keys.dlq_retry), (limit, claim_ms))


def trim(keys: Keys, *, most: int, max_age_ms: int, limit: int, up_to: str = "+") -> Call:
    """Trims dead letters, none that died after ``up_to``. Reply: how many."""
    return Call(_TRIM, (keys.dlq, keys.counters), (keys.prefix, most, max_age_ms, limit, up_to))


def thin(keys: Keys, groups: Sequence[str], letters: Iterable[tuple[str, str]], *, most: int, max_age_ms: int) -> Call:
    """Trims dead letters, given as (entry id, group), oldest first, of some groups; -1: no limit. Reply: how many."""
    parts = [part for letter in letters for part in letter]
    return Call(_THIN, (keys.counters,), (keys.prefix, most, max_age_ms, len(groups), *groups, *parts))


def readmit(
    keys: Keys, *, list_key: bytes, reason: bytes, fingerprint: bytes, raw: bytes, fields: Mapping[str, bytes]
) -> Call:
    """Takes an exported dead letter in again. Reply: the id of the new entry."""
    parts = [part for pair in fields.items() for part in pair]
    return Call(_READMIT, (keys.dlq,), (keys.prefix, reason, list_key, fingerprint, raw, *parts))


class Turn(NamedTuple):
    """What a keeper is told.

    Attributes:
        is_mine: whether it is its turn; otherwise nothing else is told.
        now_ms: the time at Redis.
        letters: how many dead letters there are.
        oldest: id of the oldest, or empty.
        newest: id of the newest, or empty.
        planned: up to which letter retries have been decided, or empty.
        due: how many retries are due.
    """

    is_mine: bool
    now_ms: int = 0
    letters: int = 0
    oldest: str = ""
    newest: str = ""
    planned: str = ""
    due: int = 0

    @staticmethod
    def parse(reply: list[Any]) -> Turn:
        """Reads the reply of a keep."""
        if not reply[0]:
            return Turn(is_mine=False)
        _, now_ms, letters, oldest, newest, planned, due = reply
        return Turn(True, now_ms, letters, oldest.decode(), newest.decode(), planned.decode(), due)  # noqa: FBT003


_KEEP = Script.load("keep")
_PLAN = Script.load("plan")
_CLAIM = Script.load("claim")
_READMIT = Script.load("readmit")
_THIN = Script.load("thin")
_TRIM = Script.load("trim")
