"""What a worker that has nothing to do asks of Redis."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from benchmarks.failure import MeasureFailed
from benchmarks.patience import pause, until
from benchmarks.row import Row, Target
from benchmarks.sample import Sample
from benchmarks.side import Side
from hardening.core.scripts import Script

if TYPE_CHECKING:
    from benchmarks.stage import Server, Stage

__all__ = ["ABOUT", "measure"]

ABOUT = (
    "Commands per second that one idle worker (threads -c 4) sends. Redis counts a script's inner commands like those "
    "that clients send, in INFO commandstats as in total_commands_processed, so they are told apart by MONITOR, which "
    "marks them as Lua's. Per queue: the takes and BRPOPs, which look for messages, divided by the number of queues; "
    "the rest is the heartbeat, the same for any number: leases, sweeps, Celery's events."
)

#: How long a worker may take to come up, and then to come to rest, in seconds.
_START_S = 60.0
_REST_S = 2.0
_QUEUES = (1, 20)
#: What is sent because there are queues; scripts by their names.
_FOR_QUEUES = frozenset({"take", "BRPOP"})


class _Watch:
    """Writes down what reaches one server.

    Args:
        server: whose; its own client must not be used meanwhile.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._scripts = {Script.load(name).sha: name for name in ("take", "ack", "renew", "recover")}

    def __enter__(self) -> Self:
        """Begins."""
        self._server.client.ping()  # connects, so that nothing of ours but the mark is among what is seen
        client: Any = self._server.client
        self._monitor: Any = client.monitor()
        self._monitor.__enter__()
        self._began_s = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends."""
        self._monitor.__exit__(None, None, None)

    def per_s(self) -> Counter[str]:
        """What clients have sent since the beginning, per second, by command or script."""
        took_s = time.perf_counter() - self._began_s
        self._server.client.echo("the end")
        seen: Counter[str] = Counter()
        while (command := self._monitor.next_command())["command"] != "ECHO the end":
            if command["client_type"] != "lua":
                seen[self._name(command["command"])] += 1
        return Counter({name: count / took_s for name, count in seen.items()})

    def _name(self, command: str) -> str:
        word, _, rest = command.partition(" ")
        return self._scripts.get(rest.partition(" ")[0], word) if word == "EVALSHA" else word.upper()


def measure(stage: Stage) -> list[Row]:
    """Watches all workers at once, each with a server of its own: nothing is timed, only counted."""
    rounds, seconds = stage.rounds(full=3, quick=1), stage.pick(10.0, 5.0)
    every: dict[tuple[int, Side], list[float]] = defaultdict(list)
    each: dict[tuple[int, Side], list[float]] = defaultdict(list)
    for number in range(1, rounds + 1):
        stage.tell(f"round {number} of {rounds}")
        for (queues, side), seen in _round(stage, seconds).items():
            every[queues, side].append(sum(seen.values()))
            each[queues, side].append(sum(seen[name] for name in _FOR_QUEUES) / queues)
    rows = []
    for queues in _QUEUES:
        name = f"{queues} queue{'s' if queues > 1 else ''}"
        rows.append(_row(f"{name}, all", every, queues))
        rows.append(_row(f"{name}, per queue", each, queues, Target.at_most(3.0)))
    return rows


def _row(name: str, rates: dict[tuple[int, Side], list[float]], queues: int, target: Target | None = None) -> Row:
    stock, hardened = (Sample.of(rates[queues, side]) for side in Side)
    return Row(name=name, unit="/s", stock=stock, hardened=hardened, target=target)


def _round(stage: Stage, seconds: float) -> dict[tuple[int, Side], Counter[str]]:
    with ExitStack() as stack:
        servers = {}
        workers = []
        for queues in _QUEUES:
            for side in Side:
                server = servers[queues, side] = stack.enter_context(stage.redis())
                names = [f"q{number}" for number in range(queues)]
                worker = stage.worker(server, side, pool="threads", concurrency=4, queues=names)
                workers.append(stack.enter_context(worker))
        for worker in workers:
            until(lambda worker=worker: worker.is_ready, "a worker", timeout_s=_START_S)  # type: ignore[misc]
        pause(_REST_S)
        watches = {key: stack.enter_context(_Watch(server)) for key, server in servers.items()}
        pause(seconds)
        seen = {key: watch.per_s() for key, watch in watches.items()}
        for worker in workers:
            worker.check()
    if not all(seen.values()):
        raise MeasureFailed("a worker sent nothing at all")
    return seen
