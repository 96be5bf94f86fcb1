"""Setting a monitor, and ending it."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any, Literal, get_args

from celery._state import get_current_app
from celery.canvas import Signature
from redis.exceptions import RedisError

from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts.monitoring import Errand
from hardening.monitors.durable import durable, durable_ref
from hardening.monitors.errors import MonitorFailed
from hardening.monitors.owner import Owner, owner_of
from hardening.monitors.ref import DURABLE, MonitorRef
from hardening.monitors.running import running_task
from hardening.monitors.stack import callers
from hardening.monitors.table import Held
from hardening.monitors.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from celery.result import AsyncResult

    from hardening.delivery.receipt import Receipt
    from hardening.monitors.down import Down

__all__ = ["When", "block_when", "demonitor", "leave_block", "monitor", "monitoring", "prepare"]

#: ``now``: in one round trip, and without Redis there is no monitor. ``later``: nobody waits for it.
When = Literal["now", "later"]
_WHEN = get_args(When)
_LONGEST_TAG = 200
_LONGEST_LEAK_S = 100 * 365 * 86_400.0


def monitor(
    target: Target | Receipt | AsyncResult[Any] | str,
    tag: str = "",
    *,
    on_down: Callable[[Down], Any] | Signature[Any] | None = None,
    leak_after: float = 300.0,
    durable_for: float | None = None,
    when: When = "now",
    app: Celery | None = None,
) -> MonitorRef:
    """Watches a target: this process, or the task that runs here, is told once when that is down.

    The monitor ends when it was told, by :func:`demonitor`, with the task that set it, or with this process: when that
    dies, within its lease (``hardening_lease_ttl_s``). A target that is not there is told of at once, as ``unknown``.

    Args:
        target: a :class:`Target`, a receipt, a result, ``name@host`` of a worker, or ``kind:name``.
        tag: what it is for; shown with leaks and downs.
        on_down: what is told. A callable gets a :class:`Down`, in a thread of this process, one after the other. A
            signature is sent supervised, as one message, with the down (as JSON: ``monitor, target, tag, reason, how,
            at``) before its own arguments; by whoever notices, so that it does not need this process any more. None:
            only the event ``hardening.monitor.down`` tells.
        leak_after: how old the monitor may get before it is reported as a leak, in seconds.
        durable_for: the monitor does not end with its owner, but stands for so many seconds (at most 90 days) unless
            its target is down, or it is ended, before; ``on_down`` must be a signature. One with the same target, tag
            and ``on_down`` is the same one, whoever sets it, and its time begins anew: so an owner that is started
            again may set it again, and is told once. None: it ends with its owner.
        when: ``now``: one round trip. ``later``: none; another thread of this process sets it within half a second, or
            when Redis is back. One that has ended by then never gets to Redis.
        app: a hardened app; default: the current one.

    Returns:
        What :func:`demonitor` takes.

    Raises:
        MonitorFailed: Redis could not be asked within ``hardening_socket_timeout_s``, or is full; with ``now``.
        ConfigError: the app is not hardened.
        ValueError: no such target, a tag that is too long, a time that is not positive, another word for when, or a
            durable monitor that is to be set ``later``.
        TypeError: ``on_down`` cannot be called or sent; or not sent, of a durable one.
    """
    owner, held = prepare(target, tag, on_down, leak_after, when, app)
    if durable_for is not None:
        lasting, call = durable(owner, held, durable_for, when)
        try:
            return durable_ref(owner, lasting, tag, call.run(client_of(owner.app)))
        except (RedisError, OSError) as error:
            raise MonitorFailed(lasting.target, error, is_durable=True) from error
    if when == "later":
        return owner.later(held)
    call = owner.begin(held)
    try:
        reply = call.run(client_of(owner.app))
    except (RedisError, OSError) as error:
        raise owner.failed(held, error) from error
    return owner.kept(held, reply)


def demonitor(ref: MonitorRef | str, *, app: Celery | None = None) -> bool:
    """Ends a monitor. What has been told already stays told; nothing is told afterwards. One round trip.

    While Redis is away the monitor is ended here at once, and there when it is back; that never raises.

    Args:
        ref: which; or its id, such as that of a durable one which another process has set.
        app: for an id, a hardened app; default: the current one.

    Returns:
        Whether there was one to end.

    Raises:
        ValueError: that is no id.
    """
    if isinstance(ref, str):
        ref = MonitorRef.of_id(ref, app or get_current_app())
    owner = owner_of(ref.app)
    held = owner.table.take(ref.id)
    if held is not None:
        owner.end([held])
        return True
    try:
        return bool(owner.end_call([(ref.id, ref.target)]).run(client_of(ref.app)))
    except (RedisError, OSError):
        owner.owe([(ref.id, ref.target)])
        return False


@contextmanager
def monitoring(
    target: Target | Receipt | AsyncResult[Any] | str, tag: str = "", *, when: When | None = None, **options: Any
) -> Iterator[MonitorRef]:
    """A monitor for as long as a block lasts, however that ends. In a child that is forked inside, it stays.

    Nothing is told after the block. Redis hears of its begin and its end within half a second, by another thread; of
    the end at once, if a task was to be told. So it costs a block no round trip, and Redis that is away costs no block:
    as in Erlang, where setting a monitor is a signal that nobody waits for.

    Args:
        target: as for :func:`monitor`.
        tag: likewise.
        when: likewise; default: ``later``, but of a durable monitor ``now``.
        **options: likewise.

    Yields:
        What :func:`monitor` returns.
    """
    ref = monitor(target, tag, when=when or block_when(**options), **options)
    try:
        yield ref
    finally:
        if ref.pid == os.getpid():
            leave_block(ref)


def block_when(*, durable_for: float | None = None, **_: Any) -> When:
    """When the monitor of a block is set that does not say so."""
    return "later" if durable_for is None else "now"


def leave_block(ref: MonitorRef) -> None:
    """Ends a monitor with its block; one that was told has ended."""
    owner = owner_of(ref.app)
    held = owner.table.take(ref.id)
    if held is not None:
        owner.end_soon([held])
    elif ref.id.startswith(DURABLE):
        demonitor(ref)


def prepare(
    target: Target | Receipt | AsyncResult[Any] | str,
    tag: str,
    on_down: Callable[[Down], Any] | Signature[Any] | None,
    leak_after_s: float,
    when: When,
    app: Celery | None,
) -> tuple[Owner, Held]:
    """A monitor that is not set yet, and its owner; see :func:`monitor`."""
    owner = owner_of(app or get_current_app())
    depth = settings_of(owner.app).monitor_stack_depth
    watched = Target.of(target)
    if len(tag) > _LONGEST_TAG:
        raise ValueError(f"the tag has {len(tag)} characters, expected at most {_LONGEST_TAG}")
    if not 0 < leak_after_s <= _LONGEST_LEAK_S:
        raise ValueError(f"leak_after is {leak_after_s!r}, expected seconds, more than 0")
    if when not in _WHEN:
        raise ValueError(f"when is {when!r}, expected one of: {', '.join(_WHEN)}")
    is_task = isinstance(on_down, Signature)
    if not (on_down is None or is_task or callable(on_down)):
        raise TypeError(f"on_down is {on_down!r}, expected something to call, or a signature")
    if isinstance(on_down, Signature) and on_down.get("subtask_type"):
        raise TypeError(f"on_down is a {on_down['subtask_type']}, expected the signature of one task")
    running = running_task()
    said = f'"tag": {_quoted(tag)}'  # by hand: an encoder takes longer to make than all this to write
    if running.id:
        said += f', "task": {_quoted(running.id)}, "task_name": {_quoted(running.name)}'
    if depth:
        said += f', "stack": {callers(depth)}'
    if is_task:
        try:
            said += f', "on_down": {json.dumps(on_down)}'
        except (TypeError, ValueError) as error:
            raise TypeError(f"the arguments of on_down are not JSON: {error}") from error
    errand = Errand(owner.next_id(), str(watched), is_task, max(1, int(leak_after_s * 1000)), f"{{{said}}}")
    call = None if is_task or on_down is None else on_down
    return owner, Held(errand, tag, running.id, call)
