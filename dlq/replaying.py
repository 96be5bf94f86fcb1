"""Giving dead letters back: how fast, how many, where to, and changed in what."""

from __future__ import annotations

import difflib
import inspect
import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from dlq.rewrite import Changes
from hardening.core.errors import QueueFull, QueueUnknown
from hardening.core.keys import PRIORITY_SEPARATOR, PRIORITY_STEPS
from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from redis import Redis

    from dlq.entry import Entry
    from hardening.core.scripts import Pending, Scope

__all__ = ["Order", "Replayer", "merger_for"]

#: Letters that one script call moves: about 3 ms of Redis. The next ones are rewritten meanwhile.
_PAGE = 250
_Part = tuple[str, str, str, bytes]


@dataclass(frozen=True, slots=True)
class Order:
    """How letters are given back.

    Attributes:
        rate: at most so many a second; None: as fast as it goes.
        dry_run: nothing is moved, but all is looked at and counted.
        to_queue: where they go instead; None: each to where it was taken from.
        set_kwargs: arguments that are changed, by name.
        max_queue: stops before a queue holds more messages than this; None: however many.
    """

    rate: float | None = None
    dry_run: bool = False
    to_queue: str | None = None
    set_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_queue: int | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ValueError(f"rate is {self.rate!r}, expected a positive number a second")
        if self.max_queue is not None and self.max_queue < 0:
            raise ValueError(f"max_queue is {self.max_queue!r}, expected 0 or more")


