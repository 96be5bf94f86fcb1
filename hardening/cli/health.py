"""``celery -A APP hardening health``: what a liveness probe asks."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from celery.bin.base import CeleryCommand

from hardening.core.console import as_json, brief_age, deployment_of, one_line, printable, say

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["health"]

_SICK = 1


class _Seen(NamedTuple):
    """One consumer that holds a lease.

    Attributes:
        name: what its lease is under.
        lease_s: for how long that still lasts, in seconds.
        silent_s: for how long the worker's loop had not come round when it was renewed, in seconds; None: not told.
    """

    name: str
    lease_s: float
    silent_s: float | None


@click.command(cls=CeleryCommand)
@click.option("--host", help="Ask for workers on this host; default: this one.")
@click.option(
    "--max-silence",
    type=click.FloatRange(min=1.0),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="For how long a worker's loop may be silent. After an outage Celery may take 30 s to connect again.",
)
@click.option("--outage-is-well", is_flag=True, help="Exit with 0 if Redis is away: for probes that end workers.")
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_context
def health(ctx: click.Context, *, host: str | None, max_silence: float, outage_is_well: bool, json_: bool) -> None:
    """Tell whether a worker on this host lives: it holds its lease, and its loop turns.

    A lease is renewed by a thread of its own, so both are asked. The solo pool's loop runs the tasks, and is not.
    """
    from redis.exceptions import AuthenticationError, ConnectionError, TimeoutError  # noqa: A004, PLC0415

    host = host or socket.gethostname()
    with deployment_of(ctx) as deployment:
        try:
            seen = _look(deployment.client, deployment.settings.keys, host)
        except (ConnectionError, TimeoutError) as error:
            if not outage_is_well or isinstance(error, AuthenticationError):
                raise
            _say(json_, why=f"Redis is away, so nobody knows: {one_line(str(error))}", is_well=True, host=host, seen=[])
            return
    why = _why_sick(seen, host, max_silence)
    _say(json_, why=why, is_well=not why, host=host, seen=seen)
    if why:
        ctx.exit(_SICK)


def _look(client: Redis, keys: Keys, host: str) -> list[_Seen]:
    asked: Any = client
    with asked.pipeline() as pipeline:
        pipeline.time()
        pipeline.zrange(keys.leases, 0, -1, withscores=True)
        (seconds, micros), leases = pipeline.execute()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    held = {
        name: (expiry_ms - now_ms) / 1000
        for name, expiry_ms in leases
        if expiry_ms > now_ms and name.decode("utf-8", "replace").rsplit(":", 2)[0] == host
    }
    said = asked.hmget(keys.members, list(held)) if held else []
    return [
        _Seen(name.decode("utf-8", "replace"), lease_s, _silence(about))
        for (name, lease_s), about in zip(held.items(), said, strict=True)
    ]


def _silence(about: bytes | None) -> float | None:
    try:
        return float(json.loads(about or b"")["silent_ms"]) / 1000
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _why_sick(seen: list[_Seen], host: str, most_s: float) -> str:
    if not seen:
        return f"no worker on {printable(host)} holds a lease"
    for one in seen:
        if one.silent_s is not None and one.silent_s > most_s:
            return f"{printable(one.name)} holds its lease, but its loop has been silent for {brief_age(one.silent_s)}"
    return ""


def _say(json_: bool, *, why: str, is_well: bool, host: str, seen: list[_Seen]) -> None:  # noqa: FBT001
    if json_:
        say(as_json({"healthy": is_well, "why": why, "host": host, "consumers": [one._asdict() for one in seen]}))
        return
    for one in seen:
        say(f"{printable(one.name)} holds its lease for {one.lease_s:.1f} s")
    said = "healthy" if is_well else "not healthy"
    say(f"{said}: {why}" if why else said)
