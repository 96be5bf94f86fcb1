"""Dead letters as the command line shows them: nothing in them can hide the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dlq import Entry
from dlq.report import as_object, as_row, as_text, raw_fields
from hardening.core.console import as_json
from hardening.core.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

TOO_DEEP = "(nested too deeply to be shown)"
REVEALING = Redactor(())
DIED_AT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.fixture
def entry() -> Entry:
    """An entry that cannot be read."""
    return Entry.of(b"1700000000000-0", {b"raw": b"?", b"list": b"q", b"error": b"e" * 200, b"reason": b"new_reason"})


@pytest.fixture
def deep() -> Iterator[Any]:
    """A list deeper than Python can recurse; it is taken apart step by step."""
    made: Any = []
    for _ in range(100_000):
        made = [made]
    yield made
    while made:
        made = made.pop()


def test_a_row_shortens_the_error(entry: Entry) -> None:
    """And keeps a reason that this version does not know."""
    row = as_row(entry, DIED_AT + timedelta(minutes=3), REVEALING)
    assert row == ("1700000000000-0", "3m", "new_reason", "(unreadable)", "q", "0/0", f"{'e' * 79}…")


def test_depth_hides_only_itself(entry: Entry, deep: Any) -> None:
    """For people and for programs."""
    vars(entry)["payload"] = {"headers": {"hardening_metadata": {"deep": deep}}}  # JSON cannot be that deep
    lines = list(as_text(entry, DIED_AT, REVEALING))
    assert lines[lines.index("metadata") + 1] == f"  {TOO_DEEP}"
    assert lines[-2:] == ["raw", "  ?"]
    found = json.loads(as_json(as_object(entry, REVEALING) | raw_fields(entry, REVEALING)))
    assert (found["metadata"], found["raw"]) == (TOO_DEEP, "?")
