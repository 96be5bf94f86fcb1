"""A process that monitors: ``python -m tests.faults.monitor_owner NAME HOW_MANY TARGET ...``; it says when it does.

With ``FAULTS_DURABLE_S`` in its environment, durably: it then only sends.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from hardening import monitor
from tests.faults.monitor_tasks import app, hear
from tests.faults.tasks import _note, ledger

if TYPE_CHECKING:
    from hardening import Down


def _on_down(down: Down) -> None:
    _note("called", f"{down.tag} {down.reason.value}")


def main() -> None:
    """Sets monitors of each target, once they are there, in turn calling and sending; then waits to be killed."""
    name, many, *targets = sys.argv[1:]
    while not ledger(os.getpid()).exists(f"{os.environ['FAULTS_PREFIX']}:gate:targets"):
        threading.Event().wait(0.02)
    for target in targets:
        for number in range(int(many)):
            if durable_s := float(os.environ.get("FAULTS_DURABLE_S", "0")):
                monitor(target, f"{name} durable {number}", on_down=hear.s(), durable_for=durable_s, app=app)
                continue
            monitor(target, f"{name} called {number}", on_down=_on_down, app=app)
            monitor(target, f"{name} sent {number}", on_down=hear.s(), app=app)
    _note("began", name)
    threading.Event().wait(float(os.environ.get("FAULTS_OWNER_S", "120")))


if __name__ == "__main__":
    main()
