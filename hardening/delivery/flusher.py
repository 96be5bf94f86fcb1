"""The flusher: brings what was spooled to Redis when it is back.

What must be remembered, and for how long. A flusher may be killed after Redis took a message and before the
spool forgot it. The receipt would tell the repeat apart, but receipts expire, and the next flush may come days
later. So the script that publishes also notes the message's id in the set ``{p}:flushing:{spool}``, which does not
expire; it is deleted when the file has durably forgotten the whole batch. Whatever a flusher dies between, the
next one sends the same batch again and Redis knows it. One process at a time flushes, by a lock of the kernel's.

A sender's own attempt before it spooled, of which it lost the reply, is told apart by the receipt, as long as
that is kept: ``hardening_receipt_ttl_s``. A message that may have been published so and was spooled for longer
is set aside, for nobody can know any more; an operator can (``celery spool``).

Guarantees: messages of one spool are published in the order in which they were spooled, each once, as exactly the
call that the sender had made: no task code is needed, an ETA that has passed is now, what has expired is
published and buried by the worker. What Redis refuses because of the message is set aside with its error and holds
up nothing; what it refuses for its own state, such as being full, stops the flush until later.

Does not guarantee: order between what is flushed and what is sent meanwhile, nor between set aside and not.

Events: ``hardening.spool.flushed``, ``.failed``, ``hardening.message.refused``.
"""

from __future__ import annotations

import random
import re
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from hardening.core import telemetry
from hardening.core.deployment import client_of, forget_clients, scope_of, settings_of
from hardening.core.outage import MessageRefused, SpoolFailed, SpoolFlushed

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery
    from redis import Redis

    from hardening.core.scripts import Scope
    from hardening.delivery.spool import Spool, Spooled

__all__ = ["Flusher", "Report", "stop_flushers"]

#: How soon to look again when there was nothing, and how the pauses grow while Redis is away, in seconds.
_IDLE_S = 5.0
_PAUSE_S, _MAX_PAUSE_S = 0.25, 5.0
_STOP_S = 5.0
#: What Redis says of itself, and not of the message.
_OWN_STATE = re.compile(
    r"\b(OOM|READONLY|LOADING|BUSY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOAUTH|WRONGPASS|UNKILLABLE)\b"
)
_TOO_LATE = (
    "its first attempt may have been taken, and the receipt that would tell is no longer kept: "
    "see whether it ran, then purge it or flush it again"
)


