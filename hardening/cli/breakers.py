"""``celery -A APP breakers``: the breakers that all workers share.

Every ``celery`` call imports this module, so redis, rich and the breakers are imported where they are used.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from hardening.core.console import Column, as_json, brief_age, deployment_of, one_line, say, say_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hardening.breaker.census import Standing
    from hardening.core.console import Deployment

__all__ = ["breakers"]

_NOTHING = 3
_COLUMNS = (
    Column("breaker", folds=True),
    Column("state"),
    Column("calls", is_number=True),
    Column("failed", is_number=True),
    Column("slow", is_number=True),
    Column("since", is_number=True),
    Column("probed in", is_number=True),
    Column("who", folds=True),
    Column("why", folds=True),
)


@click.group()
@click.pass_context
@handle_preload_options
def breakers(ctx: click.Context) -> None:
    """Look at the breakers that all workers share, and open or close them by hand.

    \b
    Exit codes:
      0  done
      1  failed
      2  called in a way that makes no sense
      3  no breaker has that name
    """  # noqa: D301 - click wants the control character itself


@breakers.command("list", cls=CeleryCommand)
@click.option("--json", "json_", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(ctx: click.Context, *, json_: bool) -> None:
    """List all breakers: those in use, and those that the app declares.

    calls, failed, slow: in the window. since: of the last change. probed in: how soon an open one is tried again.
    """
    with deployment_of(ctx) as deployment:
        found = _standings(deployment, _names(deployment))
    if json_:
        for standing in found:
            say(as_json(asdict(standing)))
        return
    say_rows(ctx, _COLUMNS, [_row(standing) for standing in found], "breaker")


def _by_hand(function: Callable[..., None]) -> Callable[..., None]:
    """What the commands that change a breaker share."""
    why = click.option("--why", default="", metavar="TEXT", help="The reason, for those who look.")
    json_ = click.option("--json", "json_", is_flag=True, help="How it stands then, as one JSON object.")
    return click.argument("name")(why(json_(click.pass_context(function))))


@breakers.command("open", cls=CeleryCommand)
@click.option(
    "--for", "for_s", type=click.FloatRange(min=0.001, max=31_536_000), metavar="SECONDS",
    help="It is probed after that; otherwise not before somebody closes it.",
)  # fmt: skip
@_by_hand
def open_(ctx: click.Context, *, name: str, why: str, json_: bool, for_s: float | None) -> None:
    """Open a breaker: no call is made, and messages behind it wait."""
    _force(ctx, name, "open", why, json_=json_, for_s=for_s or 0.0)


@breakers.command(cls=CeleryCommand)
@_by_hand
def close(ctx: click.Context, *, name: str, why: str, json_: bool) -> None:
    """Close a breaker; its rule goes on, and may open it again."""
    _force(ctx, name, "close", why, json_=json_)


@breakers.command(cls=CeleryCommand)
@_by_hand
def reset(ctx: click.Context, *, name: str, why: str, json_: bool) -> None:
    """Close a breaker and forget all about it, as if it had never been used."""
    _force(ctx, name, "reset", why, json_=json_)


def _force(ctx: click.Context, name: str, verb: str, why: str, *, json_: bool, for_s: float = 0.0) -> None:
    from hardening.breaker import Breaker  # noqa: PLC0415 - see the head of this module
    from hardening.core.breaker_rules import near_to  # noqa: PLC0415

    with deployment_of(ctx) as deployment:
        known = _names(deployment)
        if name not in known:
            say(f"no breaker is named {one_line(name)!r}, {near_to(name, known)}", err=True)
            ctx.exit(_NOTHING)
        breaker, options = Breaker(name, app=deployment.app), {"for_s": for_s} if verb == "open" else {}
        getattr(breaker, verb)(why=one_line(why), **options)
        standing = _standings(deployment, [name])[0]
    if json_:
        say(as_json(asdict(standing)))
    else:
        say(f"{name} is {standing.state}{_until(standing)}")


def _names(deployment: Deployment) -> set[str]:
    from hardening.breaker.census import names_in  # noqa: PLC0415
    from hardening.breaker.declared import declared_names  # noqa: PLC0415

    deployment.app.loader.import_default_modules()  # a breaker is declared where its tasks are
    declared = {*declared_names(deployment.app), *deployment.settings.breakers}
    return {*names_in(deployment.client, deployment.settings.keys), *declared}


def _standings(deployment: Deployment, names: Iterable[str]) -> list[Standing]:
    from hardening.breaker.census import standings  # noqa: PLC0415
    from hardening.breaker.declared import declared_rule  # noqa: PLC0415
    from hardening.breaker.rule import rule_of  # noqa: PLC0415

    settings = deployment.settings
    rules = [(name, rule_of(name, declared_rule(name, deployment.app), settings.breakers)) for name in sorted(names)]
    return standings(deployment.client, settings.keys, rules)


def _until(standing: Standing) -> str:
    if standing.state != "open":
        return ""
    return ", until somebody closes it" if standing.left_s is None else f", probed in {standing.left_s:.1f} s"


def _row(standing: Standing) -> tuple[Any, ...]:
    probed = "" if standing.state != "open" else "never" if standing.left_s is None else brief_age(standing.left_s)
    since = "" if standing.since_s is None else brief_age(standing.since_s)
    return (
        standing.name, standing.state, standing.calls, standing.failures, standing.slow, since, probed,
        standing.who, standing.why,
    )  # fmt: skip
