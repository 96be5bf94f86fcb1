"""How agents of an app are reached by those who coordinate them, while nobody hosts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dlq import DeadLetters, Selection
from hardening.agents import Agent, agent, handles, host
from hardening.agents.coordination import RequestManager, RequestsFull, Vote, consensus, distribute_work
from hardening.agents.coordination.bench import AgentBench, Presence, bench_of
from hardening.agents.coordination.manager import _Line
from hardening.agents.errors import AskTimeout
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import ConfigError
from hardening.core.ledger import read_ledger
from hardening.core.scripts import broadcasting, calls

if TYPE_CHECKING:
    from celery import Celery

pytestmark = pytest.mark.one_server


def joined(app: Celery, consumer: str, *agents: str, ttl_ms: int = 60_000) -> None:
    """A consumer takes from their mailboxes, as far as Redis knows."""
    keys, client = settings_of(app).keys, client_of(app)
    calls.renew(keys, consumer, ttl_ms, join=True, about="{}").run(client)
    broadcasting.consume(keys, consumer, [f"agent.{name}" for name in agents]).run(client)


def test_who_is_there_is_known_by_leases(app: Celery, prefix: str) -> None:
    """And by what the mailboxes say of themselves."""
    names = [f"{prefix}{letter}" for letter in "abcd"]
    there, dead, halted, unknown = names
    joined(app, "w1", there, halted)
    joined(app, "w2", dead)
    client, keys = client_of(app), settings_of(app).keys
    client.zadd(keys.leases, {"w2": 1})
    client.hset(keys.mailbox(f"agent.{halted}"), "halt", "parked")
    assert AgentBench(app).presence(names) == {
        there: Presence.THERE, dead: Presence.ABSENT, halted: Presence.HALTED, unknown: Presence.ABSENT,
    }  # fmt: skip


def test_loads_are_the_lengths_of_mailboxes(app: Celery, prefix: str) -> None:
    """Work goes to the shortest."""
    names = [f"{prefix}a", f"{prefix}b"]
    bench = AgentBench(app)
    first = bench.give(names[0], "h", (1,), "k")
    assert bench.give(names[1], "h", (1,), "k") == first
    assert bench.loads(names) == {names[0]: 1, names[1]: 0}
    joined(app, "w", *names)
    report = distribute_work([1, 2], names, "least_loaded", timeout=0, bench=bench)
    assert [(piece.agent, piece.status.value) for piece in report.pieces] == [(names[1], "open"), (names[0], "open")]
    assert bench.loads(names) == {names[0]: 2, names[1]: 1}
    client_of(app).delete(*(f"agent.{name}" for name in names))


def test_what_is_left_open_can_be_taken_back_and_taken_up(app: Celery, prefix: str) -> None:
    """By the same job, which finds what it sent; nobody has begun it, and its agent is gone by then."""
    names = [f"{prefix}a", f"{prefix}b"]
    joined(app, "w1", names[0])
    work: dict[str, Any] = {"job": "j", "patience": 0, "app": app}
    first = distribute_work(["x"], names, timeout=0, **work).pieces[0]
    assert (first.agent, first.status.value) == (names[0], "open")
    client = client_of(app)
    client.zadd(settings_of(app).keys.leases, {"w1": 1})
    joined(app, "w2", names[1])
    second = distribute_work(["x"], names, timeout=1.5, **work).pieces[0]
    assert (second.agent, second.earlier, second.status.value) == (names[1], [names[0]], "open")
    assert first.receipt is not None
    assert first.receipt.details()["reason"] == "cancelled"
    third = distribute_work(["x"], names, timeout=0, **work).pieces[0]
    assert (third.agent, third.earlier, third.receipt) == (names[1], [names[0]], second.receipt)
    assert client.llen(f"agent.{names[1]}") == 1
    client.delete(f"agent.{names[1]}")


def test_what_agents_can_do_their_classes_say(app: Celery, prefix: str) -> None:
    """Of one that is hosted elsewhere, only it could; who does not answer can do nothing."""

    class Smith(Agent):
        name = f"{prefix}smith"
        capabilities = ("forge", 7)

        @handles
        def on_work(self, item: str) -> None:
            """Never runs."""

    host(app, Smith)
    said = AgentBench(app).capabilities([Smith.name, f"{prefix}other"], 0.2)
    assert said == {Smith.name: frozenset({"forge"}), f"{prefix}other": frozenset()}
    client_of(app).delete(f"agent.{prefix}other")


def test_nobody_is_told_the_half_of_it(app: Celery, prefix: str) -> None:
    """All have abstained, and one of them is not there to be told."""
    names = [f"{prefix}a", f"{prefix}b"]
    joined(app, "w", names[0])
    said = consensus(names, {"x": 1}, "majority", 0.2, announce=True, app=app)
    assert set(said.votes.values()) == {Vote.ABSTAINED}
    assert said.announcement is not None
    assert [str(one.recipient) for one in said.announcement.refused] == [f"agent {names[1]}"]
    assert [one.status.value for one in said.announcement] == ["withheld", "refused"]
    told = AgentBench(app).spread(names, "h", (1,), "queued", 5.0)
    assert told.ok
    client_of(app).delete(*(f"agent.{name}" for name in names))


def test_an_overflow_is_a_dead_letter_that_can_be_replayed(app: Celery, prefix: str) -> None:
    """To the mailbox, as the message it would have been."""
    requests, name = RequestManager(app, timeout=30, buffer=1), f"{prefix}a"
    requests._lines[name] = _Line()
    requests._lines[name].is_running = True  # and does not come to it
    requests.submit(name, "h", 1)
    with pytest.raises(RequestsFull) as full:
        requests.submit(name, "h", 2, "x")
    letters = DeadLetters.of(app)
    (entry,) = letters.select(Selection())
    assert (entry.id, str(entry.reason), entry.task, entry.queue) == (
        full.value.letter, "mailbox_full", "hardening.agent", f"agent.{name}",
    )  # fmt: skip
    assert entry.error == f"1 requests to agent {name} waited already"
    letters.replay([entry])
    client: Any = client_of(app)
    assert client.llen(f"agent.{name}") == 1
    assert read_ledger(client, settings_of(app).keys).missing_letters == 0
    client.delete(f"agent.{name}")


def test_an_ask_with_a_key_is_one_message(app: Celery, prefix: str) -> None:
    """However often it is asked."""
    bench, name = bench_of(app), f"{prefix}a"
    for _ in range(2):
        with pytest.raises(AskTimeout):
            bench.ask(name, "h", 1, timeout=0.1, key="k")
    assert client_of(app).llen(f"agent.{name}") == 1
    receipt = bench.give(name, "h", (1,), "k")
    assert receipt.cancel()
    assert agent(name, app).name == name
    with pytest.raises(ConfigError, match="is not hardened"):
        bench_of(type(app)("plain", set_as_current=False))
