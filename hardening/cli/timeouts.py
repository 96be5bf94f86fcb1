"""``celery -A APP timeouts``: how long things may take, why, and how to change it while everything runs.

Every ``celery`` call imports this module, so redis and rich are imported where they are used.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from hardening.core.console import Column, as_json, deployment_of, say, say_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hardening.timeouts.table import Table

__all__ = ["timeouts"]

_NOTHING = 3


@click.group()
@click.pass_context
@handle_preload_options
def timeouts(ctx: click.Context) -> None:
    """Show how long things may take, and change it for all processes.

    A rule is named default, long or critical; or like an operation or a task; or by a pattern such as
    'network_call.*'; or service:NAME. The most specific rule wins.

    \b
    Exit codes:
      0  done
      1  failed or refused
      2  called in a way that makes no sense
      3  no such rule was set (unset)
    """  # noqa: D301 - click wants the control character itself


@timeouts.command(cls=CeleryCommand)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_context
def show(ctx: click.Context, *, names: tuple[str, ...], json_: bool) -> None:
    """Show every rule and where it comes from; with names, what is in force for each of them."""
    with deployment_of(ctx) as (app, _, __):
        from hardening.timeouts.lookup import timeouts_of  # noqa: PLC0415 - see the head of this module

        table, follower = timeouts_of(app)
        follower.run_once()
        found = _looked_up(table, names) if names else _ruled(table)
        if json_:
            fields = ("name", "seconds", "rule" if names else "value", "source")
            objects = [dict(zip(fields, one, strict=True)) for one in found]
            say(as_json({"factor": table.factor, "timeouts": objects}, indent=2))
            return
        last = Column("rule" if names else "value", folds=True)
        columns = (Column("name", folds=True), Column("seconds", is_number=True), last, Column("from"))
        say_table(ctx, columns, ((name, f"{seconds:g}", rule, source) for name, seconds, rule, source in found))
        if table.factor != 1:
            say(f"all of them multiplied by the factor {table.factor:g}")


@timeouts.command(name="set", cls=CeleryCommand)
@click.argument("name")
@click.argument("seconds")
@click.pass_context
def set_(ctx: click.Context, *, name: str, seconds: str) -> None:
    """Set a rule for all processes, in seconds or by the name of a class; it is in force at once.

    The factor of each process applies to it, as to every rule.
    """
    with deployment_of(ctx) as (app, _, __):
        from hardening.timeouts.lookup import set_timeout  # noqa: PLC0415 - see the head of this module
        from hardening.timeouts.table import shown, stored, valid  # noqa: PLC0415

        try:
            value = valid(name, stored(seconds))
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        set_timeout(name, value, for_all=True, app=app)
        say(f"{name} is {shown(value)}{'' if isinstance(value, str) else ' s'} for all processes")


@timeouts.command(cls=CeleryCommand)
@click.argument("name")
@click.pass_context
def unset(ctx: click.Context, *, name: str) -> None:
    """Take back what was set for all processes; what was declared is in force again."""
    with deployment_of(ctx) as (app, _, __):
        from hardening.timeouts.lookup import timeouts_of, unset_timeout  # noqa: PLC0415 - see the head of this module

        if unset_timeout(name, for_all=True, app=app):
            say(f"{name} is not set for all processes any more")
            return
        table, follower = timeouts_of(app)
        follower.run_once()
        near = difflib.get_close_matches(name, list(table.for_all), n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        say(f"{name} is not set for all processes{hint}", err=True)
        ctx.exit(_NOTHING)


def _ruled(table: Table) -> Iterable[tuple[str, float, str, str]]:
    """Every rule: its name, its seconds, its value and where it comes from."""
    from hardening.timeouts.table import shown  # noqa: PLC0415 - see the head of this module

    rules = table.rules
    return [(name, rules.value_s(name), shown(rule.value), rule.source) for name, rule in sorted(rules.rules.items())]


def _looked_up(table: Table, names: Iterable[str]) -> Iterable[tuple[str, float, str, str]]:
    """What is in force for names."""
    return [(name, *table.resolve(name)) for name in names]
