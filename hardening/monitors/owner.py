"""This process as an owner of monitors.

One for each app. It keeps a lease of its own kind (``{p}:owners``), which is no consumer's: whoever sends tasks, or
runs scripts, owns monitors as workers do. What a task sets is its process's in Redis, and ends with the task.

Guarantees: what is called on a down is called once, whatever happens to replies: whoever takes the monitor out of the
table of this process calls. A forked child has none of its parent's monitors.

Does not guarantee: that monitors end when a process is killed before its lease runs out.
"""

from __future__ import annotations

import atexit
import itertools
import os
import socket
import threading
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery import signals
from redis.exceptions import RedisError

from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import monitoring as scripts
from hardening.monitors.errors import MonitorFailed
from hardening.monitors.ref import MonitorRef
from hardening.monitors.running import tell_of_ends
from hardening.monitors.table import Held, Table
from hardening.monitors.watch import Watch

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.scripts import Call

__all__ = ["Owner", "leave_all", "owner_of"]

_OWNER = "_hardening_monitors"
#: Monitors that one script call ends or sets: well under a ms of Redis each hundred.
BATCH = 200
#: How long a process that ends waits for Redis, in seconds.
_GOODBYE_S = 1.0

_mutex = threading.Lock()
_owners: list[Owner] = []


class Owner:
    """The monitors of one app in this process. Any thread may call any method.

    Args:
        app: a hardened app.

    Attributes:
        name: in Redis; no other process ever has it.
        table: what this process knows of its monitors.
        pid: of this process.
        is_over: whether it has said goodbye.
    """

    def __init__(self, app: Celery) -> None:
        settings = settings_of(app)
        self.app = app
        self.keys = settings.keys
        self.ttl_ms = settings.lease_ttl_ms
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.pid = os.getpid()
        self.is_over = False
        self.table = Table()
        self._numbers = itertools.count(1)
        self._watch = Watch(self)

    def next_id(self) -> str:
        """The id of a new monitor."""
        return f"{self.name}#{next(self._numbers)}"

    # -- one monitor, from before its round trip to after it

    def begin(self, held: Held) -> Call:
        """Enters a monitor here, where a down may find it as soon as Redis has it; returns the call that sets it."""
        held.is_sent = True
        self._enter(held)
        return scripts.monitor(self.keys, self.name, self.ttl_ms, [held.errand])

    def later(self, held: Held) -> MonitorRef:
        """Enters a monitor here, and leaves it to the owner's thread to set it."""
        held.is_pending, ref = True, self.ref(held)
        self._enter(held)
        return ref

    def _enter(self, held: Held) -> None:
        if held.task:
            tell_of_ends(self._end_task)
        self.table.put(held)
        self._watch.start()

    def kept(self, held: Held, reply: list[Any]) -> MonitorRef:
        """Redis has answered."""
        target, since_ms = reply[0].decode("utf-8", "replace"), int(reply[1])
        monitor_id, _, has_task, leak_after_ms, about, _ = held.errand
        held.errand = scripts.Errand(monitor_id, target, has_task, leak_after_ms, about, since_ms)
        held.is_kept = since_ms != 0
        return self.ref(held)

    def failed(self, held: Held, error: BaseException) -> MonitorFailed:
        """Redis has not answered, or refused: there is no monitor; returns what says so."""
        if self.table.take(held.errand.id) is not None:
            self.table.owe([held.ref])  # the call may have been run all the same
            self._watch.start()
        return MonitorFailed(held.errand.target, error)

    def ref(self, held: Held) -> MonitorRef:
        """How a monitor of ours is known outside."""
        return MonitorRef(held.errand.id, held.errand.target, held.tag, self.app, self.pid, held.is_kept)

    def end_call(self, refs: list[tuple[str, str]]) -> Call:
        """The call that ends monitors."""
        return scripts.demonitor(self.keys, refs)

    def end(self, many: list[Held]) -> int:
        """Ends monitors that were taken out of the table; while Redis is away, as soon as it is back.

        Returns:
            How many Redis knew of.
        """
        ended = 0
        for batch in _batches([held.ref for held in many if held.is_sent]):
            try:
                ended += int(self.end_call(batch).run(client_of(self.app)))
            except (RedisError, OSError):
                self.owe(batch)
        return ended

    def end_soon(self, many: list[Held]) -> None:
        """Ends monitors that were taken out of the table: here at once, in Redis by the owner's thread, within 0.5 s.

        So it costs a task no round trip, and many that end are ended by one. What is told by a task is ended at once:
        nobody here could keep that back.
        """
        self.owe([held.ref for held in many if held.is_sent and not held.errand.has_task])
        if told := [held for held in many if held.errand.has_task]:
            self.end(told)

    def owe(self, refs: list[tuple[str, str]]) -> None:
        """Monitors that are to be ended as soon as the owner's thread comes to it, and Redis is there."""
        self.table.owe(refs)
        self._watch.start()

    def _end_task(self, task_id: str) -> None:
        many = self.table.take_of(task_id)
        if many:
            self.end_soon(many)

    # -- all of them

    def set_all(self, every: list[Held]) -> None:
        """Sets what Redis does not know yet, or may have forgotten; what it has stays as it is.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        for many in _batches(every):
            call = scripts.monitor(self.keys, self.name, self.ttl_ms, [held.errand for held in many])
            reply = call.run(client_of(self.app))
            for held, target, since_ms in zip(many, reply[::2], reply[1::2], strict=True):
                self.kept(held, [target, since_ms])
                if self.table.get(held.errand.id) is None:
                    self.owe([held.ref])  # it was ended here meanwhile

    def leave(self) -> None:
        """The process ends: so do its monitors. Tries for a moment; after that they end with the lease."""
        self.is_over = True
        self._watch.stop()
        left = len(self.table.take_all()) + len(self.table.take_owed())
        with suppress(RedisError, OSError):
            client = client_of(self.app, patience_s=_GOODBYE_S)
            while left:
                _, left = scripts.reap(self.keys, self.name, BATCH, is_own=True).run(client)


def owner_of(app: Celery) -> Owner:
    """This process as an owner, for an app.

    Raises:
        ConfigError: the app is not hardened.
    """
    owner: Owner | None = getattr(app, _OWNER, None)
    if owner is not None and owner.pid == os.getpid() and not owner.is_over:
        return owner
    with _mutex:
        owner = getattr(app, _OWNER, None)
        if owner is None or owner.pid != os.getpid() or owner.is_over:
            owner = Owner(app)
            setattr(app, _OWNER, owner)
            _owners.append(owner)
            atexit.unregister(leave_all)
            atexit.register(leave_all)
            signals.worker_process_shutdown.connect(leave_all, weak=False, dispatch_uid="hardening.monitors")
        return owner


def leave_all(**_: Any) -> None:
    """Ends all monitors of this process, as it does itself when it ends; one that is set later is kept all the same."""
    while _owners:
        _owners.pop().leave()


def _forget() -> None:
    """In a forked child: the parent's monitors, threads and locks are not ours."""
    global _mutex  # noqa: PLW0603 - the lock may have been held in the parent
    _mutex = threading.Lock()
    _owners.clear()


def _batches(many: list[Any]) -> list[list[Any]]:
    return [many[at : at + BATCH] for at in range(0, len(many), BATCH)]


os.register_at_fork(after_in_child=_forget)
