"""Keepers for tests, and threads that start at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from dlq.keeper import Keeper
from hardening.core.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["AT_ONCE", "keeper_of", "together"]

#: Two retries, which may wait for long.
AT_ONCE = {"default": {"base_s": 1000.0, "attempts": 2}}


def keeper_of(
    client: Redis, keys: Keys, name: str = "k", *, chance: float = 0.0, tasks_of: Any = None, **conf: Any
) -> Keeper:
    """A keeper; with no chance every retry is due at once."""
    given = {
        f"hardening_{name}": value for name, value in {"prefix": keys.prefix, "dlq_retry": AT_ONCE, **conf}.items()
    }
    return Keeper(client, Settings.load(given, {}), name=name, chance=lambda: chance, tasks_of=tasks_of)


def together(count: int, work: Any) -> list[Any]:
    """Runs ``work(number)`` in threads that start at once."""
    barrier, results = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait(30)
        results.append(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    return results
