"""``celery -A APP agents``: how agents are, what they remember, what waits for them.

Every ``celery`` call imports this module, so redis, rich and the agents are imported where they are used.
"""

from __future__ import annotations

import json
from dataclasses import asdict
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
    say,
    say_rows,
    say_table,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.agents.status import AgentStatus
    from hardening.agents.waiting import Waiting
    from hardening.core.console import Deployment

__all__ = ["agents"]

_NOTHING = 3
_LIMIT = 20
_LONGEST = 60
_COLUMNS = (
    Column("agent", folds=True),
    Column("status"),
    Column("waiting", is_number=True),
    Column("bound", is_number=True),
    Column("version", is_number=True),
    Column("restarts", is_number=True),
    Column("idle", is_number=True),
    Column("holder", folds=True),
    Column("why", folds=True),
)
_MESSAGES = (Column("handler", folds=True), Column("arguments", folds=True), Column("asked"), Column("message"))


@click.group()
@click.pass_context
@handle_preload_options
def agents(ctx: click.Context) -> None:
    """Look at agents, halt them and let them go on, and run them.

    \b
    Exit codes:
      0  done
      1  failed
      2  called in a way that makes no sense
      3  there is no such agent
    """  # noqa: D301 - click wants the control character itself


@agents.command("list", cls=CeleryCommand)
@click.option("--json", "json_", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(ctx: click.Context, *, json_: bool) -> None:
    """List all agents that were ever hosted or told something, and those that the app hosts.

    status: running (a live worker holds it), idle (none does), paused, parked (it failed too often) or stopped.
    """
    with deployment_of(ctx) as deployment:
        found = _statuses(deployment, _names(deployment))
    if json_:
        for one in found:
            say(as_json(asdict(one)))
        return
    say_rows(ctx, _COLUMNS, [_row(one) for one in found], "agent")


@agents.command(cls=CeleryCommand)
@click.argument("name")
@click.pass_context
def state(ctx: click.Context, name: str) -> None:
    """Show what an agent remembers, as JSON, as it was committed last; secrets are masked.

    Where an agent writes it only now and then (snapshot_every), that is what it was then.
    """
    with deployment_of(ctx) as deployment:
        from hardening.agents.status import state_in  # noqa: PLC0415 - see the head of this module
        from hardening.core.redaction import Redactor  # noqa: PLC0415

        _must_be(ctx, deployment, name)
        try:
            found = state_in(deployment.client, deployment.settings.keys, name)
        except ValueError as error:
            raise click.ClickException(one_line(f"the state of {name} cannot be read: {error}")) from error
        masked = Redactor(deployment.settings.redact).value(found or {})
    say(as_json(masked if isinstance(masked, dict) else {"state": masked}, indent=2))


@agents.command(cls=CeleryCommand)
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1, max=10_000), default=_LIMIT, show_default=True, metavar="N")
@click.option("--json", "json_", is_flag=True, help="One JSON object a line.")
@click.pass_context
def mailbox(ctx: click.Context, name: str, *, limit: int, json_: bool) -> None:
    """Show what waits for an agent, the next first; secrets are masked. Nothing is taken."""
    with deployment_of(ctx) as deployment:
        from hardening.agents.waiting import waiting_in  # noqa: PLC0415 - see the head of this module
        from hardening.core.redaction import Redactor  # noqa: PLC0415

        _must_be(ctx, deployment, name)
        found = list(waiting_in(deployment.client, name, limit, Redactor(deployment.settings.redact)))
        waiting = _statuses(deployment, [name])[0].waiting
    if json_:
        for one in found:
            say(as_json(asdict(one)))
        return
    if found:
        say_table(ctx, _MESSAGES, [_message_row(one) for one in found])
    say(f"{counted(waiting, 'message')} waiting, {len(found)} shown")


def _halting(function: Callable[..., None]) -> Callable[..., None]:
    """What the commands that halt an agent share."""
    json_ = click.option("--json", "json_", is_flag=True, help="How it is then, as one JSON object.")
    return click.argument("name")(json_(click.pass_context(function)))


@agents.command(cls=CeleryCommand)
@_halting
def pause(ctx: click.Context, *, name: str, json_: bool) -> None:
    """Have an agent take no more messages: they wait. What it is doing it finishes."""
    _halt(ctx, "pause", name, json_=json_)


