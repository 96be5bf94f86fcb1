"""Dead-letter queues by name: tasks that say ``dead_letter="name"``, and ``--dlq name``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dlq import DeadLetters, Reason, Selection
from hardening.core.errors import DlqUnknown
from hardening.core.scripts import Death
from tests.integration.cli import dlq, objects
from tests.integration.graveyard import Graveyard, Kind

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.keys import Keys
    from tests.undertaker import Undertaker


def _work() -> None:
    """What tasks here would do."""


@pytest.fixture
def named(app: Celery, undertaker: Undertaker) -> dict[str, list[str]]:
    """Dead letters by the name that their tasks give."""
    for name, dead_letter in (("charge", "money"), ("refund", "money"), ("greet", "mail"), ("drop", False)):
        app.task(name=f"shop.{name}", dead_letter=dead_letter, shared=False)(_work)
    crashed = Death(Reason.CRASHED)
    return {
        "money": [undertaker.dead_letter("shop.charge"), undertaker.dead_letter("shop.refund", crashed)],
        "mail": [undertaker.dead_letter("shop.greet")],
        "": [undertaker.dead_letter("shop.other"), undertaker.dead_raw(b"?")],
    }


def test_a_name_finds_the_letters_of_its_tasks(named: dict[str, list[str]], app: Celery) -> None:
    """Whatever buried them, with whatever else is asked for."""
    letters = DeadLetters.of(app)
    for name in ("money", "mail"):
        meant = Selection(tasks=letters.tasks_of(name))
        assert [entry.id for entry in letters.select(meant)] == named[name]
        assert letters.stats(meant).total == len(named[name])
        assert letters.stats(meant).by_task == letters.stats(Selection(tasks=meant.tasks, limit=100)).by_task
    crashed = Selection(reason="crashed", tasks=letters.tasks_of("money"))
    assert [entry.id for entry in letters.select(crashed)] == named["money"][1:]


def test_every_command_knows_the_name(named: dict[str, list[str]], app: Celery, undertaker: Undertaker) -> None:
    """The letters of others stay, and the ledger balances."""
    assert [each["id"] for each in objects(dlq(app, "list", "--dlq", "money", "--json"))] == named["money"][::-1]
    assert json.loads(dlq(app, "stats", "--dlq", "mail", "--json").stdout)["total"] == 1
    assert dlq(app, "replay", "--dlq", "money").stdout == "replayed 2 of 2\n"
    assert dlq(app, "purge", "--dlq", "mail", "--yes").stdout == "purged 1 of 1\n"
    assert [entry.id for entry in DeadLetters.of(app).select()] == named[""]
    ledger = undertaker.check()
    assert (ledger.queued, ledger.counters["replayed"], ledger.counters["discarded"]) == (2, 2, 1)


def test_a_name_that_no_task_has_is_refused(named: dict[str, list[str]], app: Celery) -> None:
    """With those that there are; nothing is moved."""
    assert named
    result = dlq(app, "replay", "--dlq", "monye")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: no task has dead_letter='monye': known are: mail, money\n"
    with pytest.raises(DlqUnknown, match="known are: mail, money"):
        DeadLetters.of(app).tasks_of("monye")
    assert len(DeadLetters.of(app)) == 5


def test_a_name_finds_what_no_group_tells_apart(client: Redis, keys: Keys) -> None:
    """Beyond the groups that there may be, letters are looked at one by one, and counted so."""
    graveyard = Graveyard(client, keys)
    ids = graveyard.bury([Kind(task=f"t{number}") for number in range(2100)])
    meant = Selection(tasks=frozenset({"t3", "t2050"}))
    assert graveyard.find(meant) == [ids[3], ids[2050]]
    assert graveyard.letters.stats(meant).by_task == {"t3": 1, "t2050": 1}
