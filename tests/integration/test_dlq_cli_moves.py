"""``celery -A app dlq replay`` with its bounds, ``export`` and ``import``: one line for every mistake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dlq.body import read_content
from tests.integration.cli import dlq
from tests.terminal import call_celery_at_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

    from dlq import DeadLetters
    from tests.undertaker import Undertaker


def test_a_dry_run_says_what_would_be(app: Celery, undertaker: Undertaker, letters: DeadLetters) -> None:
    """And does nothing."""
    undertaker.dead_letters(3)
    result = dlq(app, "replay", "--all", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "would replay 3 of 3\n")
    assert len(letters) == 3


def test_a_replay_goes_where_and_as_it_is_told(app: Celery, undertaker: Undertaker) -> None:
    """Values are JSON, or else text."""
    app.send_task("x", queue=f"{undertaker.queue}.slow")
    undertaker.dead_letter("shop.charge", args=(1,))
    args = (
        "--set-kwarg",
        "n=[2]",
        "--set-kwarg",
        "name=Ann=a",
        "--rate",
        "100",
        "--to-queue",
        f"{undertaker.queue}.slow",
    )
    result = dlq(app, "replay", "--all", *args)
    assert (result.exit_code, result.stdout) == (0, "replayed 1 of 1\n")
    raw = undertaker.client.lindex(f"{undertaker.queue}.slow", 0)
    assert isinstance(raw, bytes)
    assert read_content(raw).body[:2] == [[1], {"n": [2], "name": "Ann=a"}]


@pytest.mark.parametrize(
    ("args", "exit_code", "told"),
    [
        (("--max-depth", "2"), 1, " after 2 replayed: the queue "),
        (("--to-queue", "zzz"), 1, "Error: nobody has ever heard of the queue 'zzz': name one that"),
        (("--set-kwarg", "1x=2"), 2, "'1x=2' is not NAME=VALUE"),
        (("--set-kwarg", "x"), 2, "'x' is not NAME=VALUE"),
        (("--rate", "0"), 2, "0.0 is not in the range x>0"),
        (("--max-depth", "-1"), 2, "-1 is not in the range x>=0"),
    ],
)
def test_what_stops_a_replay_is_said_in_one_line(
    app: Celery, undertaker: Undertaker, args: tuple[str, ...], exit_code: int, told: str
) -> None:
    """On stderr, last."""
    undertaker.dead_letters(3)
    result = dlq(app, "replay", "--all", *args)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert told in result.stderr.splitlines()[-1]
    undertaker.check()


def test_exports_and_imports(app: Celery, undertaker: Undertaker, letters: DeadLetters, tmp_path: Path) -> None:
    """Whole with --reveal, for its owner's eyes; the entries come back as new ones."""
    undertaker.dead_letters(2, "shop.charge")
    undertaker.dead_letter("mail.send")
    file = tmp_path / "dead.jsonl"
    result = dlq(app, "export", str(file), "--task", "shop.*", "--reveal")
    assert (result.exit_code, result.stdout) == (0, "exported 2\n")
    assert file.stat().st_mode & 0o777 == 0o600
    result = dlq(app, "import", str(file))
    assert (result.exit_code, result.stdout) == (0, "imported 2\n")
    assert [bool(entry.imported_from) for entry in letters.select()] == [False, False, False, True, True]
    undertaker.check()


def test_a_masked_export_says_so_and_cannot_be_imported(app: Celery, undertaker: Undertaker, tmp_path: Path) -> None:
    """Nor does it hold what is secret."""
    undertaker.dead_letter(kwargs={"token": "hunter2"})
    file = tmp_path / "dead.jsonl"
    result = dlq(app, "export", str(file))
    assert (result.exit_code, result.stdout) == (0, "exported 1, with secrets masked: for reading only\n")
    assert "hunter2" not in file.read_text()
    result = dlq(app, "import", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        (
            "Error: line 1 cannot be imported: its secrets are masked, so it is for reading only; "
            "export with --reveal to import"
        )
    ]


@pytest.mark.parametrize("command", ["export", "import"])
def test_files_that_cannot_be_are_one_line(app: Celery, undertaker: Undertaker, tmp_path: Path, command: str) -> None:
    """There already, not there, no text, nowhere."""
    undertaker.dead_letter()
    there = tmp_path / "there"
    there.write_bytes(b"\xff\xfe")
    for path in (there, tmp_path / "no" / "where"):
        result = dlq(app, command, str(path))
        assert result.exit_code in (1, 2)
        assert result.stderr.splitlines()[-1].startswith("Error: ")
        assert "Traceback" not in result.output
    assert there.read_bytes() == b"\xff\xfe"


def test_progress_is_shown_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, app: Celery, undertaker: Undertaker, tmp_path: Path
) -> None:
    """Each page, as a bar where it is known how far it goes."""
    undertaker.dead_letters(501)
    file = str(tmp_path / "dead.jsonl")
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "export", file, "--reveal")
    assert seen.text.split("\r") == ["", f"exported 500 of 501 [{'#' * 19}.]", "exported 501\n"]
    seen = call_celery_at_terminal(monkeypatch, app, "dlq", "import", file)
    assert seen.text.split("\r")[1:] == [
        "imported 200 so far", "imported 400 so far", "imported 501 so far", "imported 501\n"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "args", [["list", "--json"], ["list"], ["list", "--json", "--raw"], ["show"], ["show", "--json"]]
)
def test_no_view_shows_what_is_secret(app: Celery, undertaker: Undertaker, args: list[str]) -> None:
    """Until it is asked for; the message itself is whole."""
    from hardening.core.scripts import Death  # noqa: PLC0415 - only here

    entry_id = undertaker.dead_letter(
        "shop.charge", Death("failed", "E: token=hunter2", 'File "x"\n password = "hunter2"'),
        kwargs={"card": "hunter2"}, headers={"hardening_metadata": {"secret": "hunter2"}},
    )  # fmt: skip
    command = [args[0], *([entry_id] if args[0] == "show" else []), *args[1:]]
    masked = dlq(app, *command)
    assert masked.exit_code == 0
    assert "hunter2" not in masked.output
    assert "***" in masked.output
    assert "hunter2" in dlq(app, *command, "--reveal").output


def test_a_message_that_cannot_be_read_is_masked_as_a_text(app: Celery, undertaker: Undertaker) -> None:
    """As far as it says what it is."""
    entry_id = undertaker.dead_raw(b'{"password": "hunter2", \xff')
    for args in (["show", entry_id], ["show", entry_id, "--json"]):
        assert "hunter2" not in dlq(app, *args).output
    assert json.loads(dlq(app, "show", entry_id, "--json").stdout)["raw_masked"].startswith('{"password": ***, ')
