"""``celery -A APP hardening status``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import CeleryCommand

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
    from collections.abc import Sequence

    from celery import Celery

    from hardening.cli.census import Census, Consumer
    from hardening.delivery.spool import SpoolTotals

__all__ = ["status"]

_CONSUMERS = (
    Column("consumer", folds=True),
    Column("host", folds=True),
    Column("pid", is_number=True),
    Column("lease", is_number=True),
    Column("in flight", is_number=True),
    Column("begun", is_number=True),
)


@click.command(cls=CeleryCommand)
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_context
def status(ctx: click.Context, *, json_: bool) -> None:
    """Show who is alive and where the messages are.

    What this host's spool holds is shown even if Redis cannot be asked.
    """
    from hardening.cli.census import take_census  # noqa: PLC0415 - every celery call imports this module

    with deployment_of(ctx) as (app, settings, client):
        path, totals = _spool_of(app)
        if json_:
            census = take_census(client, settings.keys, app.amqp.queues)
            say(as_json(_as_object(settings.prefix, census, _spool_as_object(path, totals)), indent=2))
        else:
            say(f"deployment {printable(settings.prefix)}")
            say(f"\nspool of this host: {_spool_as_text(totals)}")
            census = take_census(client, settings.keys, app.amqp.queues)
            _say_consumers(ctx, "consumers", census.alive)
            _say_consumers(ctx, "dead consumers, to be recovered", census.dead)
            _say_messages(ctx, census)


def _spool_of(app: Celery) -> tuple[str, SpoolTotals | str]:
    """Where this host's spool is, and what it holds, or why that cannot be read: the rest is shown all the same."""
    from hardening.core.errors import SpoolError  # noqa: PLC0415
    from hardening.delivery.fallback import Fallback  # noqa: PLC0415

    spool = Fallback(app).spool  # one of its own, whose flusher is not started
    try:
        return str(spool.path), spool.totals()
    except SpoolError as error:
        return str(spool.path), str(error)


def _spool_as_text(totals: SpoolTotals | str) -> str:
    if isinstance(totals, str):
        return one_line(totals)
    oldest = f" (oldest {brief_age(totals.oldest_s)})" if totals.oldest_s is not None else ""
    foreign = f", {totals.foreign} for other brokers" if totals.foreign else ""
    waiting = f"{counted(totals.waiting, 'message')} waiting{oldest}"
    return f"{waiting}, {totals.refused} set aside{foreign}, {totals.bytes} bytes"


def _spool_as_object(path: str, totals: SpoolTotals | str) -> dict[str, Any]:
    return {"path": path, **({"error": totals} if isinstance(totals, str) else asdict(totals))}


def _say_consumers(ctx: click.Context, title: str, consumers: Sequence[Consumer]) -> None:
    say(f"\n{title}: {len(consumers)}")
    if consumers:
        rows = [
            (each.name, each.host, each.pid, brief_age(each.lease_ms / 1000), each.inflight, each.begun)
            for each in consumers
        ]
        say_table(ctx, _CONSUMERS, rows)


def _say_messages(ctx: click.Context, census: Census) -> None:
    from hardening.core.keys import PRIORITY_STEPS  # noqa: PLC0415

    say(f"\nqueues: {len(census.queues)}")
    steps = [Column(f"priority {step}" if step else "waiting", is_number=True) for step in PRIORITY_STEPS]
    say_table(ctx, [Column("queue", folds=True), *steps], [(queue.name, *queue.waiting) for queue in census.queues])
    say(f"\nscheduled: {census.scheduled}{_due(census.next_due_ms)}")
    say(f"dead letters: {census.dead_letters}")
    say("\ncounters")
    say_table(ctx, (Column("counter"), Column("value", is_number=True)), census.counters.items())


def _due(next_due_ms: int | None) -> str:
    if next_due_ms is None:
        return ""
    if next_due_ms < 0:
        return f", the first overdue by {brief_age(-next_due_ms / 1000)}"
    return f", the first due in {brief_age(next_due_ms / 1000)}"


def _as_object(prefix: str, census: Census, spool: dict[str, Any]) -> dict[str, Any]:
    from hardening.core.keys import PRIORITY_STEPS  # noqa: PLC0415

    return {
        "prefix": prefix,
        "consumers": [asdict(consumer) for consumer in census.alive],
        "dead_consumers": [asdict(consumer) for consumer in census.dead],
        "queues": {queue.name: dict(zip(PRIORITY_STEPS, queue.waiting, strict=True)) for queue in census.queues},
        "scheduled": census.scheduled,
        "next_due_ms": census.next_due_ms,
        "dead_letters": census.dead_letters,
        "spool": spool,
        "counters": census.counters,
    }
