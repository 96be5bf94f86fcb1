"""How ``celery dlq`` is told which dead letters are meant."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from dlq.reason import Reason
from dlq.selection import Selection, parse_age
from hardening.core.console import one_line, say
from hardening.core.errors import EntryNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dlq.entry import Entry
    from dlq.queue import DeadLetters

__all__ = ["Chosen", "Filters", "with_choice", "with_filters"]


#: Older than any dead letter can be.
_NOTHING_UP_TO = "0-0"


@dataclass(frozen=True, slots=True)
class Filters:
    """The options as they were given.

    Attributes:
        reason: see :class:`dlq.Selection`, like the next ones.
        task: a pattern.
        queue: a name.
        since: an age, which goes by the clock of Redis, or a time.
        limit: at least 1.
        fingerprint: a pattern.
        dlq: what tasks name as their ``dead_letter``; it takes the app to tell which.
    """

    reason: str | None
    task: str | None
    queue: str | None
    since: timedelta | datetime | None
    limit: int | None
    fingerprint: str | None
    dlq: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything is meant."""
        return all(getattr(self, name) is None for name in type(self).__slots__)

    def selection(self, now: datetime, *, default_limit: int | None = None) -> Selection:
        """What is meant at a time."""
        since = _before(now, self.since) if isinstance(self.since, timedelta) else self.since
        return Selection(self.reason, self.task, self.queue, since, self.limit or default_limit, self.fingerprint)


def _before(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


class _ReasonType(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4, for the checker
    name = "reason"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in set(Reason):
            return value
        near = difflib.get_close_matches(value.lower(), list(Reason), n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(sorted(Reason))}"
        raise click.BadParameter(f"unknown reason {value!r}, {hint}", ctx, param)


class _SinceType(click.ParamType):  # type: ignore[type-arg]
    name = "age|time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | datetime:
        try:
            return parse_age(value)
        except ValueError:
            pass
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError) as error:
            text = f"{value!r} is neither an age such as 90s, 15m, 2h or 7d nor an ISO time"
            raise click.BadParameter(text, ctx, param) from error


_OPTIONS = (
    click.option("--reason", type=_ReasonType(), help=f"Why they died: {', '.join(Reason)}."),
    click.option("--task", metavar="PATTERN", help="Name of the task; * and ? match as in file names."),
    click.option("--queue", metavar="NAME", help="Where they were taken from."),
    click.option("--dlq", metavar="NAME", help="Of tasks that name it: @app.task(dead_letter=NAME)."),
    click.option("--fingerprint", metavar="PATTERN", help="What failed and where, as in stats; * and ? match."),
    click.option("--since", type=_SinceType(), help="Died at most so long ago (15m, 2h, 7d), or since an ISO time."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many."),
)


def with_filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options and passes them on as one :class:`Filters`."""

    @wraps(command)
    def call(*args: Any, **options: Any) -> Any:
        filters = Filters(**{name: options.pop(name) for name in Filters.__slots__})
        return command(*args, filters=filters, **options)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


def with_choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command ids, the options and ``--all``, one of which must be given."""

    @wraps(command)
    def call(*, ids: tuple[str, ...], filters: Filters, all_: bool, **options: Any) -> Any:
        if not (ids or all_) and filters.is_empty:
            raise click.UsageError("say which: ids, or filters such as --reason, or --all")
        if ids and (all_ or not filters.is_empty):
            raise click.UsageError("ids say which by themselves: leave out --all and the filters, or the ids")
        if all_ and not replace(filters, limit=None).is_empty:
            raise click.UsageError("--all means every dead letter, filters only some: leave out one or the other")
        return command(ids=ids, filters=filters, **options)

    filtered = click.option("--all", "all_", is_flag=True, help="Every dead letter; --limit may say less.")(
        with_filters(call)
    )
    return click.argument("ids", nargs=-1, metavar="[ID]...")(filtered)


class Chosen:
    """The dead letters that a command is for.

    May be gone through more than once. After :meth:`count`, what dies later is never among them.

    Args:
        letters: where they are looked for.
        ids: of which; those that are not there are named on stderr.
        selection: which, when there are no ids.

    Attributes:
        seen: how many there were, the last time.
    """

    def __init__(self, letters: DeadLetters, ids: Sequence[str], selection: Selection) -> None:
        self._letters = letters
        self._ids = tuple(dict.fromkeys(ids))
        self._selection = selection
        self._named = [entry for entry_id in self._ids if (entry := _find(letters, entry_id))]
        self._up_to: str | None = None
        self.seen = 0

    def __iter__(self) -> Iterator[Entry]:
        """Goes through them, oldest first; named ones in the order given."""
        self.seen = 0
        entries = self._named if self._ids else self._letters.select(self._selection, up_to=self._up_to)
        for entry in entries:
            self.seen += 1
            yield entry

    @property
    def asked(self) -> int:
        """How many were asked for."""
        return len(self._ids) or self.seen

    def expected(self) -> int | None:
        """How many there will be, if that can be told without looking for them."""
        if self._ids:
            return len(self._named)
        if self._selection.since is not None or self._selection.limit is not None:
            return self._selection.limit
        return self._letters.stats(self._selection).total

    def count(self) -> int:
        """How many there are; from here on no more can come."""
        for entry in self:
            self._up_to = entry.id
        self._up_to = self._up_to or _NOTHING_UP_TO
        return self.seen


def _find(letters: DeadLetters, entry_id: str) -> Entry | None:
    try:
        return letters.get(entry_id)
    except EntryNotFound as error:
        say(one_line(str(error)), err=True)
        return None
