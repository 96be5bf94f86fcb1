"""``celery -A app dlq``: what every command prints, what it refuses, and how it exits; and ``stats``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from dlq import Reason
from hardening import harden
from hardening.core.scripts import Death
from tests.integration.cli import celery_in_process, dlq, rows

if TYPE_CHECKING:
    from pathlib import Path

    from hardening.core.embedded import EmbeddedRedis
    from tests.undertaker import Undertaker

pytestmark = pytest.mark.one_server

#: What must never reach a terminal: clear it, retitle it, colour it, reverse it; and rich's markup.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e[bold red]x[/bold red]\r\n\x00"

COMMANDS = ("list", "show 1-1", "replay --all", "purge --all --yes", "stats")


def assert_harmless(text: str) -> None:
    """There is nothing in it but printable characters and line feeds."""
    assert all(line.isprintable() for line in text.split("\n")), text


def test_the_help_documents_the_exit_codes(app: Celery) -> None:
    """All four."""
    lines = [line.strip() for line in dlq(app, "--help").stdout.splitlines()]
    assert [line[:3] for line in lines if line[:1].isdigit()] == ["0  ", "1  ", "2  ", "3  "]


def test_hostile_text_is_harmless_everywhere(app: Celery, undertaker: Undertaker) -> None:
    """A message can put anything into task, queue, error, traceback, metadata, headers and body."""
    crumbs = [{"text": HOSTILE, "fields": {HOSTILE: HOSTILE}}]
    context = {"correlation_id": HOSTILE, "operation": HOSTILE, "fields": {HOSTILE: HOSTILE}, "breadcrumbs": crumbs}
    headers = {"hardening_metadata": {HOSTILE: HOSTILE}, "hardening_context": context, HOSTILE: HOSTILE}
    death = Death(HOSTILE, HOSTILE, f"Traceback\n\t{HOSTILE}")
    entry_id = undertaker.dead_letter(HOSTILE, death, args=(HOSTILE,), task_id=HOSTILE, headers=headers)
    undertaker.dead_raw(HOSTILE.encode(), Death(HOSTILE))
    raw_id = undertaker.dead_raw(b'{"headers": {"task": "\\ud800", "id": "\\u009b"}}')
    for args in (
        ["list"], ["list", "--json", "--raw"], ["stats"], ["stats", "--json"], ["show", entry_id], ["show", raw_id],
        ["show", entry_id, "--json"], ["show", raw_id, "--json"], ["show", HOSTILE], ["replay", HOSTILE],
    ):  # fmt: skip
        result = dlq(app, *args)
        assert_harmless(result.stdout + result.stderr)
    shown = dlq(app, "show", entry_id).stdout
    assert r"task          \x1b[2J\x1b]0;owned\x07\x9b31m\u202e[bold red]x[/bold red] \x00" in shown
    assert "Traceback\n      \\x1b[2J" in shown


def test_stats_count_by_reason_task_and_queue(app: Celery, undertaker: Undertaker) -> None:
    """And tell the oldest and the newest."""
    undertaker.dead_letters(2, "shop.charge")
    undertaker.dead_letter("mail.send", Death(Reason.CRASHED))
    words = rows(dlq(app, "stats"))
    assert words[0] == ["3", "dead", "letters"]
    assert words[1][:2] == ["oldest", "died"]
    assert words[3:6] == [["count", "reason"], ["2", "failed"], ["1", "crashed"]]
    assert words[7:10] == [["count", "task"], ["2", "shop.charge"], ["1", "mail.send"]]
    assert words[11:13] == [["count", "queue"], ["3", undertaker.queue]]
    assert words[14] == ["count", "problem", "reason", "task", "queue", "first", "last"]
    assert [line[:-2] for line in words[15:]] == [
        ["2", "ValueError", "failed", "shop.charge", undertaker.queue],
        ["1", "(unknown)", "crashed", "mail.send", undertaker.queue],
    ]


def test_stats_of_nothing(app: Celery) -> None:
    """Are one line."""
    result = dlq(app, "stats")
    assert (result.exit_code, result.stdout) == (0, "0 dead letters\n")


def test_stats_as_json(app: Celery, undertaker: Undertaker) -> None:
    """Filtered, as one object."""
    undertaker.dead_letter("shop.charge")
    died_ms = int(undertaker.dead_letter("mail.send").partition("-")[0])
    stats = json.loads(dlq(app, "stats", "--json", "--task", "mail.*").stdout)
    first_ms = stats["groups"][0].pop("first_ms")
    assert 0 <= died_ms - first_ms < 1000  # the clock goes on while a script runs, for the ids of a stream
    assert stats == {
        "total": 1,
        "by_reason": {"failed": 1},
        "by_task": {"mail.send": 1},
        "by_queue": {undertaker.queue: 1},
        "by_fingerprint": {"ValueError": 1},
        "groups": [
            {
                "reason": "failed",
                "task": "mail.send",
                "queue": undertaker.queue,
                "fingerprint": "ValueError",
                "count": 1,
                "oldest_ms": died_ms,
                "last_ms": died_ms,
            }
        ],
        "oldest_ms": died_ms,
        "newest_ms": died_ms,
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_without_an_app_every_command_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """As a mistake in the call, not as a traceback."""
    monkeypatch.setattr("celery._state._tls.current_app", Celery("plain", set_as_current=False))
    result = dlq(None, *command.split())
    assert result.exit_code == 2
    name = command.split(maxsplit=1)[0]
    assert result.stderr.splitlines()[-1] == f"Error: no app was named: call celery -A YOUR_APP dlq {name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_app_that_is_not_hardened_is_refused_by_every_command(command: str) -> None:
    """In one line."""
    result = dlq(Celery("plain", set_as_current=False), *command.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == ("Error: the app 'plain' is not hardened: call hardening.harden(app) where it is made\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_without_redis_every_command_fails_in_one_line(command: str) -> None:
    """That tells whom it asked."""
    app = Celery("away", broker="redis://:secret@127.0.0.1:1/0", set_as_current=False)
    result = dlq(harden(app), *command.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Redis could not be asked: Error 111 connecting to 127.0.0.1:1. ")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_the_entry_point_works(server: EmbeddedRedis, undertaker: Undertaker, prefix: str, tmp_path: Path) -> None:
    """As an operator calls it, in a process of its own."""
    entry_id = undertaker.dead_letter()
    shown = celery_in_process(server, prefix, tmp_path, "dlq", "list")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[1].startswith(f"{entry_id} ")
