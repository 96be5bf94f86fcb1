"""A bank that several workers host, told and asked by one sender while they die: it is as if there were one thread."""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from hardening.core.deployment import client_of
from tests.eventually import eventually
from tests.faults.agent_chaos import Chaos
from tests.faults.agent_model import Model, orders

if TYPE_CHECKING:
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


def test_a_bank_whose_workers_die_all_the_time_is_as_one_that_nobody_kills(rig: Rig) -> None:
    """In the middle of a handler, between its commit and its ack, and at any time: once, in order, no answer lost."""
    chance = random.Random(20)
    chaos, model = Chaos(rig, chance, hosts=2), Model()
    series = orders(chance, 60, 6)
    failed: list[BaseException] = []

    def send() -> None:
        try:
            chaos.send(model, series)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    eventually(lambda: len(chaos.state().get("applied", ())) > 10, 20)
    chaos.strike("kill")
    sender.join(60)
    assert not sender.is_alive()
    assert failed == []
    chaos.strike("kill")
    chaos.settle(model)
    assert rig.ledger.hlen(f"{rig.prefix}:traps") == 6
    assert rig.settled().letters == sum(order.handler == "refuse" for order in series)
    chaos.end()


def test_a_holder_that_was_frozen_commits_nothing(rig: Rig) -> None:
    """It wakes when another has run what it was running: its state, its self-sends and its ack come to nothing."""
    chaos = Chaos(rig, random.Random(1), hosts=2)
    chaos.bank.tell("wait", 0)
    eventually(lambda: rig.count("began")["0"] == 1)
    holder = chaos.holder()
    assert holder is not None
    frozen = chaos.hosts[holder]
    os.killpg(frozen.process.pid, signal.SIGSTOP)
    eventually(lambda: rig.count("began")["0"] == 2, 20)
    rig.ledger.set(f"{rig.prefix}:gate", 1)
    receipt = chaos.bank.tell("deposit", 3, "a", 5)
    receipt.wait("acked", 20)
    os.killpg(frozen.process.pid, signal.SIGCONT)
    eventually(lambda: b"lost its message" in frozen.log.read_bytes(), 20)
    eventually(lambda: chaos.state()["echoed"] == [3])
    assert chaos.state() == {"balances": {"a": 5}, "applied": [0, 3], "echoed": [3], "paid": []}
    assert client_of(chaos.app).llen(chaos.bank.queue) == 0
    rig.settled()
    chaos.end()
