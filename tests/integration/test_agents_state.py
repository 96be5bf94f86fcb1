"""The state of agents: when it is read, written, migrated, and refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Reject

from hardening import AgentState, handles
from hardening.agents.errors import StateRefused
from tests.integration.agent_cases import Ledger, captured
from tests.integration.agent_player import Player, moved_to, version

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.ref import AgentRef


def test_a_process_reads_the_state_once_and_when_another_has_written_it(player: Player, ref: AgentRef) -> None:
    """A mark tells it which version it has."""
    with captured("hardening.agent.restored") as told:
        for _ in range(3):
            ref.tell("add", 1)
        assert player.handle_all() == [None] * 3
        assert [(event.size, event.is_migrated) for event in told] == [(0, False)]
        other = moved_to(player, "w2")
        ref.tell("add", 1)
        assert other.handle_all() == [None]
        assert [event.size for event in told] == [0, len('{"total":3,"said":[]}')]
    assert other.state()["total"] == 4


def test_a_state_that_is_removed_by_hand_is_missed(player: Player, ref: AgentRef) -> None:
    """Also where as many messages have been committed since as before."""
    for n in (1, 2):
        ref.tell("add", n)
        player.handle()
        player.client.delete(player.keys.agent(ref.name))
    ref.tell("add", 5)
    player.handle()
    assert player.state()["total"] == 5


def test_a_handler_that_changes_nothing_writes_no_state(player: Player, ref: AgentRef) -> None:
    """Only that it ran."""
    ref.tell("add", 1)
    ref.tell("look")
    player.handle_all()
    player.client.hset(player.keys.agent(ref.name), "state", '{"total": 1, "said": ["untouched"]}')
    ref.tell("look")
    assert player.handle() is None
    assert player.state()["said"] == ["untouched"]
    assert version(player) == 3


def test_a_state_of_an_older_schema_is_migrated_and_one_of_a_newer_parks_the_agent(
    app: Celery, player: Player, ref: AgentRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message is lost of it."""

    class Newer(Ledger):
        """Counts in hundredths."""

        class State(AgentState):
            """Of the second kind."""

            schema_version = 2
            cents: int = 0

            @classmethod
            def migrate(cls, old_version: int, data: dict[str, Any]) -> dict[str, Any]:
                """From whole ones."""
                assert old_version == 1
                return {"cents": data["total"] * 100}

        @handles("add")
        def add(self, n: int) -> int:
            """Adds."""
            self.state.cents += n
            return 0

    ref.tell("add", 5)
    player.handle()
    classes = vars(app)["_hardening_agents"]
    older = classes[ref.name]
    monkeypatch.setitem(classes, ref.name, type("Newer", (Newer,), {"name": ref.name}))
    fresh = moved_to(player, "w2")
    ref.tell("add", 1)
    assert fresh.handle() is None
    assert fresh.state() == {"cents": 501}
    assert fresh.client.hget(fresh.keys.agent(ref.name), "schema") == b"2"
    monkeypatch.setitem(classes, ref.name, older)
    stale = moved_to(fresh, "w3")
    ref.tell("add", 2)
    refused: Any = stale.handle()
    assert type(refused) is Reject
    assert isinstance(vars(refused)["reason"], StateRefused)
    assert "newer code than runs here" in str(vars(refused)["reason"])
    assert stale.handle_all() == []
    status = ref.status()
    assert (status.status, status.waiting) == ("parked", 1)
    assert "schema_version 2" in status.why
    monkeypatch.setitem(classes, ref.name, type("Newer", (Newer,), {"name": ref.name}))
    assert ref.resume()
    assert stale.handle_all() == [None]
    assert stale.state() == {"cents": 503}


def test_a_state_without_a_migration_says_so() -> None:
    """What is missing, by name."""

    class State(AgentState):
        """Nobody said what becomes of older ones."""

        schema_version = 3

    with pytest.raises(ValueError, match=r"schema_version 1, expected 3, and .*State has no migrate\(\)"):
        State.read(b'{"a": 1}', 1)
