"""``celery -A APP signals``: who is told of which signals, and what became of them.

Every ``celery`` call imports this module, so redis, rich and the router are imported where they are used.
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
)

if TYPE_CHECKING:
    from hardening.agents.router import Emission, SignalStats, Subscription

__all__ = ["signals"]

_NOTHING = 3
_COLUMNS = (
    Column("pattern", folds=True),
    Column("subscriber", folds=True),
    Column("state"),
    Column("tied to", folds=True),
    Column("ends in", is_number=True),
    Column("id", folds=True),
)


@click.group()
@click.pass_context
@handle_preload_options
def signals(ctx: click.Context) -> None:
    """Look at signals and their subscribers, end a subscription, or emit a signal by hand.

    \b
    Exit codes:
      0  done
      1  failed
      2  called in a way that makes no sense
      3  no subscription has that id
    """  # noqa: D301 - click wants the control character itself


@signals.command("list", cls=CeleryCommand)
@click.option("--signal", "signal", metavar="NAME", help="Only who would be told of this signal.")
@click.option("--json", "json_", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(ctx: click.Context, *, signal: str | None, json_: bool) -> None:
    """List all subscriptions.

    state: live; silent, while the lease of its worker has run out; over, if it is about to be removed.
    """
    from hardening.agents.router import subscriptions  # noqa: PLC0415 - see the head of this module

    words = None if signal is None else _words(signal)
    with deployment_of(ctx) as deployment:
        found = [one for one in subscriptions(deployment.app) if words is None or _matches(one, words)]
    if json_:
        for one in found:
            say(as_json({**asdict(one), "subscriber": one.subscriber.model_dump(mode="json")}))
        return
    say_rows(ctx, _COLUMNS, [_row(one) for one in found], "subscription")


@signals.command(cls=CeleryCommand)
@click.option("--json", "json_", is_flag=True, help="One JSON object.")
@click.pass_context
def stats(ctx: click.Context, *, json_: bool) -> None:
    """Show how many signals were emitted, routed and dropped, and how long emitters waited."""
    from hardening.agents.router import signal_stats  # noqa: PLC0415 - see the head of this module

    with deployment_of(ctx) as deployment:
        found = signal_stats(deployment.app)
    if json_:
        say(as_json(asdict(found)))
        return
    say_table(ctx, (Column("what"), Column("value", is_number=True), Column("meaning", folds=True)), _lines(found))


@signals.command("emit", cls=CeleryCommand)
@click.argument("signal")
@click.argument("payload", default="null")
@click.option("--json", "json_", is_flag=True, help="What became of it, as one JSON object.")
@click.pass_context
def emit_(ctx: click.Context, *, signal: str, payload: str, json_: bool) -> None:
    """Emit SIGNAL with PAYLOAD, which is JSON. Nothing is spooled: it fails if Redis does not take it."""
    from hardening.agents.router import emit  # noqa: PLC0415 - see the head of this module

    _words(signal)
    try:
        parsed = json.loads(payload)
    except ValueError as error:
        raise click.UsageError(f"PAYLOAD is not JSON ({error}): quote it, such as '{{\"order\": 17}}'") from error
    with deployment_of(ctx) as deployment:
        emission = emit(signal, parsed, on_error="raise", app=deployment.app)
    if json_:
        drops = [{"subscriber": str(drop.subscriber), "reason": drop.reason} for drop in emission.dropped]
        say(as_json({"signal": emission.signal, "routed": emission.routed, "dropped": drops}))
    else:
        _tell(emission)


@signals.command(cls=CeleryCommand)
@click.argument("subscription")
@click.pass_context
def unsubscribe(ctx: click.Context, *, subscription: str) -> None:
    """End SUBSCRIPTION, given by its id."""
    from hardening.agents.router import unsubscribe as end  # noqa: PLC0415 - see the head of this module

    with deployment_of(ctx) as deployment:
        was_there = end(subscription, app=deployment.app)
    if not was_there:
        say(f"no subscription has the id {one_line(subscription)!r}: see `signals list`", err=True)
        ctx.exit(_NOTHING)
    say("ended")


def _words(signal: str) -> list[str]:
    from hardening.agents.router.pattern import name_words  # noqa: PLC0415 - see the head of this module

    try:
        return name_words(signal)
    except ValueError as error:
        raise click.UsageError(one_line(str(error))) from error


def _matches(subscription: Subscription, words: list[str]) -> bool:
    from hardening.agents.router.pattern import pattern_words  # noqa: PLC0415 - see the head of this module
    from hardening.agents.router.trie import Trie  # noqa: PLC0415

    trie: Trie[int] = Trie()
    trie.add(pattern_words(subscription.pattern), 1)
    return bool(trie.match(words))


def _row(one: Subscription) -> tuple[Any, ...]:
    state = f"{one.state} ({one.why})" if one.state == "over" else one.state
    ends = "" if one.left_s is None else brief_age(one.left_s)
    return one.pattern, one.subscriber, state, one.tied_to, ends, one.id


def _lines(stats: SignalStats) -> list[tuple[str, str, str]]:
    lines = [
        ("emitted", f"{stats.emitted:,}", "signals"),
        ("routed", f"{stats.routed:,}", "messages that subscribers got"),
        ("unrouted", f"{stats.unrouted:,}", "signals that nobody got"),
        ("subscriptions", f"{stats.subscriptions:,}", "there are now"),
    ]
    lines += [("dropped", f"{count:,}", reason) for reason, count in stats.dropped.items()]
    lines += [
        ("ended", f"{count:,}", f"subscriptions that signals met: {reason}") for reason, count in stats.ended.items()
    ]
    for name, seconds in (("mean", stats.mean_s), ("p50", stats.p50_s), ("p99", stats.p99_s)):
        if seconds is not None:
            lines.append((name, f"{seconds * 1e3:.2f} ms", "that emitters waited"))
    return lines


def _tell(emission: Emission) -> None:
    say(f"{emission.signal}: {counted(emission.routed, 'subscriber')} got it")
    for drop in emission.dropped:
        say(one_line(f"dropped for {drop.subscriber}: {drop.reason}"))
