"""Asking agents: an answer, or the reason why there is none, always in time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hardening import agent, deadline
from hardening.agents import AgentHalted, AskFailed, AskTimeout, Mailbox, MailboxFull
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Death, mailing
from tests.eventually import eventually
from tests.integration.agent_cases import hosted_as
from tests.integration.agent_player import Player, works

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.ref import AgentRef

#: Asks from a thread, and from a coroutine.
_WAYS = ["ask", "aask"]


@pytest.fixture
def ref(app: Celery, name: str) -> AgentRef:
    """The agent, hosted, with a mailbox of three places."""
    cls = hosted_as(app, name, mailbox=Mailbox(bound=3))
    player = Player(app, name, "founder")
    mailing.found(player.keys, name, cls.mailbox.bound).run(player.client)
    return agent(name, app=app)


def asked(ref: AgentRef, way: str, *args: Any, **options: Any) -> Any:
    """The answer."""
    if way == "ask":
        return ref.ask(*args, **options)
    return asyncio.run(ref.aask(*args, **options))


@pytest.mark.parametrize("way", _WAYS)
def test_an_ask_is_answered(player: Player, ref: AgentRef, way: str) -> None:
    """With what the handler returns; the answer is read once, and gone."""
    with works(player):
        assert asked(ref, way, "add", 3) == 3
        assert asked(ref, way, "add", n=4) == 7
        assert asked(ref, way, "look") == {"total": 7}
    assert player.client.keys(f"{player.keys.prefix}:reply:*") == []


@pytest.mark.parametrize("way", _WAYS)
def test_what_is_raised_is_told_at_once(player: Player, ref: AgentRef, way: str) -> None:
    """By the name of its type and what it says; also what is nobody's handler, or no JSON."""
    with works(player):
        with pytest.raises(AskFailed, match=f"agent {ref.name} failed to spoil: ValueError: no 5") as failed:
            asked(ref, way, "spoil", 5)
        with pytest.raises(AskFailed, match=r"HandlerUnknown: .* no such handler"):
            asked(ref, way, "spil", 5)
        with pytest.raises(AskFailed, match=r"not JSON serializable|EncodeError"):
            asked(ref, way, "unspeakable")
        assert asked(ref, way, "look") == {"total": 0}
    assert (failed.value.error_type, failed.value.error) == ("ValueError", "no 5")


@pytest.mark.parametrize("way", _WAYS)
def test_an_ask_ends_in_time_and_is_not_begun_afterwards(player: Player, ref: AgentRef, way: str) -> None:
    """Its message carries the deadline: a worker buries it as expired."""
    begin_s = boot_clock_s()
    with pytest.raises(AskTimeout, match=r"did not answer add within 1 s") as late:
        asked(ref, way, "add", 1, timeout=1.0)
    assert boot_clock_s() - begin_s >= 1.0
    taken = player.take()
    assert taken is not None
    assert b"hardening_deadline_ms" in taken.raw
    assert late.value.receipt_id.encode() in taken.raw


@pytest.mark.parametrize("way", _WAYS)
def test_an_ask_in_a_deadline_takes_no_longer_than_that(ref: AgentRef, way: str) -> None:
    """Where none is left, nothing is sent."""
    with deadline(0.0, app=ref.app), pytest.raises(AskTimeout, match="within 0 s"):
        asked(ref, way, "add", 1)
    with deadline(0.2, app=ref.app), pytest.raises(AskTimeout, match=r"within 0\.[12]"):
        asked(ref, way, "add", 1, timeout=60)


@pytest.mark.parametrize("way", _WAYS)
def test_nobody_waits_for_a_message_that_is_dead(player: Player, ref: AgentRef, way: str) -> None:
    """It killed its worker too often, say, and left no answer."""

    def bury() -> None:
        taken = player.take()
        if taken is not None:
            player.scope.bury(player.consumer, taken.seq, Death("crashed")).run(player.client)

    with works(player, bury), pytest.raises(AskFailed, match="crashed: the message is dead, see receipt"):
        asked(ref, way, "add", 1, timeout=60)


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("halt", ["paused", "stopped"])
def test_nobody_waits_for_an_agent_that_is_halted(ref: AgentRef, way: str, halt: str) -> None:
    """What it says to do is what helps."""
    assert ref.pause() if halt == "paused" else ref.stop()
    with pytest.raises(AgentHalted, match=f"is {halt}: celery agents resume {ref.name}") as halted:
        asked(ref, way, "add", 1, timeout=60)
    assert halted.value.halt == halt


