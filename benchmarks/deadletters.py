"""How fast messages are buried, found, counted and replayed, among as many as there may ever be."""

from __future__ import annotations

import statistics
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from redis import Redis

from benchmarks.app import QUEUE
from benchmarks.failure import MeasureFailed
from benchmarks.mint import Mint, fill
from benchmarks.row import Row, Target
from benchmarks.side import Side
from dlq import DeadLetters, Selection
from hardening.core.scripts import Death, Scope, Taken
from hardening.core.scripts.calls import renew
from hardening.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stage import Stage
    from hardening.core.scripts import TakenMessage

__all__ = ["ABOUT", "Graveyard", "measure"]

ABOUT = (
    "Bury: one call after the other, as a worker does. List: the newest 50 entries. Find: the newest 50 of one task in "
    "a hundred. Statistics: by reason, task, queue and problem. Replay: DeadLetters.replay, the oldest first, with the "
    "entries read from Redis and rewritten; then as many of half of the tasks. Block: the longest that one command of "
    "these replays kept Redis, by its own log, preemption included. "
    "Memory: what a dead letter takes beyond its raw message and its traceback. "
    "Stock drops what fails, so it has no figure."
)

_BATCH = 500
_CONSUMER = "gravedigger"
_PAGE = 50
_LISTINGS = 20
#: Letters are of so many tasks.
_TASKS = 100
_PATIENCE_S = 230.0
_DEATH = Death("failed", "ValueError: no such customer", "Traceback (most recent call last):\n" + "  File ...\n" * 20)


class Graveyard:
    """Buries, lists, finds, counts and replays.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        self._client: Any = Redis.from_url(url, socket_timeout=30.0)
        settings = Settings()
        self._scope = Scope(settings.keys, settings.receipt_ttl_ms, _CONSUMER)
        self._keys = settings.keys
        self._letters = DeadLetters(self._client, settings.keys, receipt_ttl_ms=settings.receipt_ttl_ms)
        self._mint = Mint.of(Side.HARDENED, url, self._client)

    def __call__(self, *, entries: int, buried: int, replayed: int) -> tuple[float, ...]:
        """Buries per second; the times of a page, of a page of one task and of statistics in ms; replays per second,
        of all and of half of the tasks; the longest block in ms; bytes.

        Args:
            entries: how many there are when they are listed and the replay begins.
            buried: how many of them are buried one by one, which is what is timed; the rest go in batches.
            replayed: how many of them are replayed.
        """  # noqa: D205 - one sentence
        renew(self._keys, _CONSUMER, 600_000, join=True, about="{}").run(self._client)
        fill(self._client, self._mint.copies(buried))
        bury_s = 0.0
        for _ in range(0, buried, _BATCH):
            bury_s += self._bury_singly(self._take())
        size = self._bury(self._mint.copies(entries - buried, first=buried))
        if len(self._letters) != entries:
            raise MeasureFailed(f"{len(self._letters):,} of {entries:,} messages were buried")
        newest = Selection(limit=_PAGE)
        of_one_task = Selection(task="shop.task7", limit=_PAGE)
        times_s = [self._list_s(newest), self._list_s(of_one_task), self._stats_s(entries)]
        self._client.config_set("slowlog-log-slower-than", 500)
        orders = (Selection(limit=replayed), Selection(task="shop.task*[02468]", limit=replayed // 2))
        rates = [(order.limit or 0) / self._replay_s(order) for order in orders]
        blocks_us = [entry["duration"] for entry in self._client.slowlog_get(10_000)]
        return buried / bury_s, *(time_s * 1e3 for time_s in times_s), *rates, max(blocks_us, default=500) / 1e3, size

    def _take(self) -> list[TakenMessage]:
        return Taken.parse(self._scope.take(_CONSUMER, [QUEUE], _BATCH).run(self._client), [QUEUE]).messages

    def _bury_singly(self, taken: list[TakenMessage]) -> float:
        begin_s = time.perf_counter()
        for message in taken:
            self._scope.bury(_CONSUMER, message.seq, _DEATH).run(self._client)
        return time.perf_counter() - begin_s

    def _bury(self, copies: Iterator[bytes]) -> float:
        """Buries messages as if they had been acknowledged before they failed. Returns bytes for each."""
        before = self._client.info("memory")["used_memory"]
        length = count = 0
        while batch := list(islice(copies, _BATCH)):
            with self._client.pipeline(transaction=False) as pipe:
                for number, raw in enumerate(batch):
                    named = raw.replace(b'"task": "', b'"task": "shop.task%d", "was": "' % (number % _TASKS), 1)
                    call = self._scope.bury(_CONSUMER, 0, _DEATH, list_key=QUEUE, raw=named)
                    pipe.execute_command(*call.command)
                    length += len(named) + len(_DEATH.traceback)
                pipe.execute()
            count += len(batch)
        return float((self._client.info("memory")["used_memory"] - before - length) / count)

    def _stats_s(self, entries: int) -> float:
        times_s = []
        for _ in range(_LISTINGS):
            begin_s = time.perf_counter()
            stats = self._letters.stats()
            times_s.append(time.perf_counter() - begin_s)
            if stats.total != entries:
                raise MeasureFailed(f"{stats.total:,} of {entries:,} dead letters were counted")
        return statistics.median(times_s)

    def _list_s(self, selection: Selection) -> float:
        times_s = []
        for _ in range(_LISTINGS):
            begin_s = time.perf_counter()
            page = list(self._letters.select(selection, newest_first=True))
            times_s.append(time.perf_counter() - begin_s)
            if len(page) != _PAGE:
                raise MeasureFailed(f"a page of {len(page)} entries, expected {_PAGE}")
        return statistics.median(times_s)

    def _replay_s(self, order: Selection) -> float:
        before = self._client.llen(QUEUE)
        begin_s = time.perf_counter()
        replayed = self._letters.replay(self._letters.select(order))
        took_s = time.perf_counter() - begin_s
        if not replayed == order.limit == self._client.llen(QUEUE) - before:
            raise MeasureFailed(f"{replayed:,} of {order.limit:,} messages were replayed")
        return took_s


def measure(stage: Stage) -> list[Row]:
    """Each round on a new server."""
    rounds = stage.rounds(full=3, quick=2)
    entries, buried, replayed = stage.pick((1_000_000, 5_000, 50_000), (20_000, 1_000, 5_000))
    bury, listing, finding, counting, replay, some, block, size = stage.samples(
        "benchmarks.deadletters:Graveyard", rounds, timeout_s=_PATIENCE_S, entries=entries, buried=buried,
        replayed=replayed,
    )  # fmt: skip
    return [
        Row(name="bury", unit="/s", hardened=bury),
        Row(name=f"list {_PAGE} of {entries:,}", unit="ms", hardened=listing, target=Target.at_most(50)),
        Row(name=f"find {_PAGE} of one task among {entries:,}", unit="ms", hardened=finding, target=Target.at_most(50)),
        Row(name=f"statistics of {entries:,}", unit="ms", hardened=counting, target=Target.at_most(200)),
        Row(name=f"replay {replayed:,}", unit="/s", hardened=replay, target=Target.at_least(20_000)),
        Row(name=f"replay {replayed // 2:,} by task", unit="/s", hardened=some, target=Target.at_least(20_000)),
        Row(name="longest block of a replay", unit="ms", hardened=block, target=Target.at_most(10)),
        Row(name="memory beyond message and traceback", unit="bytes", hardened=size),
    ]
