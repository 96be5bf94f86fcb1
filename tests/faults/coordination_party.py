"""Processes that take part: ``python -m tests.faults.coordination_party ROLE:NAME ...``, a child for each.

What they come to goes to a list of the test's ledger: ``<role>:<name> <what> <detail>``.
"""

from __future__ import annotations

import os
import sys
import threading

from celery import Celery
from redis import Redis

from hardening import harden
from hardening.agents.coordination import BarrierBroken, barrier, elect_leader, resource_pool, semaphore

_LEASE_S = float(os.environ["FAULTS_LEASE_S"])


def _app() -> Celery:
    app = Celery("party", broker=os.environ["FAULTS_BROKER"])
    app.conf.update(hardening_prefix=os.environ["FAULTS_PREFIX"])
    return harden(app)


def take_part(me: str) -> None:
    """In a child of its own, until it is killed."""
    role = me.partition(":")[0]
    app = _app()
    ledger = Redis.from_url(os.environ["FAULTS_LEDGER"])

    def note(what: str, detail: object) -> None:
        ledger.rpush(f"{os.environ['FAULTS_PREFIX']}:notes", f"{me} {what} {detail}")

    note("pid", os.getpid())
    if role == "candidate":
        lead = elect_leader("e", candidate=me, ttl=_LEASE_S, on_lost=lambda fence: note("lost", fence), app=app)
        while lead.wait(60):
            while fence := lead.fence:
                note("wrote", fence)
                threading.Event().wait(0.02)
    elif role == "party":
        try:
            note("released", barrier("b", 3, 60, lease=_LEASE_S, app=app).wait())
        except BarrierBroken as broken:
            note("broken", f"{broken.came}/{broken.parties}:{broken.why}")
    else:
        lot = (
            semaphore("s", 1, ttl=_LEASE_S, app=app)
            if role == "permit"
            else resource_pool("p", ["x"], ttl=_LEASE_S, app=app)
        )
        with lot.acquire(60) as lease:
            note("has", lease.fence)
            while lease.is_held():
                threading.Event().wait(0.02)
            note("lost", lease.fence)


def main() -> None:
    """Starts them all, and waits for their ends."""
    children = []
    for me in sys.argv[1:]:
        child = os.fork()
        if not child:
            take_part(me)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
