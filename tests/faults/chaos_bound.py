"""How many tasks a worker that cannot hear Redis may cause to run twice: the library's own constants, added up."""

from __future__ import annotations

from hardening.transport.intake import DELIVERY_BUDGET_S
from hardening.transport.line import SILENCE_S

__all__ = ["WINDOW_S", "silence_bound"]

#: How long after its first unanswered write a worker may begin something new, in seconds: so long it waits before it
#: doubts, and for one turn of its loop a reply that came before, and was not read yet, passes for an answer.
WINDOW_S = SILENCE_S + DELIVERY_BUDGET_S


def silence_bound(concurrency: int, *, prefetch: int, shortest_s: float = 0.0) -> int:
    """How many messages may run twice when a worker is parted from Redis and its lease runs out meanwhile.

    A message runs again when its ack does not arrive. Each place in the pool may have one that was running when the
    silence began. It may then begin another at the start of the window, and one more each time that the shortest
    task fits into it: ``2 + window // shortest`` of them.

    However short the tasks are, they come from what the worker held at Redis when the silence began, for a take is
    not answered any more. That is never more than its prefetch count: an ack travels before the take which asks
    for the room that it makes.

    Args:
        concurrency: how many tasks the worker runs at once.
        prefetch: its prefetch multiplier: how many messages it may hold for each of those.
        shortest_s: how long the shortest task takes, in seconds; 0 when that is not known.
    """
    each = prefetch if shortest_s <= 0 else min(prefetch, 2 + int(WINDOW_S / shortest_s))
    return concurrency * each
