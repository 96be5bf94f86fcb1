"""``celery -A app dlq list`` and ``show``: what they print, and what they leave out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dlq import Reason
from hardening.core import payload as payloads
from hardening.core.scripts import Death
from tests.integration.cli import dlq, objects, rows
from tests.terminal import call_celery_at_terminal

if TYPE_CHECKING:
    from celery import Celery

    from tests.undertaker import Undertaker

pytestmark = pytest.mark.one_server


def test_list_shows_the_newest_first(app: Celery, undertaker: Undertaker) -> None:
    """Reason, task, queue, crashes and retries, error; and how many there are in all."""
    first = undertaker.dead_letter("shop.charge", Death(Reason.FAILED, "ValueError: no"), retries=3)
    second = undertaker.dead_raw(b"?", Death(Reason.UNDECODABLE, "JSONDecodeError"))
    header, *found, last = rows(dlq(app, "list"))
    assert header == ["id", "died", "reason", "task", "queue", "c/r", "error"]
    assert [[row[0], *row[2:]] for row in found] == [
        [second, "undecodable", "(unreadable)", app.conf.task_default_queue, "0/0", "JSONDecodeError"],
        [first, "failed", "shop.charge", app.conf.task_default_queue, "0/3", "ValueError:", "no"],
    ]
    assert " ".join(last) == "2 shown, 2 dead letters in all"


def test_list_of_nothing_is_no_failure(app: Celery) -> None:
    """It says so."""
    result = dlq(app, "list")
    assert (result.exit_code, result.stdout) == (0, "0 shown, 0 dead letters in all\n")


def test_list_shows_fifty_unless_told_otherwise(app: Celery, undertaker: Undertaker) -> None:
    """For people; a program gets all."""
    undertaker.dead_letters(60)
    assert rows(dlq(app, "list"))[-1][:4] == ["50", "shown,", "60", "dead"]
    assert rows(dlq(app, "list", "--limit", "55"))[-1][:4] == ["55", "shown,", "60", "dead"]
    assert len(objects(dlq(app, "list", "--json"))) == 60
    assert len(objects(dlq(app, "list", "--json", "--limit", "7"))) == 7


@pytest.mark.parametrize(
    ("args", "tasks"),
    [
        (("--reason", "crashed"), ["shop.refund"]),
        (("--task", "shop.*"), ["shop.refund", "shop.charge"]),
        (("--queue", "no-such-queue"), []),
        (("--since", "1h"), ["mail.send", "shop.refund", "shop.charge"]),
        (("--since", "2999-01-01"), []),
        (("--limit", "1"), ["mail.send"]),
        (("--task", "shop.*", "--limit", "1", "--reason", "failed"), ["shop.charge"]),
    ],
)
def test_list_filters(app: Celery, undertaker: Undertaker, args: tuple[str, ...], tasks: list[str]) -> None:
    """By everything that the service can filter by."""
    undertaker.dead_letter("shop.charge")
    undertaker.dead_letter("shop.refund", Death(Reason.CRASHED))
    undertaker.dead_letter("mail.send")
    assert [found["task"] for found in objects(dlq(app, "list", "--json", *args))] == tasks


def test_list_as_json_has_everything_but_the_message(app: Celery, undertaker: Undertaker) -> None:
    """Unless asked for."""
    entry_id = undertaker.dead_letter(task_id="t1", headers={"hardening_metadata": {"order": 7}})
    (found,) = objects(dlq(app, "list", "--json"))
    assert (found["id"], found["task_id"], found["metadata"]) == (entry_id, "t1", {"order": 7})
    assert "raw" not in found
    (found,) = objects(dlq(app, "list", "--json", "--raw", "--reveal"))
    assert json.loads(found["raw"])["headers"]["id"] == "t1"


def test_a_message_that_is_no_text_is_base64_in_json(app: Celery, undertaker: Undertaker) -> None:
    """So that it can be had byte for byte."""
    undertaker.dead_raw(b"\xff")
    (found,) = objects(dlq(app, "list", "--json", "--raw", "--reveal"))
    assert found["raw_base64"] == "/w=="


def test_raw_alone_makes_no_sense(app: Celery) -> None:
    """A table has no room for it."""
    result = dlq(app, "list", "--raw")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: --raw needs --json"


def test_a_list_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, app: Celery, undertaker: Undertaker) -> None:
    """Of 80 columns: ids and reasons are whole, names fold, errors are cut."""
    entry_id = undertaker.dead_letter("shop.orders.tasks.charge_the_card", Death(Reason.UNKNOWN_TASK, "e" * 200))
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "list")
    assert seen.exit_code == 0
    assert max(len(line) for line in seen.lines) <= 80
    assert seen.lines[1].startswith(f"{entry_id} ")
    assert seen.lines[1].endswith("…")
    assert " unknown_task " in seen.lines[1]
    assert seen.styled.startswith("\x1b[1m")


def test_a_list_without_colours_has_none(monkeypatch: pytest.MonkeyPatch, app: Celery, undertaker: Undertaker) -> None:
    """``celery -C`` is honoured; bold is no colour."""
    undertaker.dead_letter()
    seen = call_celery_at_terminal(monkeypatch, app, "-C", "dlq", "list")
    assert "\x1b[3" not in seen.styled


def test_show_tells_everything(app: Celery, undertaker: Undertaker) -> None:
    """Fields, traceback, metadata, headers and the arguments."""
    death = Death(Reason.FAILED, "ValueError: no", 'Traceback:\n  File "x"\nValueError: no')
    entry_id = undertaker.dead_letter(
        "shop.charge", death, args=(7,), kwargs={"card": "é"}, task_id="t1", headers={"hardening_metadata": {"a": 1}}
    )
    result = dlq(app, "show", entry_id)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    fields = dict(line.split(maxsplit=1) for line in lines[:18] if " " in line)
    assert fields["id"] == entry_id
    assert fields["died_at"].endswith(" ago)")
    assert (fields["reason"], fields["task"], fields["task_id"]) == ("failed", "shop.charge", "t1")
    assert (fields["queue"], fields["worker"], fields["error"]) == (undertaker.queue, "undertaker", "ValueError: no")
    blocks = [line for line in lines[18:] if not line.startswith(" ")]
    assert blocks == ["traceback", "metadata", "headers", "body"]
    assert '\ntraceback\n  Traceback:\n    File "x"\n  ValueError: no\n' in result.stdout
    assert '"card": "***"' in result.stdout
    assert '"card": "é"' in dlq(app, "show", entry_id, "--reveal").stdout


def test_show_of_what_cannot_be_read_shows_its_bytes(app: Celery, undertaker: Undertaker) -> None:
    """And says why it cannot."""
    shown = dlq(app, "show", undertaker.dead_raw(b"\xffwhat\x1b")).stdout
    assert "\nbody          the message is no JSON object: " in shown
    assert "\nraw\n  \\xffwhat\\x1b\n" in shown
    assert "\ntraceback" not in shown


def test_show_as_json_has_the_inside_and_the_raw_message(app: Celery, undertaker: Undertaker) -> None:
    """As one object."""
    entry_id = undertaker.dead_letter(args=(7,))
    found = json.loads(dlq(app, "show", entry_id, "--json", "--reveal").stdout)
    assert found["body"][0] == [7]
    assert found["headers"]["task"] == "shop.charge"
    assert found["problem"] == ""
    assert json.loads(found["raw"])["headers"] == found["headers"]


def test_show_survives_depth(app: Celery, undertaker: Undertaker) -> None:
    """Headers or a body too deep to be written are replaced by a remark."""
    deep = json.loads("[" * 900 + "]" * 900)
    payload = {
        "headers": {"hardening_metadata": {"deep": deep}},
        "body": payloads.encode_body("[" * 900 + "]" * 900),
        "content-type": "application/json",
        "properties": {"body_encoding": "base64"},
    }
    entry_id = undertaker.dead_raw(json.dumps(payload).encode())
    for args in (["show", entry_id], ["show", entry_id, "--json"], ["list", "--json"]):
        result = dlq(app, *args)
        assert result.exit_code == 0
        assert result.stdout.startswith(("id  ", "{"))


def test_show_of_nothing_exits_with_three(app: Celery) -> None:
    """One line on stderr."""
    result = dlq(app, "show", "1-1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "no dead letter 1-1: replayed, purged or never there\n"
