"""``celery -A APP schedules``: what beats send, and when, from the command line.

Every ``celery`` call imports this module, so redis, pydantic and rich are imported where they are used.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from beat_schedules.asked import with_definition, with_name
from hardening.core.console import Column, as_json, brief_age, deployment_of, one_line, printable, say, say_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beat_schedules.entry import Entry, Past
    from beat_schedules.schedules import Schedules

__all__ = ["schedules"]

_MISSING, _SICK = 3, 1
_ENTRIES = (
    Column("name", folds=True),
    Column("state"),
    Column("origin"),
    Column("task", folds=True),
    Column("schedule", folds=True),
    Column("next", is_number=True),
    Column("last", is_number=True),
)
_SLOTS = (Column("slot", folds=True), Column("what"), Column("late", is_number=True), Column("id", folds=True))


@click.group()
@click.pass_context
@handle_preload_options
def schedules(ctx: click.Context) -> None:
    """Look at what beats send and when, add to it, change it, hold it.

    \b
    Exit codes:
      0  done; for health: a beat leads, and has ticked of late
      1  failed, or refused; for health: none does
      2  called in a way that makes no sense
      3  no such schedule
    """  # noqa: D301 - click wants the control character itself


@contextmanager
def _schedules_of(ctx: click.Context) -> Iterator[Schedules]:
    with deployment_of(ctx) as deployment:
        from beat_schedules.errors import ScheduleNotFound  # noqa: PLC0415 - see the head of this module
        from beat_schedules.schedules import Schedules  # noqa: PLC0415

        try:
            yield Schedules(deployment.app)
        except ScheduleNotFound as error:
            say(one_line(str(error)), err=True)
            ctx.exit(_MISSING)


@schedules.command("list", cls=CeleryCommand)
@click.option("--state", help="Only those in this state: active, paused, failing, waiting, finished, quarantined.")
@click.option("--json", "json_", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(ctx: click.Context, *, state: str | None, json_: bool) -> None:
    """List schedules by name.

    next: how soon its next slot is due; a minus: it is owed since then. last: how long ago the last slot was due that
    was sent.
    """
    with _schedules_of(ctx) as found:
        now_ms = found.now()
        entries = [entry for entry in found if state in (None, entry.state)]
        if json_:
            from beat_schedules.schedules import as_object  # noqa: PLC0415 - see the head of this module

            for entry in entries:
                say(as_json(as_object(entry)))
            return
        say_rows(ctx, _ENTRIES, [_as_row(entry, now_ms / 1000) for entry in entries], "schedule")
        for entry in entries:
            if entry.fault or entry.error:
                say(f"{printable(entry.name)}: {one_line(entry.fault or entry.error)}")


@schedules.command(cls=CeleryCommand)
@with_name
@with_definition
@click.pass_context
def add(ctx: click.Context, *, name: str, said: dict[str, Any]) -> None:
    """Add a schedule; it stays until it is removed."""
    if "task" not in said or "schedule" not in said:
        raise click.UsageError("say what and when: --task, and one of --every, --cron, --solar, --at")
    with _schedules_of(ctx) as found:
        _say_next(found.add(name, said.pop("task"), said.pop("schedule"), **said), found.now())


@schedules.command(cls=CeleryCommand)
@with_name
@with_definition
@click.pass_context
def update(ctx: click.Context, *, name: str, said: dict[str, Any]) -> None:
    """Change a schedule that was added at run time; what is not named stays."""
    if not said:
        raise click.UsageError("say what is to change, see --help")
    with _schedules_of(ctx) as found:
        _say_next(found.update(name, **said), found.now())


@schedules.command(cls=CeleryCommand)
@with_name
@click.pass_context
def remove(ctx: click.Context, *, name: str) -> None:
    """Remove a schedule that was added at run time."""
    with _schedules_of(ctx) as found:
        found.remove(name)
        say(f"removed {printable(name)}")


@schedules.command(cls=CeleryCommand)
@with_name
@click.pass_context
def pause(ctx: click.Context, *, name: str) -> None:
    """Hold a schedule, whoever declares it, until it is resumed."""
    with _schedules_of(ctx) as found:
        say(f"{'paused' if found.pause(name) else 'paused already:'} {printable(name)}")


@schedules.command(cls=CeleryCommand)
@with_name
@click.pass_context
def resume(ctx: click.Context, *, name: str) -> None:
    """Let a schedule go on with its first slot from now."""
    with _schedules_of(ctx) as found:
        if not found.resume(name):
            say(f"not paused: {printable(name)}")
            return
        _say_next(found.get(name), found.now())


@schedules.command("run-now", cls=CeleryCommand)
@with_name
@click.pass_context
def run_now(ctx: click.Context, *, name: str) -> None:
    """Send a schedule's message once, now; its slots go on as they would have."""
    with _schedules_of(ctx) as found:
        say(f"sent {printable(name)}, task {found.run_now(name).id}")


