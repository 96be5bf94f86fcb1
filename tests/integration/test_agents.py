"""Agents: what a message does, it does once, whatever happens to whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Ignore, Reject

from hardening import handles
from hardening.agents.errors import AgentError, HandlerUnknown, TurnLost
from hardening.agents.residents import residents_of
from hardening.agents.store import Store
from hardening.core import raw as raw_message
from hardening.core.ledger import read_ledger
from tests.integration.agent_cases import Ledger, captured, hosted_as
from tests.integration.agent_player import Player, moved_to, version

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.ref import AgentRef
    from hardening.core.scripts.agenting import Opened


def balanced(player: Player) -> bool:
    """Whether the conservation law holds."""
    return read_ledger(player.client, player.keys).is_balanced


def test_what_a_message_does_is_in_redis_before_it_is_acknowledged(player: Player, ref: AgentRef) -> None:
    """The state as JSON, its schema, its version, and which message it was."""
    ref.tell("add", 2)
    ref.tell("add", n=3)
    assert player.handle_all() == [None, None]
    stored = player.client.hgetall(player.keys.agent(ref.name))
    assert json.loads(stored[b"state"]) == {"total": 5, "said": []}
    assert (stored[b"version"], stored[b"schema"]) == (b"2", b"1")
    assert set(stored) == {b"state", b"version", b"schema", b"applied", b"updated_ms"}
    assert balanced(player)


def test_a_message_that_was_committed_and_not_acknowledged_is_only_acknowledged(player: Player, ref: AgentRef) -> None:
    """Its process died between the two: neither the state nor what it told itself is there twice."""
    ref.tell("add_twice", 4)
    taken = player.take()
    assert taken is not None
    player.run(taken)
    other = moved_to(player, "w2")
    assert other.handle_all() == [None, None]
    assert (other.state()["total"], version(other)) == (8, 2)
    assert balanced(other)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The marks with which agents are opened from now on."""
    marks: list[str] = []
    open_ = Store.open

    def noted(self: Store, mark: str) -> Opened:
        marks.append(mark)
        return open_(self, mark)

    monkeypatch.setattr(Store, "open", noted)
    return marks


def test_a_take_tells_which_version_a_message_is_for(player: Player, ref: AgentRef) -> None:
    """The number, and the message that made it: nothing else changes the state before this one is settled."""
    ref.tell("add", 1)
    ref.tell("add", 1)
    taken = player.take()
    assert taken is not None
    assert taken.version == "0 "
    player.run(taken)
    player.ack(taken)
    second = player.take()
    assert second is not None
    assert second.version == f"1 {raw_message.message_id(taken.raw)}"


