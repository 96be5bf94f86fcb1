"""A process that sends with ``on_error="dead_letter"`` and says which keys it was told are safe.

``python -m tests.faults.spool_sender BROKER PREFIX NAME COUNT PAUSE_S``: writes one line for each send, the key and
the state it was left in, or ``-`` where it raised; then stays, with its flusher, until its standard input ends.
"""

from __future__ import annotations

import sys
import threading

from celery import Celery

from hardening import HardeningError, harden, supervised_send


def main(broker: str, prefix: str, name: str, count: str, pause_s: str) -> None:
    """Sends."""
    app = Celery(f"sender-{prefix}", broker=broker, set_as_current=False)
    app.conf.update(task_default_queue=f"q.{prefix}", hardening_prefix=prefix, task_ignore_result=True)
    app.conf.update(hardening_publish_breaker_failures=3, hardening_socket_timeout_s=1.0)
    harden(app)
    pause = threading.Event()
    for number in range(int(count)):
        key = f"{name}-{number}"
        try:
            receipt = supervised_send("tests.faults.tasks.work", (key,), app=app, task_id=key, timeout=1.0, retries=1)
            told = receipt.id
        except HardeningError:
            told = "-"
        sys.stdout.write(f"{key} {told}\n")
        sys.stdout.flush()
        pause.wait(float(pause_s))
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
