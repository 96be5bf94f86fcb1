"""Every breaker of a deployment, as Redis has it; for those who look, not for those who call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.breaker_rules import name_fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from hardening.breaker.rule import Rule
    from hardening.core.keys import Keys

__all__ = ["Standing", "names_in", "standings"]

_TENTHS = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """One breaker.

    Attributes:
        name: its name.
        state: ``closed``, ``open`` or ``half_open``; an open one may be probed once ``left_s`` is 0.
        generation: counts its changes.
        calls: in its window.
        failures: of them, how many failed.
        slow: of them, how many were slow.
        left_s: how long until it may be probed, in seconds; None: not before somebody closes it.
        probes: how many places of probes are taken.
        since_s: how long ago it changed, in seconds; None: never.
        who: changed it last.
        why: and for what reason.
    """

    name: str
    state: str
    generation: int
    calls: int
    failures: int
    slow: int
    left_s: float | None
    probes: int
    since_s: float | None
    who: str
    why: str


def names_in(client: Redis, keys: Keys) -> set[str]:
    """The names of all breakers that have been used; what is no such name was not written by us."""
    members: Any = client.smembers(keys.breakers)
    names = (member.decode("utf-8", "replace") for member in members)
    return {name for name in names if not name_fault(name)}


def standings(client: Redis, keys: Keys, rules: Iterable[tuple[str, Rule]]) -> list[Standing]:
    """How breakers stand, in one round trip.

    Args:
        client: replies are bytes.
        keys: the deployment's.
        rules: their names and rules, of which the width of the window matters.
    """
    asked = list(rules)
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for name, _ in asked:
        pipeline.hgetall(keys.breaker(name))
        pipeline.zrange(keys.breaker_probes(name), 0, -1, withscores=True)
    (seconds, micros), *replies = pipeline.execute()
    now_ms = seconds * 1000 + micros // 1000
    return [
        _standing(name, rule.rates.window_ms, now_ms, replies[2 * at], replies[2 * at + 1])
        for at, (name, rule) in enumerate(asked)
    ]


def _standing(name: str, window_ms: int, now_ms: int, fields: dict[bytes, bytes], probes: list[Any]) -> Standing:
    tenth = int(now_ms / (window_ms / _TENTHS))
    sums = [0, 0, 0]
    for field, counts in fields.items():
        if field[:1] == b"w" and field[1:].isdigit() and tenth - _TENTHS < int(field[1:]) <= tenth:
            sums = [total + _number(count) for total, count in zip(sums, counts.split(), strict=False)]
    until_ms, since_ms = _number(fields.get(b"until_ms")), _number(fields.get(b"since_ms"))
    calls, failures, slow = sums
    return Standing(
        name=name, state=_text(fields.get(b"state")) or "closed", generation=_number(fields.get(b"generation")),
        calls=calls, failures=failures, slow=slow,
        left_s=None if until_ms < 0 else max(0, until_ms - now_ms) / 1000,
        probes=sum(1 for _, lease_ms in probes if lease_ms > now_ms),
        since_s=(now_ms - since_ms) / 1000 if since_ms else None,
        who=_text(fields.get(b"who")), why=_text(fields.get(b"why")),
    )  # fmt: skip


def _number(value: bytes | None) -> int:
    try:
        return int(value or 0)
    except ValueError:
        return 0


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
