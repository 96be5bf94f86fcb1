"""``make compose-test``: the stack of the compose file is built, started, worked, hurt, asked and removed.

Kills a worker while it works and the beat that leads, and stops another worker warm. Fails with what was said; cleans
up however it ends. A stack that runs already is not touched: this one has a project, an image and a port of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deploy.engine import CallFailed, NoEngine, Stack, find_engine

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

T = TypeVar("T")

#: How many take messages: the workers, and the one that runs agents.
_WORKERS, _BEATS = 3, ("beat-1", "beat-2")
_TAKERS = _WORKERS + 1
_CONCURRENCY = 4
_SERVICES = ("redis", "worker", "agents", *_BEATS, "flower")
#: What is sent while a worker is killed: so many messages, each of which takes so long, in seconds.
_MESSAGES, _EACH_S = 600, 0.25
_ENTRY, _STEP_MS = "compose-test", 1000
_APP = ("celery", "-A", "workers.app")
_WORK = Path(__file__).with_name("work.py")


class _Wrong(Exception):
    """The stack does not do what it should."""


class _Trial:
    """One run.

    Args:
        stack: the stack under test.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._begin_s = time.monotonic()

    def run(self) -> None:
        """All of it."""
        self._say(f"building the image with {' '.join(self._stack.engine.compose)}")
        self._stack.compose("build", timeout_s=1200)
        self._say(f"starting {_WORKERS} workers, {len(_BEATS)} beats, Redis and Flower")
        self._stack.compose("up", "--detach", "--scale", f"worker={_WORKERS}", timeout_s=300)
        self._await("every worker holds a lease", lambda: len(self._consumers()) == _TAKERS, 180)
        self._await("two beats tick, and one leads", lambda: self._leader() and len(self._beats()) == len(_BEATS), 60)
        self._check_health()
        self._check_flower()
        self._check_agents()
        self._say(f"adding a schedule with a slot each {_STEP_MS / 1000:g} s")
        every = ("--every", f"{_STEP_MS / 1000:g}")
        self._ask("schedules", "add", _ENTRY, "--task", "workers.echo", "--args", '["slot"]', *every)
        self._kill_a_worker()
        self._kill_the_leader()
        self._verify()
        self._stop_warm()
        self._check_secrets()

    def _kill_a_worker(self) -> None:
        self._say(f"sending {_MESSAGES} messages, and killing a worker that runs some of them")
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(self._work, _MESSAGES, _EACH_S)
            victim, consumer = self._await("a worker is at work", self._busy, 60)
            self._stack.kill(victim)
            self._await("its lease is over", lambda: consumer not in self._consumers().values(), 60)
            told = sending.result()
        if told != {"states": {"acked": _MESSAGES}, "wrong": []}:
            raise _Wrong(f"of {_MESSAGES} messages became {told}")
        if not 0 < (charged := self._crashes()) <= _CONCURRENCY:
            raise _Wrong(f"{charged} messages were charged with a crash, though the worker ran at most {_CONCURRENCY}")
        self._say(f"all {_MESSAGES} are acked and returned what they should, {charged} of them on a second attempt")

    def _busy(self) -> tuple[str, str] | None:
        """A worker's container and its consumer."""
        consumers = self._consumers(at_work=True)
        busy = (id_ for id_ in self._stack.running("worker") if id_[:12] in consumers)
        return next(((id_, consumers[id_[:12]]) for id_ in busy), None)

    def _kill_the_leader(self) -> None:
        leader = self._leader()
        self._say("killing the beat that leads")
        (victim,) = [id_ for name in _BEATS for id_ in self._stack.running(name) if id_[:12] == leader]
        seen: set[int] = set()  # the history keeps the last alone
        before_ms = self._last_slot(seen)
        self._stack.kill(victim)

        def next_leader() -> str:
            self._last_slot(seen)
            now_leads = self._leader()
            return "" if now_leads == leader else now_leads

        successor = self._await("another leads", next_leader, 60)
        after_ms = self._last_slot(seen)
        self._await("its slots are sent", lambda: self._last_slot(seen) >= after_ms + 5 * _STEP_MS, 60)
        missing = [slot for slot in range(before_ms, max(seen), _STEP_MS) if slot not in seen]
        if missing:
            raise _Wrong(f"of the slots {sorted(seen)} {missing} are missing")
        self._say(f"{len(seen)} slots in a row, each sent once, over the change to {successor}")
        self._ask("schedules", "remove", _ENTRY)

    def _verify(self) -> None:
        self._say(self._await("the ledger balances", lambda: self._ask("hardening", "verify"), 30).splitlines()[-1])

    def _stop_warm(self) -> None:
        """What a worker runs when it is told to stop it finishes; what only waits there the other one runs."""
        self._say("stopping a worker that is at work")
        charged = self._crashes()
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(self._work, 8, 5.0)
            victim, _ = self._await("a worker is at work", self._busy, 60)
            code = self._stack.stop(victim, timeout_s=60)
            told = sending.result()
        if code or told != {"states": {"acked": 8}, "wrong": []} or self._crashes() != charged:
            raise _Wrong(f"it ended with {code}, charged {self._crashes() - charged} crashes, and of 8 became {told}")
        self._say("it finished what it ran, charged nobody with a crash, and ended with 0")
        self._verify()

    def _crashes(self) -> int:
        return int(self._json("hardening", "status")["counters"].get("crashes", 0))

    # -- what is asked once

    def _check_health(self) -> None:
        """As the compose file has it asked; podman needs systemd to do so by itself."""
        for id_ in self._stack.running("worker"):
            self._stack.execute(id_, *_APP, "hardening", "health")
        for name in _BEATS:
            (id_,) = self._stack.running(name)
            self._stack.execute(id_, *_APP, "schedules", "health", "--here")
        self._say("every worker and every beat says it is well")

    def _check_flower(self) -> None:
        (id_,) = self._stack.running("flower")
        asking = (
            "import base64, os, urllib.request as u\n"
            "secret = open(os.environ['FLOWER_BASIC_AUTH_FILE'], 'rb').read().strip()\n"
            "request = u.Request('http://127.0.0.1:5555/api/workers?refresh=1')\n"
            "try: u.urlopen(request, timeout=30)\n"
            "except OSError as error: print(error.code)\n"
            "request.add_header('Authorization', 'Basic ' + base64.b64encode(secret).decode())\n"
            "print(u.urlopen(request, timeout=30).read().count(b'active_queues'))\n"
        )
        seen = self._await(
            "Flower sees the workers, and lets in nobody else",
            lambda: self._stack.execute(id_, "python", "-", given=asking, timeout_s=90).split(), 60,
        )  # fmt: skip
        if seen != ["401", str(_TAKERS)]:
            raise _Wrong(f"Flower answered {seen}, expected 401 without its password and {_TAKERS} workers with it")

    def _check_agents(self) -> None:
        """The task agent is asked, and has a worker do what it is given; the monitor looks."""
        asking = (
            "from hardening import agent\n"
            "from workers.app import app\n"
            "task = agent('task', app=app)\n"
            "id_ = task.ask('submit', 'workers.echo', [17], id='compose-test', timeout=20)\n"
            "print(task.ask('status', id_, timeout=20)['state'], agent('monitor', app=app).ask('status')['score'])\n"
        )
        reader = self._stack.running("flower")[0]

        def done() -> str | None:
            state, score = self._stack.execute(reader, "python", "-", given=asking).split()
            return score if state == "done" else None

        score = self._await("the agents answer, and what they were given is done", done, 60)
        self._say(f"the monitor's score is {score}")

    def _check_secrets(self) -> None:
        reader = self._stack.running("flower")[0]
        secret = self._stack.execute(reader, "cat", "/secrets/redis_password").strip()
        ids = [one.id for name in _SERVICES for one in self._stack.containers(name)]
        if any(secret in self._stack.logs(id_) for id_ in ids):
            raise _Wrong("the password of Redis stands in a log")
        self._say("no log tells a password")

    # -- how it is asked: as an operator asks

    def _ask(self, *command: str) -> str:
        """``celery -A workers.app ...`` in the container that nobody kills."""
        return self._stack.execute(self._stack.running("flower")[0], *_APP, *command)

    def _json(self, *command: str) -> Any:
        return json.loads(self._ask(*command, "--json"))

    def _consumers(self, *, at_work: bool = False) -> dict[str, str]:
        """Who holds a lease, by host: all, or those who have begun something."""
        held = self._json("hardening", "status")["consumers"]
        return {one["host"]: one["name"] for one in held if one["begun"] or not at_work}

    def _beats(self) -> list[dict[str, Any]]:
        try:
            shown = self._ask("schedules", "health", "--json")
        except CallFailed as failed:
            if failed.code != 1:
                raise
            shown = failed.output  # which says so by its exit code
        return [beat for beat in json.loads(shown)["beats"] if beat["is_fresh"]]

    def _leader(self) -> str:
        return next((beat["host"] for beat in self._beats() if beat["leads"]), "")

    def _slots(self) -> list[int]:
        shown = self._ask("schedules", "history", _ENTRY, "--json").splitlines()
        return sorted(_ms(past["slot"]) for past in map(json.loads, shown) if past["what"] == "sent")

    def _last_slot(self, seen: set[int]) -> int:
        """The last that was sent; adds those that the history still has."""
        slots = self._slots()
        if len(slots) != len(set(slots)):
            raise _Wrong(f"of the slots {slots} some were sent twice")
        seen.update(slots)
        return slots[-1]

    def _work(self, count: int, seconds: float) -> dict[str, Any]:
        said = self._stack.execute(
            self._stack.running("flower")[0], "python", "-", str(count), str(seconds), "120",
            given=_WORK.read_text(), timeout_s=240,
        )  # fmt: skip
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
        return told

    # -- progress

    def _say(self, text: str) -> None:
        _print(f"[{time.monotonic() - self._begin_s:6.1f} s] {text}")

    def _await(self, what: str, look: Callable[[], T | None], timeout_s: float) -> T:
        """Asks until the answer is true; what cannot be asked yet is asked again."""
        deadline_s, pause, why = time.monotonic() + timeout_s, threading.Event(), ""
        while time.monotonic() < deadline_s:
            try:
                if answer := look():
                    self._say(what)
                    return answer
                why = f"the answer was {answer!r}"
            except (CallFailed, IndexError, ValueError) as error:
                why = f"{type(error).__name__}: {error}"
            pause.wait(0.3)
        raise _Wrong(f"not within {timeout_s:g} s: {what}; {why}")


