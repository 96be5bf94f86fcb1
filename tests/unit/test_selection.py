"""Which dead letters are meant: filters, ages, and the options of the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dlq import Entry, Selection
from dlq.filters import Filters, with_filters
from dlq.selection import parse_age

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def entry(task: str = "shop.charge", queue: str = "celery", reason: str = "failed") -> Entry:
    """An entry of which only three things matter."""
    raw = json.dumps({"headers": {"task": task}}).encode()
    return Entry.of(b"1-0", {b"raw": raw, b"list": queue.encode(), b"reason": reason.encode()})


@pytest.mark.parametrize(
    ("selection", "is_meant"),
    [
        (Selection(), True),
        (Selection(reason="failed"), True),
        (Selection(reason="crashed"), False),
        (Selection(task="shop.charge"), True),
        (Selection(task="shop.*"), True),
        (Selection(task="shop.charg?"), True),
        (Selection(task="Shop.*"), False),
        (Selection(task="shop"), False),
        (Selection(queue="celery"), True),
        (Selection(queue="cel*"), False),
        (Selection(reason="failed", task="shop.*", queue="celery"), True),
        (Selection(reason="failed", task="shop.*", queue="other"), False),
    ],
)
def test_all_filters_must_hold(selection: Selection, *, is_meant: bool) -> None:
    """An empty selection lets everything through."""
    assert selection.matches(entry()) is is_meant


@pytest.mark.parametrize(
    ("since", "first_id"),
    [
        (None, "-"),
        (datetime(2026, 11, 20, 12, 0, 0, 1000, tzinfo=UTC), "1795176000001"),
        (datetime(1900, 1, 1, tzinfo=UTC), "0"),
        (datetime.min.replace(tzinfo=UTC), "0"),
    ],
)
def test_a_time_is_a_stream_id(since: datetime | None, first_id: str) -> None:
    """Redis has no ids before 1970."""
    assert Selection(since=since).first_id == first_id


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        (" 15m ", timedelta(minutes=15)),
        ("1.5h", timedelta(hours=1, minutes=30)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_an_age_is_written_as_people_do(text: str, age: timedelta) -> None:
    """A number and a unit."""
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "15", "m", "-5m", "5 m", "5mm", "1e3s", "tomorrow"])
def test_what_is_no_age_is_refused_with_examples(text: str) -> None:
    """The error tells how to do better."""
    with pytest.raises(ValueError, match="expected an age such as 90s, 15m, 2h or 7d, got "):
        parse_age(text)


def test_an_age_beyond_all_calendars_is_refused() -> None:
    """As a wrong value, not as an overflow."""
    with pytest.raises(ValueError, match="less than a billion days, got '9999999999d'"):
        parse_age("9999999999d")


def filters_from(*args: str) -> Filters | str:
    """What the options make of these words: filters, or the last line of the complaint."""
    found: list[Filters] = []

    @click.command()
    @with_filters
    def command(*, filters: Filters) -> None:
        found.append(filters)

    result = CliRunner().invoke(command, args)
    return found[0] if found else result.stderr.splitlines()[-1]


def test_no_options_mean_everything() -> None:
    """Which is told apart from any filter."""
    filters = filters_from()
    assert filters == Filters(None, None, None, None, None, None)
    assert filters.is_empty
    assert filters.selection(NOW) == Selection()


@pytest.mark.parametrize(
    ("args", "selection"),
    [
        (("--reason", "unknown_task"), Selection(reason="unknown_task")),
        (("--task", "shop.*", "--queue", "q"), Selection(task="shop.*", queue="q")),
        (("--limit", "7"), Selection(limit=7)),
        (("--since", "15m"), Selection(since=NOW - timedelta(minutes=15))),
        (("--since", "900000000d"), Selection(since=datetime.min.replace(tzinfo=UTC))),
        (("--since", "2026-11-20T10:00:00+01:00"), Selection(since=datetime(2026, 11, 20, 9, 0, tzinfo=UTC))),
        (("--since", "2026-11-20"), Selection(since=datetime(2026, 11, 20).astimezone())),
    ],
)
def test_options_become_a_selection(args: tuple[str, ...], selection: Selection) -> None:
    """Ages count from the given time; a time without a zone is local."""
    filters = filters_from(*args)
    assert isinstance(filters, Filters)
    assert not filters.is_empty
    assert filters.selection(NOW) == selection


def test_a_limit_wins_over_the_default() -> None:
    """Which stands in only when none is given."""
    limits: list[Any] = [
        filters.selection(NOW, default_limit=50).limit
        for filters in (filters_from(), filters_from("--limit", "900"))
        if isinstance(filters, Filters)
    ]
    assert limits == [50, 900]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("--reason", "Crash"), "unknown reason 'Crash', did you mean crashed?"),
        (("--reason", "zzz"), "unknown reason 'zzz', known are: crashed, expired, failed, "),
        (("--since", "yesterday"), "'yesterday' is neither an age such as 90s, 15m, 2h or 7d nor an ISO time"),
        (("--limit", "0"), "0 is not in the range x>=1."),
    ],
)
def test_a_wrong_option_is_told_with_the_right_one(args: tuple[str, ...], complaint: str) -> None:
    """In one line."""
    answer = filters_from(*args)
    assert isinstance(answer, str)
    assert complaint in answer