def test_an_agent_that_is_as_it_was_is_not_asked_for(
    player: Player, ref: AgentRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message takes one script then: its commit."""
    marks = opened(monkeypatch)
    for _ in range(3):
        ref.tell("add", 2)
    assert player.handle_all() == [None] * 3
    assert marks == [""]
    assert (player.state()["total"], version(player)) == (6, 3)


def test_an_agent_that_another_process_has_run_meanwhile_is_asked_for(
    app: Celery, player: Player, ref: AgentRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose version has the same number, after its state was removed by hand."""
    marks = opened(monkeypatch)
    ref.tell("add", 2)
    assert player.handle_all() == [None]
    here = vars(app).pop("_hardening_residents")
    ref.tell("add", 3)
    assert player.handle_all() == [None]
    vars(app)["_hardening_residents"] = here
    ref.tell("add", 4)
    assert player.handle_all() == [None]
    assert (player.state()["total"], version(player), len(marks)) == (9, 3, 3)
    player.client.hset(player.keys.agent(ref.name), mapping={"applied": "another", "state": '{"total": 50}'})
    ref.tell("add", 1)
    assert player.handle_all() == [None]
    assert (player.state()["total"], len(marks)) == (51, 4)


def test_a_handler_does_not_run_again_for_what_this_process_has_just_applied(
    player: Player, ref: AgentRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message was given back, for whatever reason, and is given to the same process again."""
    ran = []
    monkeypatch.setattr(Ledger, "look", lambda self: ran.append(self.state.total))
    ref.tell("look")
    taken = player.take()
    assert taken is not None
    player.run(taken)
    player.release(taken)
    assert player.handle_all() == [None]
    assert (ran, version(player)) == ([0], 1)


def test_a_message_whose_process_died_before_the_commit_begins_anew(
    player: Player, ref: AgentRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is left."""

    def die(*_: Any) -> None:
        raise SystemExit

    ref.tell("add_twice", 4)
    taken = player.take()
    assert taken is not None
    with monkeypatch.context() as patched:
        patched.setattr("hardening.agents.store.Store.commit", die)
        with pytest.raises(SystemExit):
            player.run(taken)
    assert (player.state(), version(player)) == (None, 0)
    assert player.client.llen(ref.queue) == 0
    other = moved_to(player, "w2")
    assert other.handle_all() == [None, None]
    assert (other.state()["total"], version(other)) == (8, 2)


@pytest.mark.parametrize("is_recovered", [True, False])
def test_who_lost_a_message_while_running_it_commits_nothing(
    player: Player, ref: AgentRef, monkeypatch: pytest.MonkeyPatch, *, is_recovered: bool
) -> None:
    """Whether somebody has run it, and more, elsewhere by then, or it is only back in the mailbox."""
    lost: list[Player] = []

    class Other(Ledger):
        """Is frozen in the middle."""

        @handles("add")
        def add(self, n: int) -> int:
            """Adds, while its worker is held for dead."""
            if not lost:
                player.die()
                lost.append(Player(player.app, ref.name, "w2"))
                if is_recovered:
                    ref.tell("look")
                    assert lost[0].handle_all() == [None, None]
            self.state.total += n
            return 0

    monkeypatch.setitem(vars(player.app)["_hardening_agents"], ref.name, type("O", (Other,), {"name": ref.name}))
    ref.tell("add", 7)
    taken = player.take()
    assert taken is not None
    with captured("hardening.agent.turn_lost") as told, pytest.raises(Reject) as rejected:
        player.run(taken)
    refused: Any = rejected.value
    assert refused.requeue is True
    assert isinstance(refused.reason, TurnLost)
    assert [event.agent for event in told] == [ref.name]
    assert lost[0].handle_all() == ([] if is_recovered else [None])
    assert (player.state()["total"], version(player)) == (7, 2 if is_recovered else 1)
    assert balanced(player)


def test_who_was_overtaken_by_one_that_committed_the_same_commits_nothing(player: Player, ref: AgentRef) -> None:
    """It may as well acknowledge it."""
    ref.tell("add", 7)
    taken = player.take()
    assert taken is not None
    player.run(taken)
    vars(player.app).pop("_hardening_residents")
    player.run(taken)
    assert (player.state()["total"], version(player)) == (7, 1)


def test_a_thread_that_was_given_up_shares_the_agent_with_nobody(player: Player, ref: AgentRef) -> None:
    """Who runs it takes it out of what the process keeps."""
    ref.tell("add", 1)
    assert player.handle_all() == [None]
    kept = residents_of(player.app).take(ref.name)
    assert kept is not None
    kept.agent.state.total = 99
    ref.tell("add", 1)
    assert player.handle_all() == [None]
    assert player.state()["total"] == 2


def test_messages_to_itself_go_behind_those_that_wait_and_are_in_the_ledger(player: Player, ref: AgentRef) -> None:
    """Without a receipt."""
    ref.tell("add_twice", 5)
    ref.tell("look")
    player.handle()
    left = player.client.lrange(ref.queue, 0, -1)
    assert [b"look" in one or b"add" in one for one in left] == [True, True]
    assert b'"shadow": "%s.add"' % ref.name.encode() in left[0]
    assert b"hardening_receipt" not in left[0]
    assert balanced(player)
    assert player.handle_all() == [None, None]


def test_a_message_to_itself_may_wait_for_its_time(player: Player, ref: AgentRef) -> None:
    """It is scheduled in Redis, by the clock of Redis."""
    ref.tell("add_twice", 5, later_s=60)
    before, _ = player.client.time()
    player.handle()
    ((_, due_ms),) = player.client.zrange(player.keys.scheduled, 0, -1, withscores=True)
    assert 60_000 <= due_ms - before * 1000 <= 75_000
    assert player.handle_all() == []
    assert balanced(player)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf")])
def test_a_message_to_itself_waits_for_some_time(app: Celery, wrong: float) -> None:
    """No other."""
    with pytest.raises(ValueError, match="delay_s is"):
        Ledger(app, Ledger.State()).tell_self_after(wrong, "add", 1)


def test_a_message_to_another_goes_out_with_the_commit(app: Celery, player: Player, ref: AgentRef) -> None:
    """Not at all where that fails."""
    other = f"other.{ref.name}"
    hosted_as(app, other)
    ref.tell("forward", other, 6)
    assert player.handle() is None
    colleague = Player(app, other, "w3")
    assert colleague.handle() is None
    assert colleague.state()["total"] == 6


def test_what_goes_out_has_no_deadline(player: Player, ref: AgentRef) -> None:
    """Whoever asked may have given up by then; the state says that it went out."""
    draft = Ledger(player.app, Ledger.State())
    draft.outbox = type(draft.outbox)(player.app)
    from hardening import deadline  # noqa: PLC0415

    with deadline(5, app=player.app):
        draft.tell(ref.name, "add", 1)
    (letter,) = draft.outbox.letters
    assert b"hardening_deadline" not in letter.raw
    assert letter.queue == letter.list_key == ref.queue


def test_what_is_not_the_agents_fault_counts_as_no_restart(player: Player, ref: AgentRef) -> None:
    """Nor is the agent thrown away for it; the message is a dead letter."""
    ref.tell("add", 1)
    ref.tell("ad", 1)
    ref.tell("add", 1, 2)
    ref.tell("add", 1)
    said = player.handle_all()
    assert [type(one) for one in said] == [type(None), HandlerUnknown, HandlerUnknown, type(None)]
    assert "no such handler; known: add, " in str(said[1])
    assert "too many positional arguments; it takes (n: 'int')" in str(said[2])
    assert player.client.exists(player.keys.restarts(ref.name)) == 0
    assert player.state()["total"] == 2
    started: Any = vars(player.app)["_hardening_agents"][ref.name]
    assert started.started == 1


def test_a_handler_that_raises_leaves_the_state_as_it_was(player: Player, ref: AgentRef) -> None:
    """What it said is not said; the next message finds a new instance."""
    ref.tell("add", 1)
    ref.tell("spoil", 50)
    ref.tell("add", 1)
    with captured("hardening.agent.restarted") as told:
        said = player.handle_all()
    assert [type(one) for one in said] == [type(None), ValueError, type(None)]
    assert player.state()["total"] == 2
    assert player.client.zcard(player.keys.restarts(ref.name)) == 1
    assert [(event.handler, event.error, event.restarts) for event in told] == [("spoil", "ValueError: no 50", 1)]
    started: Any = vars(player.app)["_hardening_agents"][ref.name]
    assert started.started == 2
    assert balanced(player)


def test_no_handler_ends_by_what_celery_would_take_for_its_own(app: Celery, player: Player, ref: AgentRef) -> None:
    """An ``Ignore`` would drop the message."""

    class Sly(Ledger):
        """Ends strangely."""

        @handles("add")
        def add(self, n: int) -> int:
            """Goes away."""
            raise Ignore(n)

    vars(app)["_hardening_agents"][ref.name] = type("Sly", (Sly,), {"name": ref.name})
    ref.tell("add", 1)
    (said,) = player.handle_all()
    assert isinstance(said, AgentError)
    assert "raised Ignore in add, by which no handler can end" in str(said)


def test_what_on_start_raises_keeps_the_message(app: Celery, player: Player, ref: AgentRef) -> None:
    """It counts as a restart; too many park the agent."""

    class Unready(Ledger):
        """Needs what is not there."""

        def on_start(self) -> None:
            """Fails."""
            raise OSError("no database")

    vars(app)["_hardening_agents"][ref.name] = type("Unready", (Unready,), {"name": ref.name})
    ref.tell("add", 1)
    said: list[Any] = player.handle_all()
    assert [str(vars(one)["reason"]) for one in said] == ["no database"] * 6
    status = ref.status()
    assert (status.status, status.why, status.waiting, status.restarts) == ("parked", "OSError: no database", 1, 6)
