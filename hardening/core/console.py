"""What the command lines share: whom they ask, failures in one line, and text that is safe to show.

Whatever stands in Redis was written by others, and a terminal obeys what is printed on it. So all of it goes
through :func:`printable`, or out as ASCII JSON; none of it is ever read as markup.

Every ``celery`` call imports this module: click, redis and rich are imported where they are used.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from celery import Celery
    from click import Context
    from redis import Redis

    from hardening.core.settings import Settings

__all__ = [
    "Column",
    "Deployment",
    "as_json",
    "brief_age",
    "counted",
    "deployment_of",
    "one_line",
    "printable",
    "say",
    "say_rows",
    "say_table",
    "shortened",
]

#: A table is never narrower than this: on a narrower terminal its lines wrap, but nothing is cut off.
_MIN_WIDTH = 72
#: Wide enough that a table that goes to a file or a pipe keeps one line for each row.
_UNBOUND_WIDTH = 100_000
_AGES = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class Deployment(NamedTuple):
    """The app that a command is for, its settings, and a client of its Redis whose replies are bytes."""

    app: Celery
    settings: Settings
    client: Redis


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: its heading.
        is_number: set to the right.
        folds: may take several lines; others keep their width.
        max_share: at most this part of the terminal's width, or what the other columns leave, and the rest is cut; 0:
            all is shown.
    """

    name: str
    is_number: bool = False
    folds: bool = False
    max_share: float = 0.0


@contextmanager
def deployment_of(ctx: Context) -> Iterator[Deployment]:
    """The deployment that ``celery -A`` names. What goes wrong in the block ends the command with one line.

    Raises:
        click.UsageError: no app was named.
        click.ClickException: the app is not hardened, or Redis is away, refuses or is full; exit code 1.
    """
    from click import ClickException, UsageError  # noqa: PLC0415 - see the head of this module
    from kombu.exceptions import OperationalError  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    from hardening.core.deployment import client_of, is_hardened, settings_of  # noqa: PLC0415
    from hardening.core.errors import HardeningError  # noqa: PLC0415

    app = ctx.obj.app
    if ctx.find_root().params.get("app") is None and not is_hardened(app):
        command = ctx.command_path.removeprefix(ctx.find_root().command_path)
        raise UsageError(f"no app was named: call celery -A YOUR_APP{command}")
    try:
        yield Deployment(app, settings_of(app), client_of(app))
    except HardeningError as error:
        raise ClickException(one_line(str(error))) from error
    except (RedisError, OperationalError) as error:
        raise ClickException(_redis_failure(error)) from error


def _redis_failure(error: Exception) -> str:
    text = one_line(str(error)) or type(error).__name__
    if "OOM" in text or type(error).__name__ == "OutOfMemoryError":
        return f"Redis is full, free memory or raise maxmemory: {text}"
    return f"Redis could not be asked: {text}"


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with everything written out that a terminal would obey or hide: ``\x1b``, ``\u202e``.

    Args:
        text: not trusted.
        lines: line feeds stay, and tabs become spaces.
    """
    if lines:
        return "\n".join(printable(line) for line in text.expandtabs(4).split("\n"))
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _written_out(char) for char in text)


def _written_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """The text on one line, safe to show."""
    return printable(" ".join(text.split()))


def shortened(text: str, length: int) -> str:
    """The beginning of a text, at most ``length`` characters with the ellipsis that marks the cut."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def brief_age(seconds: float) -> str:
    """A length of time in one unit, as people say it: ``12s``, ``3m``, ``2h``, ``5d``."""
    whole = max(0, int(seconds))
    size, unit = next((size, unit) for size, unit in _AGES if whole >= size or size == 1)
    return f"{whole // size}{unit}"


def counted(count: int, noun: str) -> str:
    """A number and what it counts: ``1 message``, ``2 messages``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def as_json(value: Mapping[str, object], *, indent: int | None = None) -> str:
    """An object as ASCII JSON, in which control characters are escaped.

    A field that is nested too deeply to be written is replaced by a remark.
    """
    return json.dumps({name: _shallow(field, indent) for name, field in value.items()}, indent=indent)


def _shallow(field: object, indent: int | None) -> object:
    try:
        json.dumps(field, indent=indent)
    except RecursionError:
        return "(nested too deeply to be shown)"
    return field


def say(text: str = "", *, err: bool = False) -> None:
    """Prints text that is safe to show, in whatever encoding the terminal has."""
    import click  # noqa: PLC0415 - see the head of this module

    encoding = (sys.stderr if err else sys.stdout).encoding or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err)


def say_table(ctx: Context, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table as wide as the terminal; for a file or a pipe, one line for each row.

    Args:
        ctx: knows whether colours are wanted.
        columns: what each row has.
        rows: their texts are not trusted.
    """
    from rich.console import Console  # noqa: PLC0415 - see the head of this module
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    width = max(_MIN_WIDTH, _width())
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    left = width - sum(_natural_width(columns, cells, at) for at, column in enumerate(columns) if not column.max_share)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.name),
            justify="right" if column.is_number else "left",
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
            max_width=max(int(width * column.max_share), left) if column.max_share else None,
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console(width=width, no_color=ctx.obj.no_color, highlight=False)
    with console.capture() as capture:
        console.print(table)
    say("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def say_rows(ctx: Context, columns: Sequence[Column], rows: Sequence[Sequence[object]], noun: str) -> None:
    """Prints a table, unless it is empty, and how many rows it has; see :func:`say_table`."""
    if rows:
        say_table(ctx, columns, rows)
    say(counted(len(rows), noun))


def _natural_width(columns: Sequence[Column], cells: Sequence[Sequence[str]], at: int) -> int:
    """What a column takes with the space after it if nothing in it is folded."""
    from rich.cells import cell_len  # noqa: PLC0415 - see the head of this module

    return max(cell_len(columns[at].name), *(cell_len(row[at]) for row in cells), 0) + 1


def _width() -> int:
    if sys.stdout.isatty():
        return os.get_terminal_size(sys.stdout.fileno()).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() else _UNBOUND_WIDTH
