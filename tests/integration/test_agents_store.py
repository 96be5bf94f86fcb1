"""Agents whose Redis is away, slow to answer, or full; and workers that begin to take from a mailbox."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import Reject, WorkerShutdown
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from hardening import agent, handles
from hardening.agents import Mailbox
from hardening.agents.errors import StateRefused
from hardening.core import raw as raw_message
from hardening.core.scripts import Call
from hardening.core.scripts.agenting import Change, Failing, Letter, Rule, Turn, commit, failed, open_agent
from hardening.delivery.async_client import pool_of
from tests.integration.agent_cases import Ledger, hosted_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from redis import Redis

    from hardening.agents.ref import AgentRef
    from tests.integration.agent_player import Player

_RUN = Call.run


@pytest.fixture
def ref(app: Celery, name: str) -> AgentRef:
    """The agent, hosted."""
    hosted_as(app, name)
    return agent(name, app=app)


def troubled(script: str, *errors: BaseException, is_done: bool) -> Callable[[Call, Redis], Any]:
    """Scripts that run, but for the first calls of one: what raises may have been done all the same."""
    left = list(errors)

    def run(call: Call, client: Redis) -> Any:
        if call.script.name != script or not left:
            return _RUN(call, client)
        if is_done:
            _RUN(call, client)
        raise left.pop(0)

    return run


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("script", ["agent_open", "agent_commit"])
@pytest.mark.parametrize(
    "errors", [[RedisConnectionError("cut")] * 2, [SoftTimeLimitExceeded()], [OutOfMemoryError("full")] * 2]
)
def test_what_nobody_knows_the_end_of_is_asked_again(
    player: Player,
    ref: AgentRef,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    errors: list[Exception],
    *,
    is_done: bool,
) -> None:
    """And done once."""
    ref.tell("add_twice", 3)
    with monkeypatch.context() as patched:
        patched.setattr(Call, "run", troubled(script, *errors, is_done=is_done))
        assert player.handle() is None
    assert player.handle_all() == [None]
    assert player.state()["total"] == 6
    assert player.client.hget(player.keys.agent(ref.name), "version") == b"2"


@pytest.mark.parametrize("script", ["agent_open", "agent_commit", "agent_failed"])
def test_while_redis_is_away_for_too_long_the_message_goes_back(
    player: Player, ref: AgentRef, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """Uncharged, and nothing of it is kept."""
    ref.tell("spoil" if script == "agent_failed" else "add", 3)
    with monkeypatch.context() as patched:
        patched.setattr("hardening.agents.store._INSIST_S", 0.05)
        patched.setattr(Call, "run", troubled(script, *[RedisConnectionError("cut")] * 1000, is_done=False))
        said = player.handle()
    assert isinstance(said, Reject)
    assert vars(said)["requeue"] is True
    assert player.state() is None
    assert player.client.llen(ref.queue) == 1


def test_on_a_full_redis_what_was_taken_is_committed(player: Player, ref: AgentRef, own_client: Redis) -> None:
    """So that a mailbox can be emptied; failures are counted as well."""
    ref.tell("add_twice", 3)
    ref.tell("spoil", 3)
    own_client.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        player.client.set("x", "y" * 100)
    assert player.handle() is None
    taken = player.take()
    assert taken is not None
    with pytest.raises(ValueError, match="no 3"):
        player.run(taken)
    assert player.state()["total"] == 3
    assert ref.status().restarts == 1


@pytest.fixture
def own_client(client: Redis) -> Iterator[Redis]:
    """Of a server that no other test uses meanwhile: those of one process run one after the other."""
    yield client
    client.config_set("maxmemory", 0)


def in_flight(player: Player, ref: AgentRef) -> Turn:
    """A message that the player was given."""
    ref.tell("add", 1)
    taken = player.take()
    assert taken is not None
    return Turn(ref.name, player.consumer, taken.seq, raw_message.message_id(taken.raw))


def test_a_commit_to_another_version_than_the_newest_is_refused(player: Player, ref: AgentRef) -> None:
    """Whoever made that; nothing of it is written."""
    turn = in_flight(player, ref)
    player.client.hset(player.keys.agent(ref.name), "version", 7)
    change = Change("state", b"{}", answers=(("a" * 36, "1"),))
    assert commit(player.scope, turn, "6 ", change, reply_ttl_ms=9).run(player.client) == b""
    assert player.state() is None
    assert player.client.keys(f"{player.keys.prefix}:reply:*") == []
    assert (
        commit(player.scope, turn, "7 ", change, reply_ttl_ms=9999).run(player.client) == f"8 {turn.message}".encode()
    )


def test_who_does_not_hold_the_mailbox_neither_opens_nor_commits_nor_fails(player: Player, ref: AgentRef) -> None:
    """Whatever is in flight with it."""
    turn = in_flight(player, ref)
    player.client.hset(player.keys.mailbox(ref.queue), "holder", "another")
    assert open_agent(player.keys, turn).run(player.client) == [-1]
    assert commit(player.scope, turn, "0 ", Change("none"), reply_ttl_ms=9).run(player.client) == b""
    failing = failed(player.scope, turn, Rule("stop", 1, 1, 1, 1), Failing("w"), reply_ttl_ms=9)
    assert failing.run(player.client) == [-1]


def test_a_handler_does_not_run_for_what_was_applied(player: Player, ref: AgentRef) -> None:
    """That is known before it would."""
    turn = in_flight(player, ref)
    assert commit(player.scope, turn, "0 ", Change("none"), reply_ttl_ms=9).run(player.client)
    assert open_agent(player.keys, turn).run(player.client) == [0]


def test_an_owner_is_not_told_again_of_what_is_parked(player: Player, ref: AgentRef, queue: str) -> None:
    """The message whose failure parked it may come again, as when its worker died before it was buried."""
    turn = in_flight(player, ref)
    failing = Failing("w", notice=Letter(queue, queue, b"raw"))
    call = failed(player.scope, turn, Rule("park", 1, 60_000, 1, 1), failing, reply_ttl_ms=9)
    assert [call.run(player.client)[0] for _ in range(2)] == [b"parked", b"parked"]
    assert player.client.llen(queue) == 1


def test_who_waits_for_an_answer_keeps_nobody_from_sending(app: Celery) -> None:
    """They block on connections of their own."""

    async def pools() -> tuple[Any, Any, Any]:
        return await pool_of(app), await pool_of(app, listens=True), await pool_of(app)

    sending, waiting, again = asyncio.run(pools())
    assert sending is again
    assert sending is not waiting


def test_a_state_that_is_no_json_is_not_committed(app: Celery, player: Player, ref: AgentRef) -> None:
    """Its message is a dead letter."""

    class Odd(Ledger):
        """Remembers what cannot be written."""

        @handles("add")
        def add(self, n: int) -> int:
            """Adds an object."""
            self.state.said.append(object())
            return n

    vars(app)["_hardening_agents"][ref.name] = type("Odd", (Odd,), {"name": ref.name})
    ref.tell("add", 1)
    said = player.handle()
    assert isinstance(said, StateRefused)
    assert "has a state that is not JSON" in str(said)
    assert player.state() is None


def step_of(app: Celery) -> Any:
    """The boot step, started."""
    step: Any = next(one for one in app.steps["consumer"] if getattr(one, "__name__", "") == "MailboxStep")
    return step.start(step.__new__(step), SimpleNamespace(app=app))


def test_queues_are_mailboxes_before_anything_is_taken_from_them(app: Celery, prefix: str, client: Redis) -> None:
    """Those that this worker takes from; again after Redis lost them."""
    for name in ("one", "two"):
        hosted_as(app, f"{name}.{prefix}", mailbox=Mailbox(bound=7, when_full="drop_oldest"))
    app.amqp.queues.select([f"agent.one.{prefix}", "other"])
    step_of(app)
    found: Any = client.hgetall(f"{prefix}:mailbox:agent.one.{prefix}")
    assert found == {b"bound": b"7", b"when_full": b"drop_oldest"}
    assert client.smembers(f"{prefix}:agents") == {f"one.{prefix}".encode()}


def test_a_worker_refuses_a_mailbox_whose_agent_it_does_not_host(
    app: Celery, ref: AgentRef, caplog: pytest.LogCaptureFixture
) -> None:
    """It would bury all its messages."""
    app.amqp.queues.select(["agent.other"])
    with pytest.raises(WorkerShutdown) as refused:
        step_of(app)
    assert refused.value.args == (78,)
    assert f"no agent here takes from agent.other; those that are hosted: {ref.name}" in caplog.text


def test_a_worker_begins_though_a_full_redis_takes_no_new_mailbox(
    app: Celery, ref: AgentRef, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so."""
    app.amqp.queues.select([ref.queue])
    monkeypatch.setattr(Call, "run", troubled("found_mailbox", OutOfMemoryError("full"), is_done=False))
    step_of(app)
    assert f"{ref.queue} is no mailbox yet, Redis is full" in caplog.text
