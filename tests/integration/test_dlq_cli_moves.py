"""``celery -A app dlq replay`` with its bounds, ``export`` and ``import``: one line for every mistake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from dlq.body import read_content
from dlq.replaying import Replayer
from hardening.core.scripts import Death
from tests.integration.cli import dlq
from tests.terminal import call_celery_at_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

    from dlq import DeadLetters
    from tests.undertaker import Undertaker

pytestmark = pytest.mark.one_server


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
        (("--rate", "0"), 2, "0 is not a number a second from 0.001 to 1,000,000"),
        (("--rate", "1e-300"), 2, "1e-300 is not a number a second from"),
        (("--rate", "nan"), 2, "nan is not a number a second from"),
        (("--rate", "inf"), 2, "inf is not a number a second from"),
        (("--rate", "fast"), 2, "'fast' is not a valid float"),
        (("--max-depth", "2", "--dry-run"), 1, "Error: would stop at dead letter "),
        (("--max-depth", "2", "--dry-run"), 1, " would hold 2 messages"),
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
    if command == "import":
        assert dlq(app, command, str(there)).stderr.splitlines()[-1] == f"Error: {there}: it is no text"


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
        f"imported 200 of 501 [{'#' * 7}{'.' * 13}]", f"imported 400 of 501 [{'#' * 15}{'.' * 5}]",
        f"imported 501 of 501 [{'#' * 20}]", "imported 501\n",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), KeyboardInterrupt()], ids=["cut", "ctrl-c"])
def test_what_is_cut_off_says_how_far_it_was(
    app: Celery, undertaker: Undertaker, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """And the rest is there still."""
    undertaker.dead_letters(600)
    begin = Replayer._begin

    def fail_later(self: Any, parts: Any) -> None:
        if self.replayed == 500:
            raise error
        begin(self, parts)

    monkeypatch.setattr(Replayer, "_begin", fail_later)
    result = dlq(app, "replay", "--all")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "replayed 500 before it stopped" in result.stderr.splitlines()
    assert undertaker.check().queued == 500


def test_a_file_with_one_bad_line_is_not_imported_at_all(app: Celery, undertaker: Undertaker, tmp_path: Path) -> None:
    """So that it may be mended and imported whole; a file that is there is not written over, and that is said."""
    undertaker.dead_letters(300)
    file = tmp_path / "dead.jsonl"
    assert dlq(app, "export", str(file), "--reveal").stdout == "exported 300\n"
    again = dlq(app, "export", str(file), "--reveal")
    assert again.stderr == f"Error: {file} is there already and stays as it is: name another\n"
    whole = file.read_text()
    file.write_text(f"{whole}half a line")
    result = dlq(app, "import", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: line 301 cannot be imported: it is no JSON")
    assert undertaker.client.xlen(undertaker.keys.dlq) == 300


def test_what_comes_back_from_a_file_is_the_same_to_the_byte(
    app: Celery, undertaker: Undertaker, letters: DeadLetters, tmp_path: Path
) -> None:
    """Also what is no UTF-8, no JSON and no message; exported again, the files differ by ids alone."""
    raws = [bytes(range(256)), b"", b'{"body": "\xff"}', "\u2028\udfff".encode("utf-8", "surrogatepass")]
    for raw in raws:
        undertaker.dead_raw(raw)
    undertaker.dead_letter("shop.charge", Death("failed", "E: \u00e9\x00\x1b", "tr\nace"))
    before = [entry.fields for entry in letters.select()]
    file = tmp_path / "dead.jsonl"
    assert dlq(app, "export", str(file), "--reveal").exit_code == 0
    assert dlq(app, "purge", "--all", "--yes").exit_code == 0
    assert dlq(app, "import", str(file)).stdout == "imported 5\n"
    after = [dict(entry.fields) for entry in letters.select()]
    for fields in after:
        assert fields.pop(b"imported_from")
    assert [set(fields) for fields in after] == [set(fields) for fields in before]
    assert after == before
    assert [fields[b"raw"] for fields in after[:4]] == raws


@pytest.mark.parametrize(
    "args", [["list", "--json"], ["list"], ["list", "--json", "--raw"], ["show"], ["show", "--json"]]
)
def test_no_view_shows_what_is_secret(app: Celery, undertaker: Undertaker, args: list[str]) -> None:
    """Until it is asked for; the message itself is whole."""
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