class Replayer:
    """Carries out one order, page by page, in the order given. Each letter is replayed once, whoever else replays.

    Args:
        client: replies must not be decoded.
        scope: how calls sign themselves.
        order: what is to be done.
        tasks: the app's, by name, to check arguments against; those not in it are not checked.
        pause: waits so many seconds.

    Attributes:
        replayed: how many so far.
    """

    def __init__(
        self,
        client: Redis,
        scope: Scope,
        order: Order,
        *,
        tasks: Mapping[str, Any],
        pause: Callable[[float], object] = lambda seconds: threading.Event().wait(seconds),
    ) -> None:
        self._client: Any = client
        self._scope = scope
        self._order = order
        self._pause = pause
        merge = merger_for(tasks, order.set_kwargs) if order.set_kwargs else None
        self._changes = Changes(queue=order.to_queue, merge=merge)
        self._given: Counter[str] = Counter()
        self._under_way: Pending | None = None
        self._is_told = True
        self.replayed = 0

    def refuse_unknown_queue(self, known: Collection[str]) -> None:
        """Sees to it that somebody has heard of the queue.

        Raises:
            QueueUnknown: nobody has.
        """
        queue = self._order.to_queue
        if queue is None or queue in known or self._client.sismember(self._scope.keys.queues, queue):
            return
        heard_of = {name.decode("utf-8", "replace") for name in self._client.smembers(self._scope.keys.queues)}
        near = difflib.get_close_matches(queue, sorted(heard_of | set(known)), n=1)
        raise QueueUnknown(queue, near[0] if near else None)

    def run(self, entries: Iterable[Entry], on_progress: Callable[[int], None]) -> int:
        """Replays entries.

        Returns:
            How many this call replayed, or would have.

        Raises:
            QueueFull: a queue holds as many messages as it may.
            RewriteRefused: arguments cannot be changed; what was replayed before stays so.
        """
        began_s = boot_clock_s()
        rest = (entry for entry in entries if entry.fields.get(b"list"))
        page = list(islice(rest, self._size))
        try:
            while page:
                if self._order.max_queue is not None:  # a queue's depth counts what is under way
                    self._settle(on_progress)
                parts, full = self._parts(page)
                self._settle(on_progress)
                page = [] if full else list(islice(rest, self._size))
                self._begin(parts)
                if full is not None or self._order.rate:
                    self._settle(on_progress)
                if full is not None:
                    entry, depth = full
                    raise QueueFull(
                        self._target(entry)[0], depth=depth, replayed=self.replayed, next_id=entry.id,
                        dry_run=self._order.dry_run,
                    )  # fmt: skip
                if self._order.rate and not self._order.dry_run:
                    self._pause(max(0.0, began_s + self.replayed / self._order.rate - boot_clock_s()))
        finally:
            self._settle(on_progress)
        return self.replayed

    def _begin(self, parts: list[_Part]) -> None:
        """Has Redis move a page, while the next one is rewritten here; that one has been read before."""
        if self._order.dry_run:
            self.replayed += len(parts)
        self._under_way = None if self._order.dry_run else self._scope.replay(parts).begin(self._client)
        self._is_told = False

    def _settle(self, on_progress: Callable[[int], None]) -> None:
        """Sees a page through."""
        pending, self._under_way = self._under_way, None
        if pending is not None:
            self.replayed += int(pending.reply())
        if not self._is_told:
            self._is_told = True
            on_progress(self.replayed)

    @property
    def _size(self) -> int:
        """How many letters go in one page; few enough that a rate is even."""
        return _PAGE if self._order.rate is None else max(1, min(_PAGE, int(self._order.rate / 4)))

    def _parts(self, page: list[Entry]) -> tuple[list[_Part], tuple[Entry, int] | None]:
        """What of a page is sent, and, if not all is, the first that is not and the depth of its queue."""
        parts: list[_Part] = []
        depths: dict[str, int] = {}
        for entry in page:
            list_key = entry.list_key if self._order.to_queue is None else self._target(entry)[1]
            if self._order.max_queue is not None:
                queue = self._target(entry)[0]
                if queue not in depths:
                    depths[queue] = self._depth(queue) + (self._given[queue] if self._order.dry_run else 0)
                if depths[queue] >= self._order.max_queue:
                    return parts, (entry, depths[queue])
                depths[queue] += 1
                self._given[queue] += 1
            parts.append((entry.id, entry.group, list_key, entry.replay_raw(self._changes)))
        return parts, None

    def _target(self, entry: Entry) -> tuple[str, str]:
        """The queue and the list to which an entry goes; its priority stays."""
        if self._order.to_queue is None:
            return entry.queue, entry.list_key
        return self._order.to_queue, self._order.to_queue + entry.list_key[len(entry.queue) :]

    def _depth(self, queue: str) -> int:
        with self._client.pipeline(transaction=False) as pipe:
            for step in PRIORITY_STEPS:
                pipe.llen(f"{queue}{PRIORITY_SEPARATOR}{step}" if step else queue)
            return sum(pipe.execute())


def merger_for(
    tasks: Mapping[str, Any], changes: Mapping[str, Any]
) -> Callable[[str, list[Any], dict[str, Any]], tuple[list[Any], dict[str, Any]]]:
    """Changes arguments by name, wherever they stand; of a task that is known, only such as it takes.

    What it returns raises ``ValueError`` for a name that the task does not take.
    """

    def merge(task: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        parameters = _parameters_of(tasks.get(task))
        takes_any = parameters is None or any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        by_position = [
            name
            for name, one in (parameters or {}).items()
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
        for name, value in changes.items():
            if name in by_position[: len(args)]:
                args[by_position.index(name)] = value
            elif takes_any or _is_named(parameters, name):
                kwargs[name] = value
            else:
                near = difflib.get_close_matches(name, list(parameters or ()), n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(parameters or ()) or 'none'}"
                raise ValueError(f"{task} takes no argument {name!r}, {hint}")
        return args, kwargs

    return merge


def _is_named(parameters: Mapping[str, inspect.Parameter] | None, name: str) -> bool:
    one = (parameters or {}).get(name)
    return one is not None and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)


def _parameters_of(task: Any) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(task.run).parameters if task is not None else None
    except (TypeError, ValueError):
        return None
