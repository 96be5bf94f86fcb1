"""Handlers that will not, and what they say with a receipt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Reject

from hardening import Receipt, agent, handles
from hardening.agents import AskFailed, Refused
from hardening.agents.letters import letter_to
from hardening.agents.store import Store
from hardening.core import payload as payloads
from hardening.core.raw import receipt_id
from hardening.timeouts.deadline import deadline
from tests.eventually import eventually
from tests.integration.agent_cases import Ledger, hosted_as
from tests.integration.agent_player import Player

if TYPE_CHECKING:
    from celery import Celery


class Strict(Ledger):
    """Will not do everything."""

    @handles
    def add_some(self, n: int) -> int:
        """Adds what is more than nothing."""
        self.state.total += n
        self.tell_self("add", 100)
        if n <= 0:
            raise Refused(f"{n} is nothing: give more")
        return int(self.state.total)

    @handles
    def forward_supervised(self, to: str, n: int, fails: bool = False) -> str:  # noqa: FBT002 - a message
        """Has another add, and says by which receipt that can be followed."""
        receipt = self.tell_supervised(to, "add", n)
        self.state.said.append(receipt)
        if fails:
            raise ValueError(receipt)
        return receipt


def _asked(app: Celery, player: Player, handler: str, *args: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(agent(player.agent, app=app).ask, handler, *args, timeout=20)
        eventually(lambda: player.handle_all() or asked.done())
        return asked.result()


@pytest.mark.one_server
def test_who_asks_for_what_an_agent_will_not_do_is_told_why(app: Celery, prefix: str) -> None:
    """Nothing comes of it: no state, nothing said, no dead letter, no restart; the agent goes on as it was."""
    hosted_as(app, f"a.{prefix}", Strict)
    player = Player(app, f"a.{prefix}")
    assert _asked(app, player, "add", 1) == 1
    with pytest.raises(AskFailed, match=r"failed to add_some: Refused: -5 is nothing: give more$"):
        _asked(app, player, "add_some", -5)
    assert player.handle_all() == []
    assert player.state()["total"] == 1
    assert not player.client.exists(player.keys.dlq, player.keys.restarts(player.agent))
    assert _asked(app, player, "add", 1) == 2


@pytest.mark.one_server
def test_a_refusal_is_given_once(app: Celery, prefix: str) -> None:
    """A message that comes back when it was refused, and not acknowledged, is only acknowledged."""
    hosted_as(app, f"a.{prefix}", Strict)
    player = Player(app, f"a.{prefix}")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(agent(player.agent, app=app).ask, "add_some", -5, timeout=20)
        taken: Any = eventually(player.take)
        player.run(taken)
        with pytest.raises(AskFailed):
            asked.result()
    player.die()
    again = Player(app, player.agent, "w2")
    mark = again.client.hget(again.keys.agent(again.agent), "version")
    assert again.handle() is None
    assert again.client.hget(again.keys.agent(again.agent), "version") == mark


@pytest.mark.one_server
def test_a_process_that_lost_the_message_refuses_nothing(
    app: Celery, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it now says so."""
    hosted_as(app, f"a.{prefix}", Strict)
    player = Player(app, f"a.{prefix}")
    commit = Store.commit

    def die_first(store: Store, *args: Any) -> str:
        player.die()
        return commit(store, *args)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(agent(player.agent, app=app).ask, "add_some", -5, timeout=20)
        taken: Any = eventually(player.take)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "commit", die_first)
            with pytest.raises(Reject, match="lost its message"):
                player.run(taken)
        assert Player(app, player.agent, "w2").handle() is None
        with pytest.raises(AskFailed, match="Refused"):
            asked.result()


@pytest.mark.one_server
def test_what_was_told_and_is_refused_is_buried(app: Celery, prefix: str) -> None:
    """Which is no restart."""
    hosted_as(app, f"a.{prefix}", Strict)
    player = Player(app, f"a.{prefix}")
    agent(player.agent, app=app).tell("add_some", 0)
    assert isinstance(player.handle(), Refused)
    assert player.client.xlen(player.keys.dlq) == 1
    assert not player.client.exists(player.keys.restarts(player.agent))


def test_what_is_said_with_a_receipt_can_be_followed_and_cancelled(app: Celery, prefix: str) -> None:
    """It goes out with the commit, as all that an agent says."""
    one, other = (hosted_as(app, f"{name}.{prefix}", Strict) for name in "ab")
    player, receiver = Player(app, one.name), Player(app, other.name)
    agent(one.name, app=app).tell("forward_supervised", other.name, 5)
    agent(one.name, app=app).tell("forward_supervised", other.name, 7)
    agent(one.name, app=app).tell("forward", other.name, 9)
    player.handle_all()
    first, second = (Receipt.load(receipt, app=app) for receipt in player.state()["said"])
    about = first.details()
    assert (about["queue"], about["task"], about["task_id"]) == (f"agent.{other.name}", "hardening.agent", first.id)
    assert about["guarantee"] == "at_least_once"
    assert [str(one.status()) for one in (first, second)] == ["queued", "queued"]
    assert second.cancel()
    assert receiver.handle_all() == [None, None]
    assert receiver.state()["total"] == 14
    assert [str(one.status()) for one in (first, second)] == ["acked", "dead"]


@pytest.mark.one_server
def test_what_is_said_with_a_receipt_by_a_handler_that_raises_does_not_go_out(app: Celery, prefix: str) -> None:
    """Nobody has such a receipt."""
    one, other = (hosted_as(app, f"{name}.{prefix}", Strict) for name in "ab")
    player = Player(app, one.name)
    agent(one.name, app=app).tell("forward_supervised", other.name, 5, True)  # noqa: FBT003 - a message
    receipt = str(player.handle())
    assert len(receipt) == 36
    assert not player.client.exists(player.keys.delivery(receipt), f"agent.{other.name}")


@pytest.mark.one_server
@pytest.mark.parametrize("receipt", ["", "r" * 36])
def test_what_goes_out_with_a_commit_has_no_deadline(app: Celery, prefix: str, receipt: str) -> None:
    """Though the message has one that made an agent say it; and a receipt only where that was asked for."""
    hosted_as(app, f"a.{prefix}", Strict)
    with deadline(30.0, app=app):
        letter = letter_to(app, f"a.{prefix}", "add", (1,), {}, receipt=receipt)
    headers = payloads.load(letter.raw)["headers"]
    assert not headers.keys() & {payloads.DEADLINE_HEADER}
    assert headers.get(payloads.RECEIPT_HEADER, "") == receipt
    assert (receipt_id(letter.raw) or "") == receipt
    assert letter.fields.get("task_id", "") == receipt
