"""What is asked of a breaker that all workers share, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hardening.core.keys import Keys

__all__ = ["NEVER", "Rates", "Seen", "Tally", "force", "probe", "report"]

#: A rate that no call reaches.
NEVER = 2.0
#: How the reason begins for which somebody changed a breaker by hand.
_BY_HAND = "by hand"


class Rates(NamedTuple):
    """The rule of a breaker, as scripts take it.

    Attributes:
        failure_rate: part of the calls in the window that opens it.
        slow_rate: the same for slow calls; more than 1: never.
        minimum_calls: in the window, before anything opens it.
        window_ms: how long a call counts.
        open_ms: how long it stays open, and how long a probe may keep its place.
        probes: how many at a time, and how many must succeed.
    """

    failure_rate: float
    slow_rate: float
    minimum_calls: int
    window_ms: int
    open_ms: int
    probes: int


class Tally(NamedTuple):
    """Results of calls of one generation."""

    generation: int
    calls: int = 0
    failures: int = 0
    slow: int = 0


class Seen(NamedTuple):
    """What Redis says of a breaker.

    Attributes:
        state: ``closed``, ``open`` or ``half_open``.
        generation: counts its changes.
        left_ms: how long until it may be probed; -1: not before somebody closes it.
        who: changed it last.
        why: and for what reason.
        is_changed: whether the call that asked changed it.
        is_granted: whether the caller may probe.
    """

    state: str
    generation: int
    left_ms: int
    who: str
    why: str
    is_changed: bool
    is_granted: bool = False

    @property
    def is_forced(self) -> bool:
        """Whether somebody changed it last, and not its rule."""
        return self.why.startswith(_BY_HAND)

    @staticmethod
    def parse(reply: list[Any]) -> Seen:
        """Reads the reply of any of the scripts."""
        state, generation, left_ms, who, why, *flags = reply
        texts = (each.decode("utf-8", "replace") for each in (state, who, why))
        state, who, why = texts
        return Seen(state, int(generation), int(left_ms), who, why, *map(bool, flags))


def report(keys: Keys, name: str, who: str, tally: Tally, rates: Rates, ended: Iterable[str] = ()) -> Call:
    """Counts results, and the probes that ended; without either it only asks. Reply: see :class:`Seen`."""
    fixed = (keys.breaker(name), keys.breaker_probes(name), keys.breakers)
    return Call(_REPORT, fixed, (name, who, *tally, *rates, *ended))


def probe(keys: Keys, name: str, who: str, rates: Rates, token: str) -> Call:
    """Asks for the place of a probe. Reply: see :class:`Seen`."""
    fixed = (keys.breaker(name), keys.breaker_probes(name))
    return Call(_PROBE, fixed, (who, rates.probes, rates.open_ms, token))


def force(
    keys: Keys, name: str, who: str, why: str, state: Literal["open", "closed", "reset"], *, for_ms: int = 0
) -> Call:
    """Opens, closes or resets a breaker by hand. Reply: see :class:`Seen`."""
    fixed = (keys.breaker(name), keys.breaker_probes(name), keys.breakers)
    return Call(_SET, fixed, (name, who, f"{_BY_HAND}: {why}" if why else _BY_HAND, state, for_ms))


_REPORT = Script.load("breaker_report")
_PROBE = Script.load("breaker_probe")
_SET = Script.load("breaker_set")
