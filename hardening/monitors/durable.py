"""Monitors that outlive who set them: each is an owner of its own, with a lease as long as was asked for.

So it is found, told, reported as a leak and removed as any other is, and no process needs to live for it. What it is
follows from what it watches, what for and what is sent: who is started again and sets it again has set it once.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from hardening.core.scripts import monitoring as scripts
from hardening.monitors.ref import DURABLE, MonitorRef

if TYPE_CHECKING:
    from hardening.core.scripts import Call
    from hardening.core.scripts.monitoring import Errand
    from hardening.monitors.owner import Owner
    from hardening.monitors.table import Held

__all__ = ["durable", "durable_ref"]

_LONGEST_S = 90 * 86_400.0


def durable(owner: Owner, held: Held, durable_for_s: float, when: str) -> tuple[Errand, Call]:
    """What is asked of Redis so that a monitor stays when its owner has ended.

    Args:
        owner: this process; it is only named as who set it.
        held: the monitor as it would be without.
        durable_for_s: for how long it stands at most, in seconds.
        when: as of :func:`~hardening.monitors.monitor`.

    Raises:
        TypeError: no task is told.
        ValueError: a time out of bounds, or ``later``.
    """
    errand = held.errand
    if not errand.has_task:
        raise TypeError("a durable monitor tells a task, for its owner may be gone: expected a signature as on_down")
    if not 0 < durable_for_s <= _LONGEST_S:
        raise ValueError(f"durable_for is {durable_for_s!r}, expected seconds, more than 0 and at most 90 days")
    if when != "now":
        raise ValueError(f"when is {when!r}: what is to be set later ends with its process, so it is not durable")
    about: dict[str, Any] = json.loads(errand.about)
    what = json.dumps([errand.target, held.tag, about["on_down"]], sort_keys=True)
    name = DURABLE + hashlib.sha256(what.encode()).hexdigest()[:32]
    errand = errand._replace(id=f"{name}#1", about=json.dumps(about | {"owner": owner.name}))
    return errand, scripts.monitor(owner.keys, name, max(1, int(durable_for_s * 1000)), [errand])


def durable_ref(owner: Owner, errand: Errand, tag: str, reply: list[Any]) -> MonitorRef:
    """How it is known outside, now that Redis has answered."""
    target = reply[0].decode("utf-8", "replace")
    return MonitorRef(errand.id, target, tag, owner.app, owner.pid, is_kept=bool(reply[1]))
