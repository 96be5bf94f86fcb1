"""``celery -A app dlq replay`` and ``purge``: what leaves the queue, who is asked, and how they exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dlq import Selection
from tests.integration.cli import dlq
from tests.terminal import call_celery_at_terminal

if TYPE_CHECKING:
    from celery import Celery

    from dlq import DeadLetters
    from tests.undertaker import Undertaker

pytestmark = pytest.mark.one_server


def test_replay_by_id(app: Celery, undertaker: Undertaker, letters: DeadLetters) -> None:
    """What is named, once, however often it is named."""
    first, second = undertaker.dead_letter(), undertaker.dead_letter()
    result = dlq(app, "replay", first, first)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "replayed 1 of 1\n", "")
    assert [entry.id for entry in letters.select()] == [second]
    assert undertaker.check().queued == 1


def test_replay_by_filter(app: Celery, undertaker: Undertaker, letters: DeadLetters) -> None:
    """What matches, and no more."""
    undertaker.dead_letters(3, "shop.charge")
    kept = undertaker.dead_letter("mail.send")
    result = dlq(app, "replay", "--task", "shop.*")
    assert (result.exit_code, result.stdout) == (0, "replayed 3 of 3\n")
    assert [entry.id for entry in letters.select()] == [kept]
    assert undertaker.check().queued == 3


@pytest.mark.parametrize("command", ["replay", "purge"])
def test_everything_must_be_asked_for(app: Celery, undertaker: Undertaker, letters: DeadLetters, command: str) -> None:
    """With --all, and with nothing beside it that says otherwise; what is wrong about the rest is said."""
    entry_id = undertaker.dead_letter()
    undertaker.dead_letter()
    which = "say which: ids, or filters such as --reason, or --all"
    ids = "ids say which by themselves: leave out --all and the filters, or the ids"
    either = "--all means every dead letter, filters only some: leave out one or the other"
    sure = ["--yes"] if command == "purge" else []
    for args, told in (
        ([], which), (["--all", entry_id], ids), ([entry_id, "--task", "x"], ids), ([entry_id, "--limit", "1"], ids),
        (["--all", "--task", "x"], either), (["--all", "--task", "x", "--limit", "3"], either),
    ):  # fmt: skip
        result = dlq(app, command, *args, *sure)
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1] == f"Error: {told}"
    assert len(letters) == 2
    done = {"replay": "replayed", "purge": "purged"}[command]
    assert dlq(app, command, "--all", "--limit", "1", *sure).stdout == f"{done} 1 of 1\n"
    assert len(letters) == 1


def test_replay_of_all(app: Celery, undertaker: Undertaker, letters: DeadLetters) -> None:
    """More than a page of them; nobody is at the terminal, so there is no progress."""
    undertaker.dead_letters(501)
    result = dlq(app, "replay", "--all")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "replayed 501 of 501\n", "")
    assert len(letters) == 0
    assert undertaker.check().queued == 501


def test_replay_shows_progress_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, app: Celery, undertaker: Undertaker
) -> None:
    """And clears it away in the end."""
    undertaker.dead_letters(501)
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "replay", "--all")
    assert seen.exit_code == 0
    assert seen.text.split("\r") == [
        "",
        f"replayed 250 of 501 [{'#' * 9}{'.' * 11}]",
        f"replayed 500 of 501 [{'#' * 19}.]",
        f"replayed 501 of 501 [{'#' * 20}]",
        "replayed 501 of 501\n",
    ]
    assert undertaker.check().queued == 501


@pytest.mark.parametrize("args", [("replay", "--task", "x"), ("replay", "1-1"), ("purge", "1-1", "--yes")])
def test_nothing_matched_exits_with_three(app: Celery, undertaker: Undertaker, args: tuple[str, ...]) -> None:
    """Whether by id or by filter."""
    undertaker.dead_letter()
    result = dlq(app, *args)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[-1] == "no dead letter matched"


@pytest.mark.parametrize(("command", "verb"), [(["replay"], "replayed"), (["purge", "--yes"], "purged")])
def test_a_part_exits_with_one(app: Celery, undertaker: Undertaker, command: list[str], verb: str) -> None:
    """What is not there is named on stderr."""
    result = dlq(app, *command, undertaker.dead_letter(), "1-1", "nonsense")
    assert (result.exit_code, result.stdout) == (1, f"{verb} 1 of 3\n")
    assert result.stderr.splitlines() == [
        "no dead letter 1-1: replayed, purged or never there",
        "no dead letter nonsense: replayed, purged or never there",
    ]


def test_replay_of_what_can_go_nowhere_exits_with_one(app: Celery, undertaker: Undertaker) -> None:
    """It stays where it is."""
    undertaker.client.xadd(undertaker.keys.dlq, {"raw": "x"})
    result = dlq(app, "replay", "--all")
    assert (result.exit_code, result.stdout) == (1, "replayed 0 of 1\n")


def test_purge_without_anybody_to_ask_is_refused(app: Celery, undertaker: Undertaker, letters: DeadLetters) -> None:
    """In one line that names the way."""
    undertaker.dead_letter()
    result = dlq(app, "purge", "--all")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == ("Error: nobody is there to confirm: add --yes to delete them for good")
    assert len(letters) == 1


def test_purge_with_yes_says_how_many(app: Celery, undertaker: Undertaker, letters: DeadLetters) -> None:
    """And the ledger knows."""
    undertaker.dead_letters(2, "shop.charge")
    undertaker.dead_letter("mail.send")
    result = dlq(app, "purge", "--task", "shop.*", "--yes")
    assert (result.exit_code, result.stdout) == (0, "purged 2 of 2\n")
    assert len(letters) == 1
    assert undertaker.check().counters["discarded"] == 2


@pytest.mark.parametrize("args", [("--all",), ("--limit", "2")])
def test_purge_asks_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, app: Celery, undertaker: Undertaker, letters: DeadLetters, args: tuple[str, ...]
) -> None:
    """Telling how many first, and doing nothing without a yes."""
    undertaker.dead_letters(2)
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "purge", *args, typed="n\n")
    assert seen.exit_code == 2
    assert "Delete 2 dead letters for good? [y/N]:" in seen.text
    assert len(letters) == 2
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "purge", *args, typed="y\n")
    assert (seen.exit_code, seen.lines[-1].rpartition("\r")[2]) == (0, "purged 2 of 2")
    assert len(letters) == 0


def test_purge_by_id_asks_too(
    monkeypatch: pytest.MonkeyPatch, app: Celery, undertaker: Undertaker, letters: DeadLetters
) -> None:
    """One is singular."""
    first, second = undertaker.dead_letters(2)
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "purge", first, typed="y\n")
    assert "Delete 1 dead letter for good? [y/N]:" in seen.text
    assert [entry.id for entry in letters.select()] == [second]


def test_purge_of_nothing_does_not_ask(monkeypatch: pytest.MonkeyPatch, app: Celery) -> None:
    """There is nothing to confirm."""
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "purge", "--all")
    assert (seen.exit_code, seen.lines[-1].rpartition("\r")[2]) == (3, "no dead letter matched")


def test_what_dies_after_the_count_is_not_purged(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Nobody has confirmed that."""
    from dlq.filters import Chosen  # noqa: PLC0415 - the one test below the command line

    chosen = Chosen(letters, (), Selection())
    assert chosen.count() == 0
    undertaker.dead_letter()
    assert letters.purge(chosen) == 0
    chosen = Chosen(letters, (), Selection())
    assert chosen.count() == 1
    kept = undertaker.dead_letter()
    assert letters.purge(chosen) == 1
    assert [entry.id for entry in letters.select()] == [kept]
