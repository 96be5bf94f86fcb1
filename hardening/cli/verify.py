"""``celery -A APP hardening verify``."""

from __future__ import annotations

from dataclasses import asdict
from itertools import zip_longest
from typing import TYPE_CHECKING

import click
from celery.bin.base import CeleryCommand

from hardening.core.console import Column, as_json, counted, deployment_of, say, say_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.core.ledger import Ledger

__all__ = ["verify"]

_CAME_IN = ("published", "adopted", "replayed")
_ENDED = ("acked", "dead", "purged")
_PLACES = {"scheduled": "scheduled", "queued": "queued", "in flight": "inflight"}
_FAILED = 1


@click.command(cls=CeleryCommand)
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.option(
    "--look-at",
    type=click.IntRange(min=0),
    metavar="N",
    default=10_000,
    show_default=True,
    help="How many queued messages to look at, to tell those of stock producers. Redis does nothing else "
    "meanwhile: about 2 ms for 10,000.",
)
@click.pass_context
def verify(ctx: click.Context, *, json_: bool, look_at: int) -> None:
    """Check that every message that came in is somewhere. Exits with 1 when the ledger does not balance."""
    from hardening.core.ledger import read_ledger  # noqa: PLC0415 - every celery call imports this module

    with deployment_of(ctx) as (_, settings, client):
        ledger = read_ledger(client, settings.keys, look_at=look_at)
        hints = list(_hints(ledger, client))
        if json_:
            sides = {"came_in": ledger.came_in, "accounted": ledger.accounted, "missing": ledger.missing}
            found = {**asdict(ledger), **sides, "is_balanced": ledger.is_balanced, "hints": hints}
            say(as_json(found, indent=2))
        else:
            _say_ledger(ctx, ledger)
            say(f"\n{_verdict(ledger)}")
            for hint in hints:
                say(f"hint: {hint}")
    if not ledger.is_balanced:
        ctx.exit(_FAILED)


def _say_ledger(ctx: click.Context, ledger: Ledger) -> None:
    count = ledger.counters.get
    left = [(name, count(name, 0)) for name in _CAME_IN]
    right = [(name, count(name, 0)) for name in _ENDED] + [
        (label, getattr(ledger, name)) for label, name in _PLACES.items()
    ]
    number = Column("", is_number=True)
    rows = [(*one, *other) for one, other in zip_longest(left, right, fillvalue=("", ""))]
    rows.append(("in all", ledger.came_in, "in all", ledger.accounted))
    say_table(ctx, (Column("came in"), number, Column("is, or ended as"), number), rows)
    say(f"\n{_law(left)} = {_law(right)}")
    say(f"{_sum(left)} = {ledger.came_in}, {_sum(right)} = {ledger.accounted}")
    beside = [("of stock producers, waiting", ledger.stock), ("held by stock workers", ledger.unacked)]
    beside += [("dead letters", ledger.letters)]
    beside += [("queued, not looked at", ledger.unseen), ("stray due times", ledger.stray)]
    beside += [(name, value) for name, value in sorted(ledger.counters.items()) if name not in _CAME_IN + _ENDED]
    say()
    say_table(ctx, (Column("beside the law"), number), beside)


def _law(side: list[tuple[str, int]]) -> str:
    return " + ".join(name for name, _ in side)


def _sum(side: list[tuple[str, int]]) -> str:
    return " + ".join(str(value) for _, value in side)


def _verdict(ledger: Ledger) -> str:
    if ledger.is_balanced:
        return f"balanced: {ledger.came_in} came in, and all of them are accounted for"
    if ledger.missing > 0:
        return f"NOT balanced: {ledger.missing} of {ledger.came_in} that came in are nowhere"
    if ledger.missing < 0:
        return f"NOT balanced: there are {-ledger.missing} more than came in"
    if ledger.missing_letters or ledger.letters != ledger.grouped:
        was, there = ledger.letters + ledger.missing_letters, ledger.letters
        return f"NOT balanced: of {was} dead letters {there} are there, and filters know of {ledger.grouped}"
    return f"NOT balanced: {abs(ledger.stray)} due times or scheduled messages have no counterpart"


def _hints(ledger: Ledger, client: Redis) -> Iterator[str]:
    if ledger.missing > 0 and ledger.unacked:
        held = counted(ledger.unacked, "message")
        yield f"stock workers hold {held}, in the hash `unacked`; what they take is not in the ledger"
    elif ledger.missing > 0 and (listening := _stock_clients(client)):
        yield (
            f"{counted(listening, 'client')} of this Redis may be stock workers; what they take and acknowledge "
            "is not in the ledger"
        )
    if ledger.unseen:
        yield (
            f"{counted(ledger.unseen, 'queued message')} were not looked at and count as ours: to look at all of "
            f"them, add --look-at {ledger.queued + ledger.stock}"
        )


def _stock_clients(client: Redis) -> int:
    from redis.exceptions import NoPermissionError  # noqa: PLC0415

    from hardening.transport.stock import CLIENT_NAME, is_listening  # noqa: PLC0415

    try:
        clients = client.client_list()
    except NoPermissionError:
        return 0
    return sum(1 for each in clients if each["name"] != CLIENT_NAME and is_listening(each))
