"""``celery -A APP spool``: what this host keeps for a Redis that is away.

Every ``celery`` call imports this module, so redis and rich are imported where they are used.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import CeleryCommand, handle_preload_options

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
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.delivery.fallback import Fallback
    from hardening.delivery.spool import Spooled, SpoolTotals

__all__ = ["spool"]

_LIST_LIMIT = 50
_FAILED, _NOTHING = 1, 3
_NOUN = "message"
#: How long another flusher may hold the spool, in seconds.
_PATIENCE_S = 10.0
_ERROR_LENGTH = 80
#: t: how often a flush of it failed; !: it is set aside.
_COLUMNS = (
    Column("id"),
    Column("age", is_number=True),
    Column("task", folds=True),
    Column("queue", folds=True),
    Column("bytes", is_number=True),
    Column("t", is_number=True),
    Column("error", max_share=1 / 6),
)


@click.group()
@click.pass_context
@handle_preload_options
def spool(ctx: click.Context) -> None:
    """Look at what this host keeps for a Redis that is away, publish it, or delete it.

    \b
    Exit codes:
      0  done
      1  failed, or done for a part of them only
      2  called in a way that makes no sense, or not confirmed
      3  no spooled message matched (flush ID, purge)
    """  # noqa: D301 - click wants the control character itself


@contextmanager
def _fallback_of(ctx: click.Context) -> Iterator[Fallback]:
    with deployment_of(ctx) as deployment:
        from hardening.delivery.fallback import Fallback  # noqa: PLC0415 - see the head of this module

        yield Fallback(deployment.app)  # one of its own, whose flusher is not started


@spool.command("list", cls=CeleryCommand)
@click.option("--refused", is_flag=True, help="Only those set aside.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.option("--json", "json_", is_flag=True, help="One JSON object a line; all of them unless --limit says less.")
@click.pass_context
def list_(ctx: click.Context, *, refused: bool, limit: int | None, json_: bool) -> None:
    """List spooled messages, oldest first, without their arguments; 50 unless --limit says otherwise.

    t: how often a flush of it failed. An error that begins with ! set the message aside.
    """
    with _fallback_of(ctx) as fallback:
        found = fallback.spool.messages(limit or (None if json_ else _LIST_LIMIT), refused=refused)
        if json_:
            for spooled in found:
                say(as_json(_as_object(spooled)))
            return
        if found:
            say_table(ctx, _COLUMNS, [_as_row(spooled) for spooled in found])
        say(f"{len(found)} shown, {_in_all(fallback.spool.totals())}")
        say(f"in {printable(str(fallback.spool.path))}")


@spool.command(cls=CeleryCommand)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--refused", is_flag=True, help="Those set aside as well; ids name some of them.")
@click.option("--adopt", is_flag=True, help="Also what is for other brokers: their Redis has moved to this one.")
@click.pass_context
def flush(ctx: click.Context, *, ids: tuple[str, ...], refused: bool, adopt: bool) -> None:
    """Publish what is spooled, now; with ids, put those that were set aside back into the line first."""
    with _fallback_of(ctx) as fallback:
        if ids or refused:
            back = fallback.spool.retry_refused(ids or None)
            if ids and not back:
                say("no message of these ids is set aside", err=True)
                ctx.exit(_NOTHING)
        if adopt:
            fallback.spool.adopt()
        report = fallback.flusher.run_once(patience_s=_PATIENCE_S)
        say(f"flushed {counted(report.flushed, _NOUN)}, {report.refused} set aside, {report.left} left")
        if report.is_elsewhere:
            raise click.ClickException("another process is flushing this spool")
        if report.error:
            raise click.ClickException(one_line(report.error))
        if report.refused:
            ctx.exit(_FAILED)


@spool.command(cls=CeleryCommand)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--refused", is_flag=True, help="Those set aside.")
@click.option("--all", "all_", is_flag=True, help="Every message, published or not.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def purge(ctx: click.Context, *, ids: tuple[str, ...], refused: bool, all_: bool, yes: bool) -> None:
    """Delete spooled messages for good: nobody else has them."""
    if [bool(ids), refused, all_].count(True) != 1:
        raise click.UsageError("say which: ids, or --refused, or --all")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody is there to confirm: add --yes to delete them for good")
    with _fallback_of(ctx) as fallback:
        totals = fallback.spool.totals()
        count = len(set(ids)) or totals.refused + (totals.waiting if all_ else 0)
        if count and not yes and not click.confirm(f"Delete {counted(count, _NOUN)} for good?"):
            ctx.exit(click.UsageError.exit_code)
        purged = 0
        if fallback.spool.path.exists():
            with fallback.spool.flushing(_PATIENCE_S) as is_alone:
                if not is_alone:
                    raise click.ClickException("another process is flushing this spool: try again, or stop it")
                purged = fallback.spool.purge(ids or None, refused=refused)
        if not purged:
            say("no spooled message matched", err=True)
            ctx.exit(_NOTHING)
        say(f"purged {counted(purged, _NOUN)}")
        if ids and purged < len(set(ids)):
            ctx.exit(_FAILED)


def _in_all(totals: SpoolTotals) -> str:
    text = f"{counted(totals.waiting, _NOUN)} waiting, {totals.refused} set aside, {totals.bytes} bytes in all"
    return f"{text}; {totals.foreign} for other brokers, see flush --adopt" if totals.foreign else text


def _as_row(spooled: Spooled) -> tuple[object, ...]:
    error = f"{'! ' if spooled.is_refused else ''}{one_line(spooled.error)}"[:_ERROR_LENGTH]
    about = spooled.publication
    return (
        spooled.receipt, brief_age(spooled.age_s), about.task, about.queue, spooled.size, spooled.attempts, error
    )  # fmt: skip


def _as_object(spooled: Spooled) -> dict[str, Any]:
    about = spooled.publication
    return {
        "id": spooled.receipt,
        "task": about.task,
        "task_id": about.fields.get("task_id", ""),
        "queue": about.queue,
        "due_ms": about.due_ms,
        "spooled_ms": spooled.spooled_ms,
        "bytes": spooled.size,
        "attempts": spooled.attempts,
        "error": spooled.error,
        "is_refused": spooled.is_refused,
        "is_uncertain": spooled.is_uncertain,
    }
