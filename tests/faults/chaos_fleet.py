"""The workers of a round: each behind a proxy of its own, and replaced as soon as it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.chaos_plan import Crew
    from tests.faults.chaos_verdict import Fault
    from tests.faults.rig import Rig, Worker

__all__ = ["Fleet", "Post"]

#: How long a worker may take to become ready, and to stop when asked to, in seconds.
_PATIENCE_S = 45.0


@dataclass(slots=True)
class Post:
    """A place in the fleet, and the worker that holds it now.

    Attributes:
        number: from 1.
        crew: what kind of worker belongs there.
        proxy: its way to Redis.
        worker: who holds it.
        since_s: since when.
        is_ready: whether it consumes.
        trial: the fault it is going through, if any: it is not to be hit by another.
        leaving: whether it was asked to stop.
    """

    number: int
    crew: Crew
    proxy: Proxy
    worker: Worker
    since_s: float
    is_ready: bool = False
    trial: Fault | None = None
    leaving: bool = False

    @property
    def pid(self) -> int:
        """Of the worker's parent process."""
        return self.worker.process.pid

    @property
    def is_well(self) -> bool:
        """Whether it consumes and goes through nothing."""
        return self.is_ready and self.trial is None

    def __str__(self) -> str:
        return f"w{self.number} {self.crew}"


class Fleet:
    """All workers. The thread that made it runs all of it: the workers die with that thread.

    Args:
        rig: starts and kills them.
        crews: what they are.
        stock: plain Celery.
        on_death: told of a worker that ended unasked, or not decently, before it is replaced.

    Attributes:
        oddities: what went wrong besides.
    """

    def __init__(self, rig: Rig, crews: tuple[Crew, ...], *, stock: bool, on_death: Callable[[Post], None]) -> None:
        self._rig = rig
        self._stock = stock
        self._on_death = on_death
        self.oddities: list[str] = []
        self.crew_of: dict[int, Post] = {}
        self.posts = [self._open(number, crew) for number, crew in enumerate(crews, 1)]

    def _open(self, number: int, crew: Crew) -> Post:
        proxy = Proxy(self._rig.broker)
        proxy.__enter__()
        post = Post(number, crew, proxy, self._hire(crew, proxy), time.monotonic())
        self.crew_of[post.pid] = post
        return post

    def _hire(self, crew: Crew, proxy: Proxy) -> Worker:
        return self._rig.start(
            crew.pool, crew.concurrency, broker=proxy.url, stock=self._stock, tasks="tests.faults.chaos_tasks"
        )

    def replace(self, post: Post) -> None:
        """Clears away what is left of a worker, and starts its successor."""
        with suppress(ProcessLookupError):
            os.killpg(post.pid, signal.SIGKILL)
        post.worker.process.wait(10)
        post.worker, post.since_s = self._hire(post.crew, post.proxy), time.monotonic()
        post.is_ready, post.trial, post.leaving = False, None, False
        self.crew_of[post.pid] = post

    def tend(self) -> None:
        """Sees who has become ready, who has stopped, and who has died."""
        for post in self.posts:
            code = post.worker.process.poll()
            if code is None:
                self._look_at(post)
                continue
            if post.trial is not None:
                post.trial.until_s = time.monotonic()
            if post.leaving and code > 0:
                asked = post.trial.kind if post.trial else "asked to"
                self.oddities.append(f"{post} pid {post.pid} left with exit code {code}, {asked}; {post.worker.log}")
            elif not post.leaving or code != 0:
                self._on_death(post)
            self.replace(post)

    def _look_at(self, post: Post) -> None:
        if not post.is_ready and not post.leaving:
            post.is_ready = b" ready." in post.worker.log.read_bytes()
        waits = post.leaving or not post.is_ready
        asked_s = post.trial.at_s if post.leaving and post.trial else post.since_s
        if waits and time.monotonic() - asked_s > _PATIENCE_S:
            what = "did not stop" if post.leaving else "did not become ready"
            self.oddities.append(f"{post} pid {post.pid} {what} in {_PATIENCE_S:g} s; log {post.worker.log}")
            post.worker.kill()
            if post.trial is not None:
                post.trial.until_s = time.monotonic()
            self.replace(post)

    @property
    def well(self) -> list[Post]:
        """Those that consume and go through nothing."""
        return [post for post in self.posts if post.is_well]

    def retire(self) -> None:
        """Asks all to stop, and sees that they do so decently."""
        for post in self.posts:
            post.worker.send(signal.SIGTERM)
        end_s = time.monotonic() + _PATIENCE_S
        for post in self.posts:
            with suppress(subprocess.TimeoutExpired):
                post.worker.process.wait(max(0.1, end_s - time.monotonic()))
            if post.worker.process.returncode != 0:
                self.oddities.append(f"{post} pid {post.pid} ended with {post.worker.process.returncode} at the end")

    def close(self) -> None:
        """Ends everything at once."""
        for worker in self._rig.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait(10)
        for post in self.posts:
            post.proxy.__exit__()
