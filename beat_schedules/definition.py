"""What an entry is, in JSON: as it is kept in Redis, as a file says it, and made from what code says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from celery import schedules
from celery.beat import BeatLazyFunc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from beat_schedules.errors import ScheduleRefused
from beat_schedules.times import Times  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CatchUp", "Definition", "Overlap", "check_name", "from_code", "refused"]

CatchUp = Literal["skip", "one", "all"]
Overlap = Literal["allow", "skip", "queue_one"]

_MOST_NAME = 200
#: What an entry of code may say besides Celery's own keys.
_OURS = frozenset({"catch_up", "catch_up_max", "overlap", "grace_s", "timezone"})
_CELERYS = frozenset({"task", "schedule", "args", "kwargs", "options", "relative"})


class Definition(BaseModel):
    """One schedule entry. Input from Redis, from files and from people: nothing in it is trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The task's name.
    task: str = Field(min_length=1, max_length=500)
    #: When it is due.
    schedule: Times
    #: Positional arguments.
    args: list[Any] = []
    #: Keyword arguments.
    kwargs: dict[str, Any] = {}
    #: As for ``apply_async``: queue, priority, expires, headers, ...
    options: dict[str, Any] = {}
    #: What becomes of slots that nobody could send in time: none of them, the latest, or all up to ``catch_up_max``.
    catch_up: CatchUp = "one"
    #: The most that ``all`` catches up with: the latest.
    catch_up_max: int = Field(default=100, ge=1, le=1000)
    #: What happens while the message of the last slot has not ended: it is sent all the same, dropped, or the latest
    #: is sent when that has ended.
    overlap: Overlap = "allow"
    #: How late a slot is missed, in seconds; default: ``hardening_beat_grace_s``.
    grace_s: float | None = Field(default=None, ge=1.0, le=86_400.0)
    #: Its arguments are worked out for each slot by functions that only the code has.
    is_lazy: bool = False

    @field_validator("args", "kwargs", "options")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from error
        return value

    @property
    def text(self) -> str:
        """As Redis keeps it: the same for the same definition."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    @property
    def times_text(self) -> str:
        """The part that says when: while it stays, so do the slots."""
        return json.dumps(self.schedule.model_dump(mode="json"), sort_keys=True)

    @classmethod
    def read(cls, name: str, value: object) -> Definition:
        """A definition out of JSON, as text or read already.

        Raises:
            ScheduleRefused: it is none, with the first thing that is wrong with it.
        """
        check_name(name)
        try:
            return cls.model_validate_json(value) if isinstance(value, str | bytes) else cls.model_validate(value)
        except ValidationError as error:
            raise refused(name, error) from error
        except RecursionError as error:
            raise ScheduleRefused(name, "nested too deeply") from error


def refused(name: str, error: ValidationError) -> ScheduleRefused:
    """The first fault of many, in one line."""
    first = error.errors(include_url=False)[0]
    where = first["loc"]
    place = ".".join(str(part) for part in (where[:1] + where[2:] if where[:1] == ("schedule",) else where))
    text = f"{first['msg'][:1].lower()}{first['msg'][1:]}".removeprefix("value error, ")
    return ScheduleRefused(name, f"{place}: {text}" if place else text)


def check_name(name: str) -> str:
    """A name that can be shown and typed.

    Raises:
        ScheduleRefused: it is none.
    """
    if not name or len(name) > _MOST_NAME or not name.isprintable():
        raise ScheduleRefused(name[:_MOST_NAME], f"expected a name of 1 to {_MOST_NAME} printable characters")
    return name


def from_code(name: str, entry: Mapping[str, Any], timezone: str) -> Definition:
    """The definition of an entry of ``beat_schedule``.

    Args:
        name: of the entry.
        entry: as for Celery, with ``catch_up``, ``catch_up_max``, ``overlap``, ``grace_s`` and ``timezone`` beside.
        timezone: the app's, which a crontab has if it names none.

    Raises:
        ScheduleRefused: it cannot be a schedule here.
    """
    try:
        unknown = sorted(str(key) for key in entry if key not in _OURS | _CELERYS)
        if unknown:
            known = ", ".join(sorted(_OURS | _CELERYS))
            raise ScheduleRefused(name, f"unknown key {unknown[0]}, known are: {known}")
        args, kwargs = list(entry.get("args") or ()), dict(entry.get("kwargs") or {})
        is_lazy = any(isinstance(value, BeatLazyFunc) for value in (*args, *kwargs.values()))
        task = entry.get("task")
        said: dict[str, Any] = {key: entry[key] for key in _OURS - {"timezone"} if key in entry}
        said |= {
            "task": task if isinstance(task, str) else getattr(task, "name", task),
            "schedule": _times(name, entry.get("schedule"), str(entry.get("timezone") or timezone)),
            "args": [] if is_lazy else args,
            "kwargs": {} if is_lazy else kwargs,
            "options": dict(entry.get("options") or {}),
            "is_lazy": is_lazy,
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise ScheduleRefused(name, f"{type(error).__name__}: {error}") from error
    return Definition.read(name, said)


def _times(name: str, given: Any, timezone: str) -> Any:  # noqa: PLR0911 - one for each kind
    """When code says that an entry is due."""
    match given:
        case bool() | None:
            why = f"schedule is {given!r}, expected seconds, a timedelta, a crontab or a datetime"
        case int() | float():
            return {"every": given}
        case timedelta():
            return {"every": given.total_seconds()}
        case datetime():
            return {"at": given}
        case schedules.crontab():
            return {"cron": _cron_text(given), "timezone": timezone}
        case schedules.solar():
            return {"solar": given.event, "lat": given.lat, "lon": given.lon}
        case dict():
            return {"timezone": timezone, **given} if "cron" in given else given
        case BaseModel():
            return given.model_dump()
        case _ if type(given) is schedules.schedule:
            return {"every": vars(given)["run_every"].total_seconds()}
        case _:
            why = f"schedule is a {type(given).__name__}, which cannot be kept in Redis"
    raise ScheduleRefused(name, why)


def _cron_text(crontab: Any) -> str:
    fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    return " ".join(_field(getattr(crontab, f"_orig_{field}")) for field in fields)


def _field(given: Any) -> str:
    if isinstance(given, str):
        return "".join(given.split())
    return ",".join(str(one) for one in sorted(given)) if isinstance(given, Iterable) else str(given)
