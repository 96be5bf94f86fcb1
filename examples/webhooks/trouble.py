"""Which events make trouble, and how the endpoint treats the others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["POISON_HEADER", "Mood", "Trouble"]

#: The header of an answer that kills who reads it; says whom.
POISON_HEADER = "Webhook-Poison"


class Mood(StrEnum):
    """How the endpoint takes one request."""

    #: Takes the event and answers 204.
    FINE = "fine"
    #: Answers 503; later attempts fare better.
    ERROR = "error"
    #: Resets the connection.
    RESET = "reset"
    #: Says nothing until the client has given up.
    HANG = "hang"
    #: Answers 422, every time until it is fixed.
    REFUSE = "refuse"
    #: Answers what kills the process that reads it, every time until it is fixed.
    POISON = "poison"
    #: The same, and the worker above that process as well.
    POISON_WORKER = "poison_worker"


#: For each event that is bad for good, one of how many.
_ONE_IN = {Mood.REFUSE: 300, Mood.POISON: 600, Mood.POISON_WORKER: 2000}
#: How likely each is to befall an event's first attempt; half of the errors befall the second as well.
_FLAKY = ((Mood.ERROR, 0.06), (Mood.RESET, 0.02), (Mood.HANG, 0.005))
#: How long answers take, in seconds.
_USUAL_S = (0.02, 0.08)
_SLOW_S, _SLOW_SHARE = 0.3, 0.02


@dataclass(frozen=True, slots=True)
class Trouble:
    """What will go wrong in one run. The same seed and events give the same trouble.

    Attributes:
        seed: of everything random.
        bad: the mood of each event that fails until the endpoint is fixed, by its id.
    """

    seed: int
    bad: Mapping[str, Mood]

    @classmethod
    def choose(cls, ids: Sequence[str], *, seed: int) -> Trouble:
        """Picks the bad events from the first two thirds, so that they are over when the rest is.

        Args:
            ids: of all events, in the order of sending.
            seed: of everything random.
        """
        early = list(ids[: max(1, len(ids) * 2 // 3)])
        Random(seed).shuffle(early)
        bad: dict[str, Mood] = {}
        for mood, one_in in _ONE_IN.items():
            for _ in range(min(max(1, len(ids) // one_in), len(early) // 3)):
                bad[early.pop()] = mood
        return cls(seed, bad)

    def of(self, mood: Mood) -> set[str]:
        """The ids of the events that are bad in one way."""
        return {event_id for event_id, its in self.bad.items() if its is mood}

    def mood(self, event_id: str, attempt: int) -> Mood:
        """How an endpoint that is not fixed takes an attempt, counted from 1."""
        if event_id in self.bad:
            return self.bad[event_id]
        luck = Random(f"{self.seed}:{event_id}").random()
        for mood, share in _FLAKY:
            if luck < share:
                again = mood is Mood.ERROR and luck < share / 2
                return mood if attempt <= 1 + again else Mood.FINE
            luck -= share
        return Mood.FINE

    def latency_s(self, event_id: str, attempt: int) -> float:
        """How long the endpoint takes to answer, in seconds: mostly 20 to 80 ms, sometimes 300."""
        random = Random(f"{self.seed}:{event_id}:{attempt}")
        return _SLOW_S if random.random() < _SLOW_SHARE else random.uniform(*_USUAL_S)
