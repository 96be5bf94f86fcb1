"""Locks that survive a fork."""

from __future__ import annotations

from hardening.core.forked import forked_lock
from tests.forked import forked


def test_a_child_finds_it_free() -> None:
    """Though its parent holds it; and nothing changes for the parent."""
    lock = forked_lock()
    with lock:
        assert forked(lambda: lock.acquire(blocking=False)) == 0
        assert lock.locked()
    assert not lock.locked()