@agents.command(cls=CeleryCommand)
@_halting
def resume(ctx: click.Context, *, name: str, json_: bool) -> None:
    """Let an agent go on that was paused, parked or stopped, or backs off; no restarts are counted any more."""
    _halt(ctx, "resume", name, json_=json_)


@agents.command(cls=CeleryCommand)
@_halting
def stop(ctx: click.Context, *, name: str, json_: bool) -> None:
    """Stop an agent for good, until somebody resumes it. What waits for it stays."""
    _halt(ctx, "stop", name, json_=json_)


@agents.command(cls=CeleryCommand, context_settings={"ignore_unknown_options": True})
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-P", "--pool", default="prefork", show_default=True, help="As for celery worker.")
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="As for celery worker.")
@click.option("-n", "--hostname", default="", help="As for celery worker.")
@click.option("-l", "--loglevel", default="INFO", show_default=True, help="As for celery worker.")
@click.pass_context
def run(
    ctx: click.Context, *, names: tuple[str, ...], pool: str, concurrency: int | None, hostname: str, loglevel: str
) -> None:
    """Start a worker for some agents, and for nothing else: celery worker -Q agent.NAME,..."""
    with deployment_of(ctx) as deployment:
        from hardening.agents.table import hosted  # noqa: PLC0415 - see the head of this module
        from hardening.core.agent_keys import mailbox_queue  # noqa: PLC0415

        deployment.app.loader.import_default_modules()
        known = hosted(deployment.app)
        for name in names:
            if name not in known:
                _say_unknown(ctx, name, known, "is hosted by this app")
        queues = ",".join(mailbox_queue(name) for name in names)
        options = ["-Q", queues, "-P", pool, "-l", loglevel]
        options += ["-c", str(concurrency)] if concurrency else []
        options += ["-n", hostname] if hostname else []
        deployment.app.worker_main(["worker", *options])


def _halt(ctx: click.Context, verb: str, name: str, *, json_: bool) -> None:
    with deployment_of(ctx) as deployment:
        from hardening.agents.ref import agent  # noqa: PLC0415 - see the head of this module

        _must_be(ctx, deployment, name)
        is_news = getattr(agent(name, app=deployment.app), verb)()
        one = _statuses(deployment, [name])[0]
    if json_:
        say(as_json(asdict(one)))
    else:
        say(f"{name} is {one.status}{'' if is_news else ', as it was'}")


def _names(deployment: Deployment) -> set[str]:
    from hardening.agents.status import names_in  # noqa: PLC0415 - see the head of this module
    from hardening.agents.table import hosted  # noqa: PLC0415

    deployment.app.loader.import_default_modules()  # agents may be hosted where tasks are
    return {*names_in(deployment.client, deployment.settings.keys), *hosted(deployment.app)}


def _must_be(ctx: click.Context, deployment: Deployment, name: str) -> None:
    known = _names(deployment)
    if name not in known:
        _say_unknown(ctx, name, known, "was ever hosted or told anything")


def _say_unknown(ctx: click.Context, name: str, known: Any, what: str) -> None:
    from hardening.core.breaker_rules import near_to  # noqa: PLC0415 - see the head of this module

    say(one_line(f"no agent named {name!r} {what}, {near_to(name, set(known))}"), err=True)
    ctx.exit(_NOTHING)


def _statuses(deployment: Deployment, names: Any) -> list[AgentStatus]:
    from hardening.agents.status import statuses  # noqa: PLC0415 - see the head of this module

    return statuses(deployment.client, deployment.settings.keys, sorted(names))


def _row(one: AgentStatus) -> tuple[Any, ...]:
    status = (
        f"backs off {one.backs_off_s:.0f}s" if one.backs_off_s and one.status in ("running", "idle") else one.status
    )
    idle = "" if one.idle_s is None else brief_age(one.idle_s)
    return one.name, status, one.waiting, one.bound, one.version, one.restarts, idle, one.holder, one.why


def _message_row(one: Waiting) -> tuple[str, str, str, str]:
    arguments = [json.dumps(arg) for arg in one.args] + [
        f"{name}={json.dumps(arg)}" for name, arg in one.kwargs.items()
    ]
    handler = one.handler or "(cannot be read)"
    return handler, shortened(", ".join(arguments), _LONGEST), "yes" if one.is_asked else "", one.id