_FLUSHERS: weakref.WeakSet[Flusher] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did.

    Attributes:
        flushed: how many messages Redis has now, and the spool no longer.
        repeated: how many of them Redis had already.
        refused: how many were set aside.
        left: how many still wait.
        error: why they do; empty: nothing went wrong.
        is_elsewhere: another process is flushing, and this one did nothing.
    """

    flushed: int = 0
    repeated: int = 0
    refused: int = 0
    left: int = 0
    error: str = ""
    is_elsewhere: bool = False


class Flusher:
    """Empties one spool, in a daemon thread or by hand.

    Args:
        app: over whose broker.
        spool: what is emptied.
        on_contact: called when Redis took something.
    """

    def __init__(self, app: Celery, spool: Spool, on_contact: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._spool = spool
        self._on_contact = on_contact
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        _FLUSHERS.add(self)

    @property
    def is_running(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread; one that runs looks at the spool soon. Idempotent."""
        with self._mutex:
            self._wake.set()
            if self.is_running:
                return
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._stopping,), name="hardening-spool", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what is left stays in the spool. Idempotent."""
        with self._mutex:
            thread, self._thread = self._thread, None
            self._stopping.set()
            self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_S)

    def run_once(self, *, patience_s: float = 0.0, stopping: threading.Event | None = None) -> Report:
        """Flushes until nothing waits, or Redis is away.

        Args:
            patience_s: how long to wait for another flusher, in seconds.
            stopping: ends it after the message at hand.

        Raises:
            SpoolError: the file cannot be used.
        """
        if not self._spool.path.exists():
            return Report()
        with self._spool.flushing(patience_s) as is_alone:
            if not is_alone:
                return Report(left=self._spool.totals().waiting, is_elsewhere=True)
            run = _Run(self._app, self._spool, stopping or threading.Event())
            while (batch := self._spool.batch()) and not run.is_over:
                run.flush(batch)
        report = Report(run.flushed, run.repeated, run.refused, self._spool.totals().waiting, run.error)
        if report.flushed:
            self._on_contact()
        if report.flushed or report.refused:
            telemetry.emit(
                SpoolFlushed(flushed=report.flushed, repeated=report.repeated, refused=report.refused, left=report.left)
            )
        return report

    def _run(self, stopping: threading.Event) -> None:
        pause_s = _PAUSE_S
        while not stopping.is_set():
            self._wake.clear()
            try:
                is_well = not self.run_once(stopping=stopping).error
            except Exception as error:  # noqa: BLE001 - the loop's edge: whatever it was, it is tried again
                telemetry.emit(SpoolFailed(error=repr(error)))
                is_well = False
            if is_well:
                pause_s = _PAUSE_S
                self._wake.wait(_IDLE_S)
            else:
                stopping.wait(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - so that hosts do not come in step
                pause_s = min(_MAX_PAUSE_S, 2 * pause_s)


def stop_flushers() -> None:
    """Ends the thread of every flusher of this process, for a clean end; what is left stays in the spools."""
    for flusher in list(_FLUSHERS):
        flusher.stop()


class _Run:
    """One run: what it has done so far."""

    def __init__(self, app: Celery, spool: Spool, stopping: threading.Event) -> None:
        self._app = app
        self._spool = spool
        self._stopping = stopping
        self._name = spool.identity()
        self._scope: Scope = scope_of(app)
        self._kept_s = settings_of(app).receipt_ttl_s
        self.flushed = self.repeated = self.refused = 0
        self.error = ""

    @property
    def is_over(self) -> bool:
        """Whether there is no point in going on."""
        return bool(self.error) or self._stopping.is_set()

    def flush(self, batch: list[Spooled]) -> None:
        """Publishes a batch, one message after the other, and has the spool forget it."""
        done: list[int] = []
        refused: list[tuple[int, str]] = []
        failed: tuple[int, str] | None = None
        client = client_of(self._app)
        for spooled in batch:
            if self._stopping.is_set():
                break
            try:
                if error := self._publish(client, spooled):
                    refused.append((spooled.seq, error))
                else:
                    done.append(spooled.seq)
            except (RedisError, OSError) as away:
                self.error = f"{type(away).__name__}: {away}"
                failed = (spooled.seq, self.error)
                forget_clients(self._app)
                break
        self._spool.settle(done, refused=refused, failed=failed)
        self.flushed += len(done)
        self.refused += len(refused)
        if done and not self.error:
            self._forget(client)

    def _publish(self, client: Redis, spooled: Spooled) -> str:
        """Publishes a message. Returns why it never can be; empty: Redis has it."""
        error = ""
        if spooled.is_uncertain and spooled.age_s > self._kept_s:
            error = _TOO_LATE
        else:
            try:
                reply = spooled.publication.flush_call(self._scope, self._name).run(client)
                self.repeated += reply != 1  # 0, or the receipt that has its idempotency key
            except ResponseError as refusal:
                if _is_own_state(refusal):
                    raise
                error = f"{type(refusal).__name__}: {refusal}"
        if error:
            publication = spooled.publication
            telemetry.emit(
                MessageRefused(receipt=spooled.receipt, task=publication.task, queue=publication.queue, error=error)
            )
        return error

    def _forget(self, client: Redis) -> None:
        """The file has forgotten the batch, so Redis may; ids that stay cost a little memory until the next one."""
        try:
            client.delete(self._scope.keys.flushing(self._name))
        except (RedisError, OSError) as away:
            self.error = f"{type(away).__name__}: {away}"


def _is_own_state(error: ResponseError) -> bool:
    """Whether Redis refuses for a reason that has nothing to do with the message, and that may pass."""
    if isinstance(error, NoPermissionError):
        return "key" not in str(error)  # a command that is denied is so for all messages, a key for some
    return type(error) is not ResponseError or bool(_OWN_STATE.search(str(error)))
