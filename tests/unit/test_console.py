"""What the command lines share: failures in one line, and text that cannot harm a terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import click
import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from hardening import harden
from hardening.core.console import (
    Column,
    as_json,
    brief_age,
    counted,
    deployment_of,
    one_line,
    printable,
    say,
    say_table,
    shortened,
)
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from click.testing import Result


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 [bold]", "plain é 漢 [bold]"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31mred", r"\x9b31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\nc\td\x00\x7f", r"a\rb\nc\td\x00\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("half a \ud83d", r"half a \ud83d"),
        ("zero\u200bwidth\U000e0041", r"zero\u200bwidth\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    """Escape sequences, C1 codes, reversed text, invisible letters, broken surrogates."""
    assert printable(text) == shown


def test_lines_can_be_kept() -> None:
    """For tracebacks: line feeds stay and tabs become spaces, all else is written out."""
    assert printable("a\n\tb\x1b\r\nc", lines=True) == "a\n    b\\x1b\\r\nc"


@given(st.text())
def test_no_text_gets_through_that_is_not_printable(text: str) -> None:
    """Whatever it is, what comes out is harmless, and one line is one line."""
    assert printable(text).isprintable()
    assert one_line(text).isprintable()
    assert all(line.isprintable() for line in printable(text, lines=True).split("\n"))


def test_one_line_joins_lines() -> None:
    """White space becomes single spaces."""
    assert one_line(" a\n\n  b\tc\x1b ") == r"a b c\x1b"


@pytest.mark.parametrize(("text", "short"), [("", ""), ("abcd", "abcd"), ("abcde", "abc…")])
def test_a_cut_is_marked(text: str, short: str) -> None:
    """What fits stays whole."""
    assert shortened(text, 4) == short


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-3, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86_400, "1d"), (1e9, "11574d")],
)
def test_an_age_has_one_unit(seconds: float, age: str) -> None:
    """As people say it; the future is now."""
    assert brief_age(seconds) == age


def test_one_is_singular() -> None:
    """And everything else is plural."""
    assert [counted(count, "message") for count in range(3)] == ["0 messages", "1 message", "2 messages"]


def test_json_is_ascii_and_escaped() -> None:
    """So that it can be printed as it is, and read back exactly."""
    value = {"text": "\x1b[31m é \x7f \u202e \ud800"}
    text = as_json(value)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == value


@pytest.mark.parametrize("indent", [None, 2])
def test_json_leaves_out_what_is_too_deep(indent: int | None) -> None:
    """One hostile field does not hide the others."""
    deep: Any = None
    for _ in range(100_000):
        deep = [deep]
    found = json.loads(as_json({"deep": deep, "id": 1}, indent=indent))
    assert found == {"deep": "(nested too deeply to be shown)", "id": 1}
    while deep:  # or taking it apart would be too deep in its turn
        deep = deep.pop()


def test_a_terminal_without_unicode_gets_escapes() -> None:
    """Where Python would raise."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with redirect_stdout(screen), redirect_stderr(screen):
        say("é…")
        say("ü", err=True)
    assert screen.buffer.getvalue() == b"\\xe9\\u2026\n\\xfc\n"


def call(block: Any, *, app: Celery | None, named: bool = True) -> Result:
    """Runs a block under :func:`deployment_of`, as the command ``celery -A app group command``."""

    @click.group()
    @click.option("--app", type=click.UNPROCESSED)
    @click.pass_context
    def celery(ctx: click.Context, /, **_: object) -> None:
        ctx.obj = CLIContext(app or Celery("default", set_as_current=False), no_color=False, workdir=None)

    @celery.group()
    def group() -> None:
        pass

    @group.command()
    @click.pass_context
    def command(ctx: click.Context) -> None:
        with deployment_of(ctx) as deployment:
            block(deployment)

    chosen = {"app": app} if named else {}
    return CliRunner().invoke(celery, ["group", "command"], default_map=chosen, catch_exceptions=False)


@pytest.fixture
def app() -> Celery:
    """A hardened app whose Redis nobody has started."""
    return harden(Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False))


def failing(error: Exception) -> Any:
    """A block that raises."""

    def block(_: object) -> None:
        raise error

    return block


def test_a_command_gets_app_settings_and_client(app: Celery) -> None:
    """Nothing is asked of Redis before the command does."""
    found: list[Any] = []
    assert call(found.append, app=app).exit_code == 0
    assert found[0].app is app
    assert found[0].settings.prefix == "hardening"
    assert found[0].client.connection_pool.connection_kwargs["port"] == 1


