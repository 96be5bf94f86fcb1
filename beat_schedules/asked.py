"""What the command line says of an entry."""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["with_definition", "with_name"]

_SOLAR_PARTS = 3

with_name = click.argument("name")

_OPTIONS = (
    click.option("--task", help="The task's name."),
    click.option("--every", type=float, metavar="SECONDS", help="An interval."),
    click.option("--cron", help="Five fields: minute hour day-of-month month day-of-week."),
    click.option("--solar", metavar="EVENT,LAT,LON", help="An event of the sun: sunset,52.5,13.4."),
    click.option("--at", metavar="TIME", help="Once, at a time with its offset: 2030-01-01T09:00:00+01:00."),
    click.option("--timezone", metavar="NAME", help="For --cron: Europe/Berlin; default: the app's."),
    click.option("--args", metavar="JSON", help="Positional arguments: a list."),
    click.option("--kwargs", metavar="JSON", help="Keyword arguments: an object."),
    click.option("--queue", help="The queue it is sent to."),
    click.option("--options", metavar="JSON", help="As for apply_async: an object."),
    click.option("--catch-up", type=click.Choice(("skip", "one", "all")), help="What becomes of missed slots."),
    click.option("--catch-up-max", type=int, metavar="N", help="The most that 'all' catches up with."),
    click.option("--overlap", type=click.Choice(("allow", "skip", "queue_one")), help="While the last one runs."),
    click.option("--grace", "grace_s", type=float, metavar="SECONDS", help="How late a slot is missed."),
)
_AS_THEY_ARE = ("task", "catch_up", "catch_up_max", "overlap", "grace_s")


def with_definition(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of an entry, as ``said``: what was named, as ``Schedules.add`` takes it."""

    @wraps(command)
    def asked(*args: Any, **given: Any) -> None:
        options = {name: given.pop(name) for name in _NAMES}
        command(*args, said=_said(options), **given)

    for option in reversed(_OPTIONS):
        asked = option(asked)
    return asked


_NAMES = (
    "task", "every", "cron", "solar", "at", "timezone", "args", "kwargs", "queue", "options", "catch_up",
    "catch_up_max", "overlap", "grace_s",
)  # fmt: skip


def _said(given: dict[str, Any]) -> dict[str, Any]:
    said = {name: given[name] for name in _AS_THEY_ARE if given[name] is not None}
    times = [name for name in ("every", "cron", "solar", "at") if given[name] is not None]
    if len(times) > 1:
        raise click.UsageError(f"--{times[0]} and --{times[1]} contradict each other")
    if given["timezone"] and times != ["cron"]:
        raise click.UsageError("--timezone needs --cron")
    if times:
        said["schedule"] = _times(times[0], given)
    for name, kind in (("args", list), ("kwargs", dict), ("options", dict)):
        if given[name] is not None:
            said[name] = _json(name, given[name], kind)
    if given["queue"]:
        said["options"] = {**said.get("options", {}), "queue": given["queue"]}
    return said


def _times(kind: str, given: dict[str, Any]) -> Any:
    value = given[kind]
    if kind == "cron":
        return {"cron": value, "timezone": given["timezone"]} if given["timezone"] else value
    if kind != "solar":
        return {kind: value}
    parts = value.split(",")
    if len(parts) != _SOLAR_PARTS:
        raise click.UsageError(f"--solar is {value!r}, expected EVENT,LAT,LON")
    return dict(zip(("solar", "lat", "lon"), parts, strict=True))


def _json(name: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--{name} is not JSON: {error}") from error
    if not isinstance(value, kind):
        expected = "a list" if kind is list else "an object"
        raise click.UsageError(f"--{name} is {text}, expected {expected}")
    return value
