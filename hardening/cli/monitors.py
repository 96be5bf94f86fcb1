"""``celery -A APP monitors``: who watches what, and what was forgotten.

Every ``celery`` call imports this module, so redis and rich are imported where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from hardening.core.console import Column, as_json, brief_age, counted, deployment_of, one_line, say, say_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celery import Celery

    from hardening.monitors import Monitor, MonitorFilter

__all__ = ["monitors"]

_LIMIT = 50
_FRAMES = 3
_COLUMNS = (
    Column("monitor", folds=True),
    Column("target", folds=True),
    Column("tag", folds=True),
    Column("set by", folds=True),
    Column("age", is_number=True),
    Column("leak", is_number=True),
)


def _with_filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which monitors, and how to print them."""
    for option in reversed(
        (
            click.option("--target", default="", metavar="PATTERN", help="By target: 'queue:*', 'worker:web*'."),
            click.option("--tag", default="", metavar="PATTERN", help="By tag."),
            click.option("--owner", default="", metavar="PATTERN", help="By the process that set them."),
            click.option("--task", default="", metavar="PATTERN", help="By name or id of the task that set them."),
            click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"The most; {_LIMIT} unless --json."),
            click.option("--json", "json_", is_flag=True, help="One JSON object a line."),
        )
    ):
        command = option(command)
    return command


@click.group()
@click.pass_context
@handle_preload_options
def monitors(ctx: click.Context) -> None:
    """Look at monitors: who is told when what is down, and which of them were forgotten.

    \b
    Exit codes:
      0  done
      1  failed
      2  called in a way that makes no sense
    """  # noqa: D301 - click wants the control character itself


@monitors.command("list", cls=CeleryCommand)
@_with_filters
@click.pass_context
def list_(ctx: click.Context, /, *, limit: int | None, json_: bool, **patterns: str) -> None:
    """List the monitors of living owners, oldest first.

    leak: how old each may get; "yes" where it was reported.
    """
    from hardening.monitors import list_monitors  # noqa: PLC0415 - see the head of this module

    def find(app: Celery, which: MonitorFilter, most: int | None) -> list[Monitor]:
        return list_monitors(which, limit=most, app=app)

    _show(ctx, find, patterns, limit=limit, json_=json_, with_stack=False)


@monitors.command(cls=CeleryCommand)
@click.option(
    "--age", type=click.FloatRange(min=0), metavar="SECONDS",
    help="All that are so old; default: those reported, each after its own leak_after.",
)  # fmt: skip
@_with_filters
@click.pass_context
def leaks(ctx: click.Context, /, *, age: float | None, limit: int | None, json_: bool, **patterns: str) -> None:
    """List monitors that look forgotten, oldest first, and where they were set.

    They are old while their owner and target are alive.
    """
    from hardening.monitors import find_leaks  # noqa: PLC0415 - see the head of this module

    def find(app: Celery, which: MonitorFilter, most: int | None) -> list[Monitor]:
        return find_leaks(age, filter=which, limit=most, app=app)

    _show(ctx, find, patterns, limit=limit, json_=json_, with_stack=True)


@monitors.command(cls=CeleryCommand)
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_context
def stats(ctx: click.Context, *, json_: bool) -> None:
    """Count monitors: those there are, and what became of the others."""
    from hardening.monitors import stats as read  # noqa: PLC0415 - see the head of this module

    with deployment_of(ctx) as (app, _, _):
        found = read(app=app).to_json()
        if json_:
            say(as_json(found, indent=2))
            return
        say_table(ctx, (Column("monitors"), Column("number", is_number=True)), _rows_of(found))


def _rows_of(found: dict[str, int]) -> Iterable[tuple[str, int]]:
    meanings = {
        "alive": "alive", "owners": "processes that have some, and durable ones",
        "leaked": "reported as leaks and still there", "owed": "notices still to be sent",
        "monitors": "ever set", "ended": "ended by their owners",
        "downs": "told that their target is down", "orphaned": "removed with a dead owner, or past their time",
        "leaks": "ever reported as leaks",
    }  # fmt: skip
    return [(meaning, found[name]) for name, meaning in meanings.items()]


def _show(
    ctx: click.Context,
    find: Callable[[Celery, MonitorFilter, int | None], list[Monitor]],
    patterns: dict[str, str],
    *,
    limit: int | None,
    json_: bool,
    with_stack: bool,
) -> None:
    with deployment_of(ctx) as (app, _, _):
        from hardening.monitors import MonitorFilter  # noqa: PLC0415 - see the head of this module

        most = limit or (None if json_ else _LIMIT)
        found = find(app, MonitorFilter(**patterns), most)
        if json_:
            for one in found:
                say(as_json(one.to_json()))
            return
        if found:
            say_table(ctx, _COLUMNS, [_row(one) for one in found])
        if with_stack:
            _say_stacks(found)
        say(f"{counted(len(found), 'monitor')} shown")


def _row(one: Monitor) -> tuple[str, str, str, str, str, str]:
    leak = "yes" if one.is_leaked else brief_age(one.leak_after_s)
    setter = (one.task_name or "process") + (", durable" if one.is_durable else "")
    return one.id, one.target, one.tag, setter, brief_age(one.age_s), leak


def _say_stacks(found: list[Monitor]) -> None:
    for one in found:
        setter = f"task {one.task}" if one.task else one.owner or "a process"
        say(f"\n{one_line(one.id)}, set by {one_line(setter)}")
        for frame in one.stack[:_FRAMES] or ("no stack is kept: see hardening_monitor_stack_depth",):
            say(f"  {one_line(frame)}")
    if found:
        say()