@pytest.mark.parametrize("way", ["tell", "atell", *_WAYS])
def test_a_full_mailbox_refuses(player: Player, ref: AgentRef, way: str) -> None:
    """At once; there is room again when something was taken."""

    def send() -> Any:
        if way == "tell":
            return ref.tell("add", 1)
        return asyncio.run(ref.atell("add", 1)) if way == "atell" else asked(ref, way, "add", 1)

    for _ in range(3):
        ref.tell("add", 1)
    with pytest.raises(MailboxFull, match="3 messages wait in it"):
        send()
    assert player.client.llen(ref.queue) == 3
    with works(player):
        eventually(lambda: player.client.llen(ref.queue) == 0)
        send()


def test_a_hundred_ask_at_once_from_one_loop(app: Celery, prefix: str) -> None:
    """Over connections that no sender waits for; each gets its own answer."""
    name = f"busy.{prefix}"
    hosted_as(app, name)
    player, ref = Player(app, name), agent(name, app=app)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(ref.aask("add", 1, timeout=30) for _ in range(100)))

    with works(player):
        assert sorted(asyncio.run(ask())) == list(range(1, 101))


def test_a_sender_waits_for_room_where_a_mailbox_blocks(app: Celery, prefix: str) -> None:
    """In a coroutine without a thread; for no longer than it was told."""
    name = f"block.{prefix}"
    hosted_as(app, name, mailbox=Mailbox(bound=1, when_full="block", block_s=0.3))
    ref, player = agent(name, app=app), Player(app, name)

    async def tell() -> None:
        await ref.atell("add", 1)
        with pytest.raises(MailboxFull, match="had none in 0"):
            await ref.atell("add", 1)
        first = asyncio.create_task(ref.sending(block_s=30, timeout=30).atell("add", 1))
        box = player.keys.mailbox(ref.queue)
        await asyncio.to_thread(eventually, lambda: player.client.hexists(box, "senders"))
        await asyncio.to_thread(player.handle)
        await first

    asyncio.run(tell())
    assert player.handle_all() == [None]
    assert player.state()["total"] == 2


def test_what_needs_a_worker_is_told_from_a_thread(player: Player, ref: AgentRef) -> None:
    """And a repeat is recognised either way."""

    async def tell() -> tuple[Any, Any]:
        told = ref.sending(idempotency_key=ref.name)
        return await told.atell("add", 1), await told.sending(confirm="acked", timeout=20).atell("add", 1)

    with works(player):
        first, again = asyncio.run(tell())
    assert first == again
    assert player.state()["total"] == 1


def test_an_answer_may_be_given_later(player: Player, ref: AgentRef) -> None:
    """By another message, to all who wait; who told and did not ask gets none."""
    ref.tell("later")
    said: list[Any] = []
    threads = [threading.Thread(target=lambda: said.append(ref.ask("later", timeout=20))) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: player.client.llen(ref.queue) == 3)
    assert player.handle_all() == [None] * 3
    assert len(player.state()["said"]) == 3
    assert said == []
    ref.tell("now", "go")
    assert player.handle() is None
    for thread in threads:
        thread.join(20)
    assert said == ["go", "go"]
    assert player.state()["said"] == []


def test_an_agent_that_asks_itself_is_told_so(app: Celery, player: Player, ref: AgentRef) -> None:
    """It could only answer afterwards."""
    cls: Any = vars(app)["_hardening_agents"][ref.name]
    cls.on_start = lambda _: None
    cls.add = lambda own, n: own.ref.ask("look", timeout=n)
    ref.tell("add", 5)
    said = player.handle()
    assert isinstance(said, ValueError)
    assert "asks itself" in str(said)


def test_a_wait_survives_a_redis_that_is_away_for_a_moment(player: Player, ref: AgentRef) -> None:
    """Its connection is cut: the answer stays until it was read."""

    def cut() -> None:
        for one in player.client.client_list():
            if one["cmd"].startswith("blmove"):
                player.client.client_kill(one["addr"])
        if player.client.exists(f"{player.keys.prefix}:cut"):
            player.handle_all()
        player.client.set(f"{player.keys.prefix}:cut", 1)

    with works(player, cut):
        assert asked(ref, "ask", "add", 3, timeout=20) == 3
        assert asked(ref, "aask", "add", 3, timeout=20) == 6


def test_an_ask_makes_sense(ref: AgentRef) -> None:
    """Or says what does not."""
    with pytest.raises(ValueError, match="a deadline is in -1"):
        ref.ask("add", 1, timeout=-1)