def _print(text: str, *, err: bool = False) -> None:
    """Nobody may read it any more, but the stack is to be removed all the same."""
    with suppress(BrokenPipeError):
        print(text, file=sys.stderr if err else sys.stdout, flush=True)


def _ms(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _interrupted(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def main() -> int:
    """Runs the test; returns the exit code: 0 passed, 1 failed, 2 there is no container engine."""
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        engine = find_engine()
    except NoEngine as error:
        _print(str(error), err=True)
        return 2
    env = {
        "STACK_IMAGE": "localhost/celery-hardening:compose-test",
        "FLOWER_PORT": str(_free_port()),
        "WORKER_CONCURRENCY": str(_CONCURRENCY),
    }
    stack = Stack(engine, f"compose-test-{os.getpid()}", env)
    code = 1
    try:
        _Trial(stack).run()
        code = 0
    except (_Wrong, CallFailed) as error:
        _print(f"FAILED: {error}", err=True)
        with suppress(CallFailed):
            _tell(stack)
    except KeyboardInterrupt:
        _print("interrupted", err=True)
    finally:
        code = max(code, _clean(stack))
    _print("passed" if code == 0 else "failed")
    return code


def _tell(stack: Stack) -> None:
    """What each container last said."""
    for name in _SERVICES:
        for number, one in enumerate(stack.containers(name), 1):
            tail = stack.logs(one.id).splitlines()[-15:]
            _print("\n   ".join((f"-- {name} {number}", *tail)), err=True)


def _clean(stack: Stack) -> int:
    _print("removing the stack")
    try:
        stack.down()
        left = stack.left()
    except CallFailed as error:
        _print(f"could not remove it: {error}", err=True)
        return 1
    if left:
        _print(f"left behind: {' '.join(left)}", err=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
