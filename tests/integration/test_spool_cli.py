"""``celery -A app spool``: what is kept, without secrets; publishing it by hand, and deleting it on purpose."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.bin.celery import celery

from hardening import harden
from hardening.cli.spool import spool as spool_command
from hardening.delivery.fallback import fallback_of
from tests.integration.cli import objects
from tests.integration.spooling import publication, receipts
from tests.integration.stage import State
from tests.terminal import call_celery, call_celery_at_terminal

if TYPE_CHECKING:
    from click.testing import Result

    from hardening.delivery.publication import Publication
    from hardening.delivery.spool import Spool
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server

#: What must never reach a terminal; and what must not be shown to whoever looks over a shoulder.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e[bold red]x[/bold red]\r\n"


@pytest.fixture(autouse=True)
def command() -> None:
    """The command is there whether or not the project was installed since it has it."""
    celery.add_command(spool_command)


@pytest.fixture
def away(prefix: str, queue: str) -> Celery:
    """An app whose Redis is not there."""
    app = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.update(task_default_queue=queue, hardening_prefix=prefix)
    return harden(app)


def call(app: Celery | None, *args: str) -> Result:
    """Calls ``celery -A app spool ...``."""
    return call_celery(app, "spool", *args)


def fill(app: Celery, count: int, queue: str = "q", **options: Any) -> list[Publication]:
    """Puts messages into the app's spool."""
    put = [publication(queue, **options) for _ in range(count)]
    for one in put:
        spool_of(app).put(one)
    return put


def spool_of(app: Celery) -> Spool:
    """The app's spool."""
    return fallback_of(app).spool


def set_aside(app: Celery, *messages: Publication, error: str = "WRONGTYPE") -> None:
    """As a flush that was refused."""
    ids = {one.receipt for one in messages}
    spool_of(app).settle([], refused=[(row.seq, error) for row in spool_of(app).batch() if row.receipt in ids])


def test_the_help_documents_the_exit_codes(away: Celery) -> None:
    """All four."""
    lines = [line.strip() for line in call(away, "--help").stdout.splitlines()]
    assert [line[:3] for line in lines if line[:1].isdigit()] == ["0  ", "1  ", "2  ", "3  "]


@pytest.mark.parametrize("args", [["list"], ["flush"], ["purge", "--all", "--yes"]])
def test_without_a_hardened_app_it_says_so(args: list[str]) -> None:
    """One line, and what to do."""
    nobody = call(None, *args)
    assert (nobody.exit_code, nobody.stdout) == (2, "")
    assert "no app was named: call celery -A YOUR_APP spool" in nobody.stderr
    plain = call(Celery("plain", broker="redis://127.0.0.1:1/0", set_as_current=False), *args)
    assert (plain.exit_code, plain.stdout) == (1, "") or "no app was named" in plain.stderr
    assert "Traceback" not in plain.output


def test_an_empty_spool_is_two_lines(away: Celery) -> None:
    """And no file."""
    result = call(away, "list")
    path = spool_of(away).path
    assert result.exit_code == 0
    assert result.stdout == f"0 shown, 0 messages waiting, 0 set aside, 0 bytes in all\nin {path}\n"
    assert call(away, "list", "--json").stdout == ""
    assert not path.exists()


def test_a_list_tells_what_waits_and_why_without_redis(away: Celery) -> None:
    """Oldest first; what is set aside is marked."""
    first, second = fill(away, 2, "orders")
    set_aside(away, second)
    result = call(away, "list")
    head, one, two, total, _ = [line.split() for line in result.stdout.splitlines()]
    assert head == ["id", "age", "task", "queue", "bytes", "t", "error"]
    sizes = [str(row.size) for row in spool_of(away).messages()]
    assert one == [first.receipt, "0s", "shop.charge", "orders", sizes[0], "0"]
    assert two == [second.receipt, "0s", "shop.charge", "orders", sizes[1], "1", "!", "WRONGTYPE"]
    assert " ".join(total) == f"2 shown, 1 message waiting, 1 set aside, {sum(map(int, sizes))} bytes in all"
    assert [each["id"] for each in objects(call(away, "list", "--json", "--limit", "1"))] == [first.receipt]
    (refused,) = objects(call(away, "list", "--json", "--refused"))
    about = spool_of(away).messages(refused=True)[0]
    assert refused == {
        "id": second.receipt, "task": "shop.charge", "task_id": second.receipt, "queue": "orders", "due_ms": 0,
        "spooled_ms": about.spooled_ms, "bytes": about.size, "attempts": 1, "error": "WRONGTYPE",
        "is_refused": True, "is_uncertain": False,
    }  # fmt: skip


