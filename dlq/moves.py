"""The commands of ``celery dlq`` that change something, or write files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import CeleryCommand

from dlq.desk import NOUN, desk_of, finish, progress, with_reveal
from dlq.filters import Chosen, with_choice, with_filters
from hardening.core.console import counted, one_line, say

if TYPE_CHECKING:
    from dlq.filters import Filters

__all__ = ["export", "import_", "purge", "replay"]

_WRITTEN_AT_ONCE = 500
#: What a rate may be, a second.
_SLOWEST, _FASTEST = 0.001, 1_000_000


def _kwargs(_ctx: click.Context, _param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, Any]:
    """``name=value``: the value is JSON where it is JSON, and text where it is not."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _rate(_ctx: click.Context, _param: click.Parameter, rate: float | None) -> float | None:
    if rate is not None and not _SLOWEST <= rate <= _FASTEST:  # nan is neither
        raise click.BadParameter(f"{rate:g} is not a number a second from {_SLOWEST:g} to {_FASTEST:,}")
    return rate


@click.command(cls=CeleryCommand)
@with_choice
@click.option("--rate", type=float, metavar="N", callback=_rate, help="At most so many a second.")
@click.option("--dry-run", is_flag=True, help="Move nothing, say how many would be.")
@click.option("--to-queue", metavar="NAME", help="Where they go, instead of where they came from.")
@click.option(
    "--set-kwarg", "set_kwargs", multiple=True, metavar="NAME=VALUE", callback=_kwargs,
    help="Change an argument of the task; JSON, or else text. May be repeated.",
)  # fmt: skip
@click.option(
    "--max-depth", "max_queue", type=click.IntRange(min=0), metavar="N",
    help="Stop before a queue holds more messages than this, and say where.",
)  # fmt: skip
@click.pass_context
def replay(ctx: click.Context, /, *, ids: tuple[str, ...], filters: Filters, dry_run: bool, **how: Any) -> None:
    """Give dead letters back to their queues, oldest first, with fresh retries and no crashes."""
    verb = "would replay" if dry_run else "replayed"
    with desk_of(ctx) as desk:
        chosen = Chosen(desk.letters, ids, desk.selection(filters))
        with progress(verb, chosen.expected()) as show:
            done = desk.letters.replay(chosen, dry_run=dry_run, on_progress=show, **how)
        finish(ctx, verb, done, chosen)


@click.command(cls=CeleryCommand)
@with_choice
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def purge(ctx: click.Context, *, ids: tuple[str, ...], filters: Filters, yes: bool) -> None:
    """Delete dead letters for good."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody is there to confirm: add --yes to delete them for good")
    with desk_of(ctx) as desk:
        chosen = Chosen(desk.letters, ids, desk.selection(filters))
        count = chosen.expected() if yes else chosen.count()
        if count and not yes and not click.confirm(f"Delete {counted(count, NOUN)} for good?"):
            ctx.exit(click.UsageError.exit_code)
        with progress("purged", count) as show:
            done = desk.letters.purge(chosen, on_progress=show)
        finish(ctx, "purged", done, chosen)


@click.command(cls=CeleryCommand)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_filters
@with_reveal
@click.pass_context
def export(ctx: click.Context, *, file: Path, filters: Filters, reveal: bool) -> None:
    """Write dead letters to FILE, which must not exist, as lines of JSON. Only its owner may read it.

    Secrets are masked, which makes it a file for people; one that is to be imported is written with --reveal.
    """
    with desk_of(ctx) as desk:
        chosen = Chosen(desk.letters, (), desk.selection(filters))
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as sink, progress("exported", chosen.expected()) as show:
                for written, line in enumerate(desk.letters.export(chosen, reveal=reveal), 1):
                    sink.write(f"{line}\n")
                    if written % _WRITTEN_AT_ONCE == 0:
                        show(written)
        except FileExistsError as error:
            raise click.ClickException(one_line(f"{file} is there already and stays as it is: name another")) from error
        except OSError as error:
            raise click.ClickException(one_line(f"{file}: {error.strerror}")) from error
        say(f"exported {chosen.seen}" + ("" if reveal else ", with secrets masked: for reading only"))


@click.command("import", cls=CeleryCommand)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.pass_context
def import_(ctx: click.Context, *, file: Path) -> None:
    """Take exported dead letters in again, from FILE. They come as new ones that know their old ids.

    Nothing is taken in if any of its lines is at fault. A file that is imported twice is taken in twice.
    """
    with desk_of(ctx) as desk:
        try:
            with file.open(encoding="utf-8", errors="strict") as lines:
                count = desk.letters.check_import(lines)
                lines.seek(0)
                with progress("imported", count) as show:
                    done = desk.letters.import_(lines, on_progress=show)
        except OSError as error:
            raise click.ClickException(one_line(f"{file}: {error.strerror}")) from error
        except UnicodeDecodeError as error:
            raise click.ClickException(one_line(f"{file}: it is no text")) from error
        say(f"imported {done}")
