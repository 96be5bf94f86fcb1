"""``celery -A APP dlq``: the dead-letter queue from the command line.

Every ``celery`` call imports this module, so redis and rich are imported where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from dlq import moves
from dlq.desk import NOTHING, NOUN, desk_of, with_reveal
from dlq.filters import with_filters
from hardening.core.console import Column, as_json, brief_age, counted, one_line, say, say_table

if TYPE_CHECKING:
    from dlq.filters import Filters

__all__ = ["dlq"]

_LIST_LIMIT = 50
_PROBLEMS = 20


@click.group()
@click.pass_context
@handle_preload_options
def dlq(ctx: click.Context) -> None:
    """Look at dead letters, give them back to their queues, delete them, or carry them elsewhere.

    \b
    Exit codes:
      0  done
      1  failed, or done for a part of them only
      2  called in a way that makes no sense, or not confirmed
      3  no dead letter matched (show, replay, purge)
    """  # noqa: D301 - click wants the control character itself


@dlq.command("list", cls=CeleryCommand)
@with_filters
@click.option("--json", "json_", is_flag=True, help="One JSON object a line; all of them unless --limit says less.")
@click.option("--raw", is_flag=True, help="With --json: the raw message as well.")
@with_reveal
@click.pass_context
def list_(ctx: click.Context, *, filters: Filters, json_: bool, raw: bool, reveal: bool) -> None:
    """List dead letters, newest first; 50 unless --limit says otherwise.

    c/r: how many processes the message has killed, and how often its task was retried.
    """
    from dlq.report import LIST_COLUMNS, as_object, as_row, raw_fields  # noqa: PLC0415

    if raw and not json_:
        raise click.UsageError("--raw needs --json")
    with desk_of(ctx) as desk:
        selection = desk.selection(filters, default_limit=None if json_ else _LIST_LIMIT)
        entries = desk.letters.select(selection, newest_first=True)
        redactor = desk.redactor(reveal=reveal)
        if json_:
            for entry in entries:
                say(as_json(as_object(entry, redactor) | (raw_fields(entry, redactor) if raw else {})))
            return
        rows = [as_row(entry, desk.now, redactor) for entry in entries]
        if rows:
            say_table(ctx, LIST_COLUMNS, rows)
        say(f"{len(rows)} shown, {counted(len(desk.letters), NOUN)} in all")


@dlq.command(cls=CeleryCommand)
@click.argument("entry_id", metavar="ID")
@click.option("--json", "json_", is_flag=True, help="As one JSON object, with the raw message.")
@with_reveal
@click.pass_context
def show(ctx: click.Context, *, entry_id: str, json_: bool, reveal: bool) -> None:
    """Show everything about one dead letter; what is secret is masked."""
    from dlq.report import as_object, as_text, content_object, raw_fields  # noqa: PLC0415 - see the head
    from hardening.core.errors import EntryNotFound  # noqa: PLC0415

    with desk_of(ctx) as desk:
        try:
            entry = desk.letters.get(entry_id)
        except EntryNotFound as error:
            say(one_line(str(error)), err=True)
            ctx.exit(NOTHING)
        redactor = desk.redactor(reveal=reveal)
        if json_:
            inside = content_object(entry, redactor)
            say(as_json(as_object(entry, redactor) | inside | raw_fields(entry, redactor), indent=2))
        else:
            for line in as_text(entry, desk.now, redactor):
                say(line)


@dlq.command(cls=CeleryCommand)
@with_filters
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_context
def stats(ctx: click.Context, *, filters: Filters, json_: bool) -> None:
    """Count dead letters by reason, task and queue, and tell the problems behind them, the largest 20.

    first, last: how long ago the first and the last of a kind died.
    """
    from dlq.report import PROBLEM_COLUMNS, problem_row, stats_object  # noqa: PLC0415 - see the head of this module

    with desk_of(ctx) as desk:
        found = desk.letters.stats(desk.selection(filters))
        if json_:
            say(as_json(stats_object(found), indent=2))
            return
        say(counted(found.total, NOUN))
        if found.oldest_ms is None or found.newest_ms is None:
            return
        oldest, newest = (
            brief_age(desk.now.timestamp() - died_ms / 1000) for died_ms in (found.oldest_ms, found.newest_ms)
        )
        say(f"oldest died {oldest} ago, newest {newest} ago")
        for name, counts in (("reason", found.by_reason), ("task", found.by_task), ("queue", found.by_queue)):
            say()
            columns = (Column("count", is_number=True), Column(name, folds=True))
            say_table(ctx, columns, ((count, value) for value, count in counts.items()))
        say()
        now_ms = int(desk.now.timestamp() * 1000)
        say_table(ctx, PROBLEM_COLUMNS, [problem_row(group, now_ms) for group in found.groups[:_PROBLEMS]])


for _command in (moves.replay, moves.purge, moves.export, moves.import_):
    dlq.add_command(_command)
