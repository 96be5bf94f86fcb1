"""Many senders at once: threads, more threads than kombu has connections, and forked children."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from celery import Celery

from hardening import harden, supervised_send
from hardening.core.deployment import client_of
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis
    from hardening.delivery import Receipt

pytestmark = pytest.mark.one_server

ROOT = Path(__file__).parents[2]

#: A producer that forks: the child sends with what the parent had open, and so does the parent afterwards.
FORKING = """
import os, sys
from celery import Celery
from hardening import harden, supervised_send

broker, prefix = sys.argv[1:]
app = Celery("forking", broker=broker)
app.conf.update(task_default_queue=f"{prefix}.q", hardening_prefix=prefix)
harden(app)
supervised_send("add", task_id="parent-1")
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        for number in range(20):
            supervised_send("add", task_id=f"child-{child}-{number}", on_error="raise")
        os._exit(0)
    children.append(pid)
for number in range(2, 22):
    supervised_send("add", task_id=f"parent-{number}", on_error="raise")
sys.exit(max(os.waitpid(pid, 0)[1] for pid in children))
"""

#: A producer of green threads: all of them send at once, while Redis answers nobody for a while; one of them counts.
GREEN = """
from gevent import monkey
monkey.patch_all()
import json, sys
import gevent
from celery import Celery
from redis import Redis
from hardening import harden, supervised_send

broker, port, prefix = sys.argv[1:]
app = Celery("green", broker=broker)
app.conf.update(task_default_queue=f"{prefix}.q", hardening_prefix=prefix)
harden(app)
supervised_send("add", on_error="raise")
ticks = 0
def count():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1
counting = gevent.spawn(count)
Redis(port=int(port)).client_pause(1000)
sending = [gevent.spawn(supervised_send, "add", app=app, task_id=f"green-{n}", on_error="raise") for n in range(50)]
gevent.joinall(sending, raise_error=True)
counting.kill()
print(json.dumps([ticks, [one.value.id for one in sending]]))
"""


def send_from(app: Celery, threads: int, each: int) -> list[Receipt]:
    """Receipts of what so many threads have sent, begun together."""
    barrier = threading.Barrier(threads)
    receipts: list[Receipt] = []

    def send() -> None:
        barrier.wait(10)
        receipts.extend(supervised_send("add", app=app, on_error="raise", retries=0) for _ in range(each))

    workers = [threading.Thread(target=send) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    return receipts


def app_for(server: EmbeddedRedis, prefix: str) -> Celery:
    """A hardened app on a stage's queue."""
    app = Celery("app", broker=server.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=f"{prefix}.q", hardening_prefix=prefix)
    return harden(app)


def test_threads_share_an_app(server: EmbeddedRedis, stage: Stage) -> None:
    """Eight, a hundred sends each: every receipt has its message, and no message is without."""
    receipts = send_from(app_for(server, stage.prefix), 8, 100)
    state = stage.state()
    assert state.everywhere() == sorted(receipt.id for receipt in receipts)
    assert len(set(state.everywhere())) == 800
    assert state == State(queued={"q": state.queued["q"]}, rung={"q"})


def test_more_threads_than_kombu_has_connections_can_send(server: EmbeddedRedis, stage: Stage) -> None:
    """Kombu allows itself ten, and fails the eleventh that comes at once."""
    receipts = send_from(app_for(server, stage.prefix), 40, 10)
    assert stage.state().everywhere() == sorted(receipt.id for receipt in receipts)
    assert len(receipts) == 400


def test_a_users_own_limit_of_connections_stays(server: EmbeddedRedis, stage: Stage) -> None:
    """A managed Redis may allow few."""
    app = Celery("app", broker=server.broker_url, set_as_current=False)
    app.conf.update(hardening_prefix=stage.prefix, broker_transport_options={"max_connections": 7})
    assert client_of(harden(app)).connection_pool.max_connections == 7


def test_forked_children_send_too(server: EmbeddedRedis, stage: Stage) -> None:
    """On connections of their own: a shared socket would mix up the replies."""
    command = [sys.executable, "-c", FORKING, server.broker_url, stage.prefix]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    expected = [f"parent-{number}" for number in range(1, 22)]
    expected += [f"child-{child}-{number}" for child in range(3) for number in range(20)]
    assert stage.state().everywhere() == sorted(expected)
    assert stage.ledger().counters == {"published": 81}


@pytest.mark.one_server
def test_green_threads_send_at_once(server: EmbeddedRedis, stage: Stage) -> None:
    """Fifty wait for Redis side by side, and the rest of their process goes on."""
    port = str(urlsplit(server.broker_url).port)
    command = [sys.executable, "-W", "ignore", "-c", GREEN, server.broker_url, port, stage.prefix]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    ticks, ids = json.loads(done.stdout)
    assert ticks >= 20
    assert len(set(ids)) == 50
    assert {f"green-{number}" for number in range(50)} < set(stage.state().everywhere())
    assert stage.ledger().counters == {"published": 51}
