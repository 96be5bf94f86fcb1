"""Leaders, parties and holders are killed and frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hardening.agents.coordination import barrier
from hardening.core.deployment import client_of, settings_of
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server

_LEASE_S = 1.0


class Cast:
    """The processes of a test, and what they have noted."""

    def __init__(self, rig: Rig, *names: str) -> None:
        self._rig = rig
        environ = {
            **os.environ, "FAULTS_BROKER": rig.broker, "FAULTS_LEDGER": rig.ledger_url, "FAULTS_PREFIX": rig.prefix,
            "FAULTS_LEASE_S": str(_LEASE_S),
        }  # fmt: skip
        command = [sys.executable, "-W", "ignore", "-m", "tests.faults.coordination_party", *names]
        with (rig.logs / "cast.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environ, cwd=Path(__file__).parents[2], stdout=log, stderr=log, start_new_session=True
            )

    def notes(self, what: str) -> list[tuple[str, str]]:
        """Who noted it, with what detail, in order."""
        ledger: Any = self._rig.ledger
        lines = [line.decode().split(" ") for line in ledger.lrange(f"{self._rig.prefix}:notes", 0, -1)]
        return [(who, detail) for who, verb, detail in lines if verb == what]

    def send(self, who: str, number: signal.Signals) -> None:
        """Sends one of them a signal."""
        os.kill(int(dict(self.notes("pid"))[who]), number)

    def close(self) -> None:
        """None is left."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


@pytest.fixture
def cast(rig: Rig) -> Iterator[Cast]:
    """Three candidates, three who want the one permit, two who want the one resource, and two of three parties."""
    roles = {"candidate": "abc", "permit": "abc", "resource": "ab", "party": "ab"}
    cast = Cast(rig, *(f"{role}:{name}" for role, names in roles.items() for name in names))
    yield cast
    cast.close()


def last(notes: list[tuple[str, str]]) -> tuple[str, int]:
    """The last one that noted a fence number."""
    who, fence = notes[-1]
    return who, int(fence)


def test_whoever_dies_or_freezes_is_followed(rig: Rig, cast: Cast) -> None:
    """Leaders and holders, with a higher number each time, and the frozen know it; a barrier breaks and is whole again.

    What a frozen leader still writes, once, is known by its number.
    """
    keys, app = settings_of(rig.producer()).keys, rig.producer()
    client = client_of(app)
    roles = {"candidate": "wrote", "permit": "has", "resource": "has"}

    def of(role: str) -> list[tuple[str, str]]:
        return [one for one in cast.notes(roles[role]) if one[0].startswith(role)]

    eventually(lambda: all(of(role) for role in roles), 30)
    eventually(lambda: client.zcard(keys.barrier_parties(0, "b")) == 2, 10)
    eventually(lambda: client.zcard(keys.waiters("semaphore:s")) == 2, 10)
    first = {role: last(of(role)) for role in roles}
    took = {}
    for who, _ in first.values():
        cast.send(who, signal.SIGKILL)
    cast.send("party:a", signal.SIGKILL)
    for role in roles:
        took[role] = rig.seconds_until(lambda role=role: last(of(role))[0] != first[role][0], 8)  # type: ignore[misc]
    eventually(lambda: cast.notes("broken") == [("party:b", "2/3:died")], 8)
    second = {role: last(of(role)) for role in roles}
    assert all(second[role][1] > first[role][1] for role in roles)
    assert max(took.values()) < 3 * _LEASE_S  # of a lease that is renewed each third of it, and a busy machine

    frozen = [second[role][0] for role in ("candidate", "permit")]
    for who in frozen:
        cast.send(who, signal.SIGSTOP)
    eventually(lambda: all(last(of(role))[0] not in frozen for role in ("candidate", "permit")), 8)
    third = {role: last(of(role)) for role in ("candidate", "permit")}
    assert all(third[role][1] > second[role][1] for role in third)
    written = len(of("candidate"))
    for who in frozen:
        cast.send(who, signal.SIGCONT)
    lost = {(second[role][0], str(second[role][1])) for role in third}
    eventually(lambda: lost <= set(cast.notes("lost")), 8)
    eventually(lambda: len(of("candidate")) > written + 20, 8)
    late = [one for one in of("candidate")[written:] if one[0] == second["candidate"][0]]
    assert late in ([], [(second["candidate"][0], str(second["candidate"][1]))])
    assert set(of("candidate")[written:]) - set(late) == {(third["candidate"][0], str(third["candidate"][1]))}

    generations: list[int] = []
    threads = [
        threading.Thread(target=lambda: generations.append(barrier("b", 3, 20, app=app).wait())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert generations == [1, 1, 1]
    app.close()