@schedules.command(cls=CeleryCommand)
@with_name
@click.option("--json", "json_", is_flag=True, help="One JSON object a line.")
@click.pass_context
def history(ctx: click.Context, *, name: str, json_: bool) -> None:
    """Show what became of the last slots of a schedule, newest first.

    late: how long after it was due. id: of the task, or of the dead letter of a slot that was buried.
    """
    with _schedules_of(ctx) as found:
        slots = found.history(name)
        if json_:
            for past in slots:
                say(as_json(_as_past(past)))
            return
        say_rows(ctx, _SLOTS, [_past_row(past) for past in slots], "slot")


@schedules.command(cls=CeleryCommand)
@click.option("--host", help="Ask for a beat on this host, leading or not; default: for the one that leads.")
@click.option("--here", is_flag=True, help="The same for the host, or the container, that asks.")
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_context
def health(ctx: click.Context, *, host: str | None, here: bool, json_: bool) -> None:
    """Tell whether beats tick: exit code 0 only if one leads that has ticked of late, or one on a host has."""
    host = socket.gethostname() if here and host is None else host
    with deployment_of(ctx) as deployment:
        from beat_schedules.health import look  # noqa: PLC0415 - see the head of this module

        found = look(deployment.client, deployment.settings)
        beats = [beat for beat in found.beats if host in (None, beat.host)]
        is_well = any(beat.is_fresh and (beat.leads or host is not None) for beat in beats)
        if json_:
            say(as_json({"healthy": is_well, "beats": [beat._asdict() for beat in beats]}))
        else:
            for beat in beats:
                role = "leads" if beat.leads else "stands by"
                word = "" if beat.is_fresh else ", which is too long"
                say(f"{printable(beat.name)} {role}, ticked {beat.age_s:.1f} s ago{word}")
            say("healthy" if is_well else f"not healthy: no beat {'leads' if host is None else 'ticks'}")
        ctx.exit(0 if is_well else _SICK)


def _say_next(entry: Entry, now_ms: int) -> None:
    when = (
        f"next slot in {brief_age(entry.next_at.timestamp() - now_ms / 1000)}" if entry.next_at else "no slot to come"
    )
    held = ", but it is paused" if entry.is_paused else ""
    say(f"{printable(entry.name)}: {entry.definition.schedule if entry.definition else '?'}, {when}{held}")


def _as_row(entry: Entry, now_s: float) -> tuple[object, ...]:
    definition = entry.definition
    task, times = (definition.task, definition.schedule) if definition else ("?", "?")
    nearest = entry.next_at.timestamp() - now_s if entry.next_at else None
    soon = "" if nearest is None else brief_age(nearest) if nearest >= 0 else f"-{brief_age(-nearest)}"
    last = brief_age(now_s - entry.last_at.timestamp()) if entry.last_at else ""
    return entry.name, entry.state, entry.origin, task, times, soon, last


def _past_row(past: Past) -> tuple[object, ...]:
    late = f"{max(0.0, (past.at - past.slot).total_seconds()):.1f}s"
    return past.slot.isoformat(sep=" ", timespec="milliseconds"), past.what, late, past.id


def _as_past(past: Past) -> dict[str, Any]:
    return {"slot": past.slot.isoformat(), "what": past.what, "at": past.at.isoformat(), "id": past.id}
