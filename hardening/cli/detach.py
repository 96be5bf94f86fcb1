"""``celery -A APP hardening detach``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from celery.bin.base import CeleryCommand

from hardening.core.console import Deployment, brief_age, counted, deployment_of, one_line, say, shortened

if TYPE_CHECKING:
    from hardening.core.scripts import Scope

__all__ = ["detach"]

#: Messages one script call moves: about 5 ms of Redis.
_BATCH = 500
_NAME = "detach"
_NAMES_LENGTH = 200


@click.command(cls=CeleryCommand)
@click.option("--force", is_flag=True, help="Even while hardened workers are alive: what they hold stays with them.")
@click.pass_context
def detach(ctx: click.Context, *, force: bool) -> None:
    """Put everything back into plain queues, so that stock Celery can go on from there.

    Moves what dead workers had taken, then what is scheduled: a stock worker waits for an ETA itself. Stop the
    hardened workers first. Producers may go on; when they were hardened until now, call it once more after them.
    """
    with deployment_of(ctx) as deployment:
        if not force and (why := _why_not(deployment)):
            raise click.ClickException(f"{why}, or add --force")
        from hardening.core.deployment import scope_of  # noqa: PLC0415 - every celery call imports this module

        scope = scope_of(deployment.app, _NAME)
        restored, buried = _recover(deployment, scope)
        scheduled = _unschedule(deployment, scope)
        say(f"given back: {counted(restored, 'message')} of dead consumers, {counted(scheduled, 'scheduled message')}")
        if buried:
            say(f"buried: {counted(buried, 'message')} of dead consumers, having crashed too often")
        if letters := deployment.client.xlen(deployment.settings.keys.dlq):
            say(f"left where they are: {counted(letters, 'dead letter')}, see `celery dlq`")


def _why_not(deployment: Deployment) -> str:
    from hardening.cli.census import take_census  # noqa: PLC0415

    census = take_census(deployment.client, deployment.settings.keys)
    if census.alive:
        names = shortened(", ".join(one_line(consumer.name) for consumer in census.alive), _NAMES_LENGTH)
        return f"alive are {counted(len(census.alive), 'hardened worker')} ({names}): stop them first"
    unsteady_s = deployment.settings.lease_ttl_s - census.uptime_s
    if unsteady_s > 0:
        return (
            f"Redis came up {census.uptime_s} s ago and workers may not be back yet: "
            f"try again in {brief_age(unsteady_s + 1)}"
        )
    return ""


def _recover(deployment: Deployment, scope: Scope) -> tuple[int, int]:
    """Moves what the dead had taken. Returns how many went back, and how many were buried."""
    from hardening.core.scripts import Recovery  # noqa: PLC0415
    from hardening.worker.results import fail_buried  # noqa: PLC0415

    settings = deployment.settings
    call = scope.recover(_NAME, max_crashes=settings.max_crashes, base_delay_ms=settings.crash_delay_ms, limit=_BATCH)
    restored, buried, more = 0, 0, True
    while more:
        recovery = Recovery.parse(call.run(deployment.client))
        restored += recovery.restored
        buried += len(recovery.buried)
        more = recovery.more
        for one in recovery.buried:
            fail_buried(deployment.app, one.raw)
    return restored, buried


def _unschedule(deployment: Deployment, scope: Scope) -> int:
    """Moves what is scheduled. Returns how many."""
    moved, batch = 0, _BATCH
    while batch == _BATCH:
        batch = int(scope.detach(_BATCH).run(deployment.client))
        moved += batch
    return moved
