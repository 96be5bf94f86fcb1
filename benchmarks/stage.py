"""Where a measure takes place: servers, children and workers, and how much of everything."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.child import Child
from benchmarks.placement import Placement
from benchmarks.sample import Sample
from benchmarks.worker import Worker
from hardening.core.embedded import EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from benchmarks.side import Side

__all__ = ["Server", "Stage"]

T = TypeVar("T")

#: How long a server may take to answer the harness, in seconds.
_ANSWER_S = 60.0


class Server:
    """A private Redis over TCP, as most brokers are.

    Attributes:
        url: for Celery, kombu and redis-py.
        client: of the harness.
        pid: of its process.
    """

    def __init__(self, url: str, client: Redis, pid: int) -> None:
        self.url = url
        self.client = client
        self.pid = pid


class Stage:
    """What every measure is handed.

    Args:
        directory: where logs go; nothing is kept.
        server: path of the Redis server; None: the one :class:`EmbeddedRedis` finds.
        quick: small sizes.
        rounds: of every measure; None: as each has it.
        tell: told what is going on.
    """

    def __init__(
        self, directory: Path, *, server: str | None, quick: bool, rounds: int | None, tell: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._server = server
        self._rounds = rounds
        self._number = count()
        self.placement = Placement.apart()
        self.quick = quick
        self.tell = tell

    def pick(self, full: T, quick: T) -> T:
        """The one for the whole run, or for a quick one."""
        return quick if self.quick else full

    def rounds(self, full: int, quick: int) -> int:
        """How many rounds: what the user asked for, or the measure's own number."""
        return self._rounds or self.pick(full, quick)

    @contextmanager
    def redis(self) -> Iterator[Server]:
        """A new, empty server.

        Raises:
            EmbeddedRedisError: it did not come up.
        """
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedRedis(port=0, server=self._server))
            client = stack.enter_context(server.client(socket_timeout=_ANSWER_S))
            yield Server(server.url, client, server.pid)

    def child(self, subject: str, server: Server, **spec: Any) -> Child:
        """A subject in a process of its own, the only one that uses the server; see :class:`Placement`."""
        if self.placement is not None:
            Placement.hold(server.pid, self.placement.server)
        processor = None if self.placement is None else self.placement.child
        return Child(subject, {"url": server.url, **spec}, self._log("child"), processor=processor)

    def samples(self, subject: str, rounds: int, *, timeout_s: float, **asked: Any) -> Iterator[Sample]:
        """What a subject answers, each round on a new server: one sample for each of its figures.

        Args:
            subject: as :meth:`child` takes it.
            rounds: how many.
            timeout_s: how long one may take, in seconds.
            **asked: what it is asked.
        """
        found = []
        for number in range(1, rounds + 1):
            self.tell(f"round {number} of {rounds}")
            with self.redis() as server, self.child(subject, server) as child:
                found.append(child.ask(timeout_s=timeout_s, **asked))
        return map(Sample.of, zip(*found, strict=True))

    def worker(self, server: Server, side: Side, **options: Any) -> Worker:
        """A worker; the options are those of :class:`Worker`."""
        return Worker(server.url, side, self._log("worker"), **options)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}-{next(self._number)}.log"
