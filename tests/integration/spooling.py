"""Publications and spools for tests, without a task or an app."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from celery import Celery

from hardening import harden
from hardening.core import payload as payloads
from hardening.core.raw import new_id
from hardening.delivery.publication import Publication
from hardening.delivery.spool import Spool

__all__ = ["AWAY", "BROKER", "app_for", "publication", "receipts", "spool_at", "writer"]

_ROOT = Path(__file__).parents[2]
AWAY = "redis://127.0.0.1:1/0"
BROKER = "redis://here:6379/0"


def app_for(broker: str, prefix: str, **conf: Any) -> Celery:
    """A hardened app of one broker URL."""
    app = Celery("app", broker=broker, set_as_current=False)
    app.conf.update(task_default_queue=f"{prefix}.q", hardening_prefix=prefix, **conf)
    return harden(app)


def publication(
    queue: str = "q", task: str = "shop.charge", *, receipt: str = "", due_ms: int = 0, padding: int = 0
) -> Publication:
    """One finished message; ``padding`` makes it larger by so many bytes."""
    receipt, message = receipt or new_id(), new_id()
    payload = {
        "body": "x" * padding, "headers": {"task": task, "id": receipt}, "properties": {"delivery_tag": message},
    }  # fmt: skip
    raw = payloads.dump(payload, message, receipt)
    return Publication(queue, queue, raw, due_ms, {"task": task, "task_id": receipt, "queue": queue})


def spool_at(path: Path, *, broker: str = BROKER, max_messages: int = 100_000, max_bytes: int = 2**28) -> Spool:
    """A spool in a file of the test's own."""
    return Spool(path, broker, max_messages=max_messages, max_bytes=max_bytes)


def receipts(spool: Spool, *, refused: bool = False) -> list[str]:
    """Whose messages are in it, oldest first."""
    return [spooled.receipt for spooled in spool.messages(refused=refused)]


_WRITER = """
import resource, sys
from pathlib import Path
from tests.integration.spooling import publication, spool_at
if int(sys.argv[5]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), int(sys.argv[5])))
spool = spool_at(Path(sys.argv[1]))
for at in range(int(sys.argv[3])):
    spool.put(publication(task=f"{sys.argv[2]}.{at}", padding=int(sys.argv[4])))
    print(at, flush=True)
"""


def writer(path: Path, name: str, count: int, padding: int = 0, limit: int = 0) -> subprocess.Popen[str]:
    """A process that puts messages and says so after each; its files cannot be larger than a limit, if there is one."""
    command = [sys.executable, "-c", _WRITER, str(path), name, str(count), str(padding), str(limit)]
    return subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
