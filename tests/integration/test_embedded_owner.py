"""The private Redis never outlives its owner, and nobody else can end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from hardening.core import embedded
from hardening.core.embedded import EmbeddedRedis
from tests.eventually import eventually
from tests.integration.private_redis import Make, is_running, read, socket_path, stat_of

ROOT = Path(__file__).parents[2]

#: A process that starts a Redis and perhaps a companion that outlives it, and waits.
OWNER = """
import json, os, subprocess, sys
from hardening.core.embedded import EmbeddedRedis
redis = EmbeddedRedis(environ=json.loads(sys.argv[1]))
redis.start()
companion = 0
if sys.argv[2] == "forked":
    companion = os.fork()
    if not companion:
        sys.stdin.read()
        os._exit(0)
elif sys.argv[2] == "spawned":
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    companion = subprocess.Popen(command, close_fds=False).pid
print(json.dumps([redis.pid, redis.url, companion]), flush=True)
sys.stdin.readline()
"""

#: A process whose child does to an inherited Redis what it can.
PARENT = """
import os
from hardening.core.embedded import EmbeddedRedis
with EmbeddedRedis() as redis:
    child = os.fork()
    if not child:
        with redis:
            redis.kill()
            redis.restart()
            with redis.client() as client:
                assert client.ping()
        os._exit(0)
    with redis.client() as client:
        print(os.waitpid(child, 0)[1], client.ping())
"""


@pytest.mark.parametrize(
    ("end", "companion"),
    [("exit", ""), ("SIGTERM", ""), ("SIGKILL", ""), ("SIGKILL", "forked"), ("SIGKILL", "spawned")],
)
def test_nothing_outlives_the_owner(environ: dict[str, str], end: str, companion: str) -> None:
    """However it ends, and whoever it leaves behind: no process, no temporary directory."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, json.dumps(environ), companion],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    with owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        pid, url, companion_pid = json.loads(owner.stdout.readline())
        assert is_running(pid)
        if end == "exit":
            print(file=owner.stdin, flush=True)
        else:
            owner.send_signal(signal.Signals[end])
        owner.wait(10)
        eventually(lambda: not is_running(pid))
        eventually(lambda: not socket_path(url).parent.exists())
        assert bool(companion) == (companion_pid != 0 and is_running(companion_pid))


def test_a_forked_child_cannot_end_its_parents_server() -> None:
    """Stopping, killing and restarting do nothing there, and say nothing."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PARENT],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 True\n", "")


def test_letting_go_is_the_same_as_stopping_when_nobody_else_holds_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the hook after a fork does, seen from the inside: here there is no parent that holds on."""
    guards: weakref.WeakSet[Any] = weakref.WeakSet()  # not the guards of the servers that other tests share
    monkeypatch.setattr(embedded, "_GUARDS", guards)
    redis = make()
    redis.start()
    assert len(guards) == 1
    pid = redis.pid
    guard = int(stat_of(pid)[1])
    embedded._FORKING.acquire()
    embedded._disown_all()
    redis.kill()
    redis.restart()
    assert redis.pid == pid
    os.waitpid(guard, 0)
    assert not is_running(pid)


def test_the_server_dies_with_its_guard_and_can_be_started_again(make: Make) -> None:
    """Somebody may kill all Pythons at once."""
    with make() as redis:
        pid = redis.pid
        os.kill(int(stat_of(pid)[1]), signal.SIGKILL)
        eventually(lambda: not is_running(pid))
        redis.start()
        assert read(redis) is None


def test_a_guard_that_is_asked_to_go_takes_its_server_along(make: Make) -> None:
    """Service managers send SIGTERM to everyone; nothing is left behind."""
    with make() as redis:
        pid = redis.pid
        os.kill(int(stat_of(pid)[1]), signal.SIGTERM)
        eventually(lambda: not is_running(pid))
        eventually(lambda: not socket_path(redis.url).parent.exists())


def test_a_frozen_server_is_killed_when_it_does_not_stop() -> None:
    """Stopping takes five seconds then, not for ever."""
    with EmbeddedRedis() as redis:
        pid = redis.pid
        os.kill(pid, signal.SIGSTOP)
    assert not is_running(pid)