def test_a_list_shows_fifty_unless_told_otherwise(away: Celery) -> None:
    """To programs, all."""
    fill(away, 60)
    assert call(away, "list").stdout.splitlines()[-2].startswith("50 shown, 60 messages waiting")
    assert len(objects(call(away, "list", "--json"))) == 60


def test_no_body_is_shown_and_hostile_text_is_harmless(away: Celery) -> None:
    """Neither to people nor to programs."""
    (one,) = fill(away, 1, HOSTILE, task=HOSTILE, padding=500)
    set_aside(away, one, error=HOSTILE)
    for args in (["list"], ["list", "--json"]):
        result = call(away, *args)
        assert all(line.isprintable() for line in result.output.split("\n"))
        assert "xxx" not in result.output


def test_a_list_fits_a_terminal(away: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns."""
    fill(away, 2, "some.long.queue.name", task="a.very.long.package.and.module.and.task")
    set_aside(away, *[row.publication for row in spool_of(away).batch()], error="an error that is quite long " * 4)
    seen = call_celery_at_terminal(monkeypatch, away, "spool", "list")
    table = [line for line in seen.lines if " waiting, " not in line and not line.startswith("in /")]
    assert max(len(line) for line in table) <= 80
    assert [row.receipt in seen.text for row in spool_of(away).messages()] == [True, True]


def test_messages_of_other_brokers_are_mentioned_and_adopted_on_request(app: Celery, away: Celery) -> None:
    """Two apps of one prefix on one host; or one whose Redis has moved."""
    (theirs,) = fill(away, 1, app.conf.task_default_queue)
    told = call(app, "list").stdout.splitlines()[0]
    assert told.startswith("0 shown, 0 messages waiting")
    assert told.endswith("1 for other brokers, see flush --adopt")
    assert call(app, "flush").stdout == "flushed 0 messages, 0 set aside, 0 left\n"
    assert call(app, "flush", "--adopt").stdout == "flushed 1 message, 0 set aside, 0 left\n"
    assert receipts(spool_of(away)) == []
    assert theirs.receipt


def test_a_flush_publishes_what_waits(app: Celery, stage: Stage) -> None:
    """In order, and says how much."""
    put = fill(app, 3, f"{stage.prefix}.q")
    result = call(app, "flush")
    assert (result.exit_code, result.stdout) == (0, "flushed 3 messages, 0 set aside, 0 left\n")
    assert stage.state() == State(queued={"q": [one.receipt for one in put]}, rung={"q"})
    assert stage.ledger().counters == {"published": 3}


def test_what_was_set_aside_is_flushed_when_asked_for(app: Celery, stage: Stage) -> None:
    """By its id, or all of it."""
    one, two, three = fill(app, 3, f"{stage.prefix}.q")
    set_aside(app, one, two, three)
    assert call(app, "flush").stdout == "flushed 0 messages, 0 set aside, 0 left\n"
    assert call(app, "flush", two.receipt).stdout == "flushed 1 message, 0 set aside, 0 left\n"
    nobody = call(app, "flush", "nobody")
    assert (nobody.exit_code, nobody.stderr) == (3, "no message of these ids is set aside\n")
    assert call(app, "flush", "--refused").stdout == "flushed 2 messages, 0 set aside, 0 left\n"
    assert stage.state().queued == {"q": [two.receipt, one.receipt, three.receipt]}


def test_a_flush_that_is_refused_exits_so(app: Celery, stage: Stage) -> None:
    """A part of it was done."""
    stage.client.set(f"{stage.prefix}.bad", "a string")
    fill(app, 1, f"{stage.prefix}.bad")
    fill(app, 1, f"{stage.prefix}.q")
    result = call(app, "flush")
    assert (result.exit_code, result.stdout) == (1, "flushed 1 message, 1 set aside, 0 left\n")


def test_a_flush_without_redis_says_so(away: Celery) -> None:
    """In one line; nothing is lost."""
    fill(away, 2)
    result = call(away, "flush")
    assert (result.exit_code, result.stdout) == (1, "flushed 0 messages, 0 set aside, 2 left\n")
    assert result.stderr.startswith("Error: ConnectionError: ")
    assert "\n" not in result.stderr.rstrip("\n")
    assert len(receipts(spool_of(away))) == 2


@pytest.mark.parametrize("args", [["flush"], ["purge", "--all", "--yes"]])
def test_while_another_flushes_it_says_so(away: Celery, monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    """After a while, and touches nothing."""
    monkeypatch.setattr("hardening.cli.spool._PATIENCE_S", 0.1)
    fill(away, 2)
    with spool_of(away).flushing() as alone:
        assert alone
        result = call(away, *args)
    assert result.exit_code == 1
    assert "another process is flushing this spool" in result.stderr
    assert len(receipts(spool_of(away))) == 2


def test_purging_needs_to_be_told_which(away: Celery) -> None:
    """One way of saying it, and a word of consent."""
    fill(away, 1)
    for args in ([], ["--all", "--refused"], ["x", "--all"]):
        result = call(away, "purge", "--yes", *args)
        assert (result.exit_code, "say which: ids, or --refused, or --all" in result.stderr) == (2, True)
    unsure = call(away, "purge", "--all")
    assert unsure.exit_code == 2
    assert "nobody is there to confirm: add --yes to delete them for good" in unsure.stderr
    assert len(receipts(spool_of(away))) == 1


def test_purging_deletes_what_was_meant(away: Celery) -> None:
    """Those named, those set aside, all; nothing is its own exit code."""
    one, two, three, four = fill(away, 4)
    set_aside(away, two)
    part = call(away, "purge", one.receipt, "nobody", "--yes")
    assert (part.exit_code, part.stdout) == (1, "purged 1 message\n")
    assert call(away, "purge", "--refused", "--yes").stdout == "purged 1 message\n"
    assert receipts(spool_of(away)) == [three.receipt, four.receipt]
    assert call(away, "purge", "--all", "--yes").stdout == "purged 2 messages\n"
    none = call(away, "purge", "--all", "--yes")
    assert (none.exit_code, none.stderr) == (3, "no spooled message matched\n")


def test_purging_asks_at_a_terminal(away: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes no for an answer."""
    fill(away, 2)
    no = call_celery_at_terminal(monkeypatch, away, "spool", "purge", "--all", typed="n\n")
    assert no.exit_code == 2
    assert "Delete 2 messages for good?" in no.text
    assert len(receipts(spool_of(away))) == 2
    yes = call_celery_at_terminal(monkeypatch, away, "spool", "purge", "--all", typed="y\n")
    assert yes.exit_code == 0
    assert yes.lines[-1].endswith("purged 2 messages")


@pytest.mark.parametrize("args", [["list"], ["list", "--json"], ["flush"], ["purge", "--all", "--yes"]])
def test_a_damaged_file_is_one_line(away: Celery, args: list[str]) -> None:
    """With its name and what to do, and no traceback."""
    path = spool_of(away).path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk" * 2000)
    result = call(away, *args)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: the spool {path} cannot be read, it is damaged or not a spool")
    assert len(result.stderr.splitlines()) == 1


def test_looking_does_not_flush(app: Celery, stage: Stage) -> None:
    """Neither a list nor a purge starts the flusher."""
    fill(app, 3, f"{stage.prefix}.q")
    call(app, "list")
    call(app, "purge", "nobody", "--yes")
    assert len(receipts(spool_of(app))) == 3
    assert json.loads(json.dumps(stage.ledger().counters)) == {}
