"""A bug of Celery 5.7's prefork pool, worked round.

``AsynPool._event_process_exit`` sets a dead child's sentinel to None and has the pool maintained. The sentinel's
pipe closes a moment before the system can tell that the child has exited, so often the dead child stays in the pool:

- its crash is noticed, and its place filled, only at the next regular maintenance, up to 5 s later;
- a reconnect meanwhile watches the sentinel that is None, and the whole worker ends with
  ``ValueError: file descriptor is None``.

``tests/unit/test_kombu_contract.py`` notices when it is mended.
"""

from __future__ import annotations

from typing import Any

__all__ = ["watch_children"]

#: How soon to look again for the exit of a child whose pipe has closed, in seconds.
_AGAIN_S = 0.05
#: How often; after that the regular maintenance finds it.
_TIMES = 40


def watch_children(pool: Any) -> None:
    """Has a pool of Celery's look again, soon, for a child whose exit it could not see yet.

    Runs once, in the worker's parent process, after the pool has been started.

    Args:
        pool: an ``AsynPool``; any other is left alone.
    """
    on_exit = getattr(pool, "_event_process_exit", None)
    track = getattr(pool, "_track_child_process", None)
    if on_exit is None or track is None:
        return

    def look_again(hub: Any, child: Any, times: int = _TIMES) -> None:
        pool.maintain_pool()
        if child in pool._pool and times:
            hub.call_later(_AGAIN_S, look_again, hub, child, times - 1)

    def event_process_exit(hub: Any, child: Any) -> None:
        on_exit(hub, child)
        if child in pool._pool:
            hub.call_later(_AGAIN_S, look_again, hub, child)

    def track_child_process(child: Any, hub: Any) -> None:
        if getattr(child, "_sentinel_poll", 0) is not None:
            track(child, hub)

    pool._event_process_exit = event_process_exit
    pool._track_child_process = track_child_process