def test_without_an_app_the_error_says_how_to_name_one() -> None:
    """With the very command that was meant."""
    result = call(print, app=None, named=False)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: no app was named: call celery -A YOUR_APP group command"


def test_an_app_that_is_current_need_not_be_named(app: Celery) -> None:
    """As when a program calls Celery's command line itself."""
    assert call(lambda _: None, app=app, named=False).exit_code == 0


def test_an_app_that_is_not_hardened_is_refused() -> None:
    """In one line that says what is missing."""
    result = call(print, app=Celery("plain", set_as_current=False))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == ("Error: the app 'plain' is not hardened: call hardening.harden(app) where it is made\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError(["a\x1b", "b"]), r"2 faults in the configuration: - a\x1b - b"),
        (RedisConnectionError("Error 111 connecting"), "Redis could not be asked: Error 111 connecting"),
        (RedisConnectionError(), "Redis could not be asked: ConnectionError"),
        (OperationalError("timed\nout"), "Redis could not be asked: timed out"),
        (OutOfMemoryError("command not allowed"), "Redis is full, free memory or raise maxmemory: command not allowed"),
        (
            ResponseError("Error running script: -OOM command not allowed"),
            "Redis is full, free memory or raise maxmemory: Error running script: -OOM command not allowed",
        ),
    ],
)
def test_a_failure_is_one_line_on_stderr(app: Celery, error: Exception, line: str) -> None:
    """Never a traceback."""
    result = call(failing(error), app=app)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {line}\n")


def test_a_bug_is_not_dressed_up(app: Celery) -> None:
    """Only what is foreseen becomes a line."""
    with pytest.raises(ZeroDivisionError):
        call(failing(ZeroDivisionError()), app=app)


def table(rows: list[tuple[object, ...]], **environ: str) -> list[str]:
    """The lines of a table that goes to a pipe."""

    @click.command()
    @click.pass_context
    def command(ctx: click.Context) -> None:
        ctx.obj = CLIContext(Celery("shop", set_as_current=False), no_color=True, workdir=None)
        columns = (
            Column("id"),
            Column("n", is_number=True),
            Column("task", folds=True),
            Column("error", max_share=0.2),
        )
        say_table(ctx, columns, rows)

    return CliRunner().invoke(command, env=environ, catch_exceptions=False).stdout.splitlines()


def test_a_piped_table_has_one_line_a_row() -> None:
    """However long it gets; nothing is cut, and no line ends in spaces."""
    assert table([("1-0", 5, "t" * 100, "e" * 100), ("2-0", 10, "s", "")]) == [
        f"id   n {'task':<100} error",
        f"1-0  5 {'t' * 100} {'e' * 100}",
        "2-0 10 s",
    ]


def test_a_table_can_be_told_its_width() -> None:
    """By COLUMNS: names fold, errors are cut, ids and numbers stay whole."""
    lines = table([("1-0", 5, "t" * 100, "e" * 100)], COLUMNS="80")
    assert lines == [
        f"id  n {'task':<57} error",
        f"1-0 5 {'t' * 57} {'e' * 15}…",
        f"      {'t' * 43}",
    ]


def test_an_error_has_the_room_that_others_leave() -> None:
    """Where there is any."""
    lines = table([("1-0", 5, "task", "e" * 100)], COLUMNS="80")
    assert lines == ["id  n task error", f"1-0 5 task {'e' * 68}…"]


def test_a_narrow_table_cuts_no_ids() -> None:
    """It is wider than the terminal instead."""
    assert table([("1700000000000-0", 5, "t", "e")], COLUMNS="10")[1] == "1700000000000-0 5 t    e"


def test_cells_are_neither_markup_nor_commands() -> None:
    """They come from others."""
    assert table([("[red]x[/red]", ":smile:", "\x1b[2J", "a\nb")])[1] == r"[red]x[/red] :smile: \x1b[2J a b"


def test_no_celery_call_pays_for_ours() -> None:
    """The entry points load without redis, rich or pydantic."""
    code = (
        "import sys, dlq.cli, hardening.cli.commands; "
        "print([name for name in ('redis', 'rich', 'pydantic', 'tenacity') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60)
    assert shown.stdout == "[]\n"
