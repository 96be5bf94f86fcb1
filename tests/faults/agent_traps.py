"""Traps in agents' handlers: their process dies, or freezes, at the worst moments; each trap only once."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from hardening.agents.store import Store
from tests.faults.tasks import ledger

__all__ = ["spring"]

_PREFIX = os.environ["FAULTS_PREFIX"]
_after = threading.local()


def spring(trap: str, what: str) -> None:
    """Called in a handler: springs a trap, unless some process has done so for the same already.

    Args:
        trap: ``before`` or ``after`` the commit of this message the process dies; ``freeze before`` or ``freeze after``
            the whole worker is stopped instead, until somebody continues it. What commits nothing leaves its ``after``
            to the next that does. Empty: nothing happens.
        what: which trap it is.
    """
    if not trap or not ledger(os.getpid()).hsetnx(f"{_PREFIX}:traps", f"{trap} {what}", 1):
        return
    if trap.endswith("before"):
        _strike(trap)
    else:
        _after.trap = trap


def _strike(trap: str) -> None:
    if trap.startswith("freeze"):
        os.killpg(os.getpgid(0), signal.SIGSTOP)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


_commit = Store.commit


def _commit_and_strike(store: Store, *args: Any) -> str:
    mark = _commit(store, *args)
    trap, _after.trap = getattr(_after, "trap", ""), ""
    if trap:
        _strike(trap)
    return mark


Store.commit = _commit_and_strike  # type: ignore[method-assign, assignment]
