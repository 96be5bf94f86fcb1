"""Payloads: kombu's JSON, and the little of it that the transport reads."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardening.core import payload as payloads
from hardening.core import raw as raw_message

ID = "m" * 36


@pytest.mark.parametrize(
    ("payload", "is_tracked"),
    [
        ({"headers": {"task": "t"}}, True),
        ({"headers": {"task": ""}}, True),
        ({"headers": {"hostname": "h"}}, False),
        ({"headers": {}}, False),
        ({"headers": None}, False),
        ({}, False),
    ],
)
def test_only_tasks_are_tracked(payload: dict[str, Any], *, is_tracked: bool) -> None:
    """Events, replies and results are not in the ledger."""
    assert payloads.is_tracked(payload) is is_tracked


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(st.dictionaries(st.text().filter(lambda key: key != raw_message.FIELD), JSON))
def test_what_is_dumped_is_loaded(payload: dict[str, Any]) -> None:
    """With the mark in front."""
    raw = payloads.dump(payload, ID)
    assert payloads.load(raw) == {raw_message.FIELD: ID + raw_message.NO_RECEIPT, **payload}
    assert raw_message.message_id(raw) == ID


def test_what_kombu_can_encode_we_can() -> None:
    """Stock Celery lets dates into headers."""
    at = datetime(2026, 11, 20, tzinfo=UTC)
    raw = payloads.dump({"headers": {"at": at}}, ID)
    assert json.loads(raw)["headers"]["at"] == {"__type__": "datetime", "__value__": at.isoformat()}


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"\x80\x04", b"[1]", b'"text"', b"null", b"1", b"{} {}"])
def test_what_is_not_a_json_object_is_a_value_error(raw: bytes) -> None:
    """Whatever else it is; the message is then buried."""
    with pytest.raises(ValueError, match=r"."):
        payloads.load(raw)


def test_a_json_object_is_asked_for_by_name() -> None:
    """The dead letter says what there was instead."""
    with pytest.raises(ValueError, match="expected a JSON object, got list"):
        payloads.load(b"[]")


@given(st.binary())
def test_a_body_is_base64(body: bytes) -> None:
    """As kombu's virtual transports have it."""
    assert base64.b64decode(payloads.encode_body(body)) == body


def test_a_body_of_text_is_utf_8() -> None:
    """As kombu encodes it."""
    assert base64.b64decode(payloads.encode_body("\u2603")).decode() == "\u2603"


NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOON_MS = 1_795_176_000_000


@pytest.mark.parametrize(
    ("eta", "due_ms"),
    [
        (NOON.isoformat(), NOON_MS),
        ("2026-11-20T12:00:00Z", NOON_MS),
        ("2026-11-20T12:00:00", NOON_MS),
        ("2026-11-20T14:00:00+02:00", NOON_MS),
        ("2026-11-20T12:00:00.123456+00:00", NOON_MS + 123),
        ("2026-11-20", NOON_MS - 12 * 3_600_000),
        ("1970-01-01T00:00:00", 0),
        ("1969-12-31T23:59:59+00:00", -1000),
        ("9999-12-31T23:59:59.999999-12:00", 253_402_343_999_999),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200_000),
    ],
)
def test_a_due_time_is_read_in_whatever_zone(eta: str, due_ms: int) -> None:
    """Without one it is UTC, as Celery has it."""
    assert payloads.due_ms({"headers": {"eta": eta}}) == due_ms


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9000, 1, 1)),  # noqa: DTZ001 - the zone is drawn
    st.integers(-14 * 60, 14 * 60),
)
def test_a_due_time_is_never_late_and_less_than_a_millisecond_early(at: datetime, minutes: int) -> None:
    """Redis has whole milliseconds."""
    aware = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    exact_us = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert 0 <= exact_us - payloads.due_ms({"headers": {"eta": aware.isoformat()}}) * 1000 < 1000


@pytest.mark.parametrize("eta", [None, "", "soon", "2026-13-01", 5, 1.5, ["2026-11-20"], {}, "9" * 400])
def test_a_due_time_that_cannot_be_read_is_now(eta: object) -> None:
    """Celery will say what it thinks of it when it gets the message."""
    assert payloads.due_ms({"headers": {"eta": eta}}) == 0


@pytest.mark.parametrize("payload", [{}, {"headers": None}, {"headers": {}}])
def test_a_message_without_headers_is_due_now(payload: dict[str, Any]) -> None:
    """Not everything on a queue is a task."""
    assert payloads.due_ms(payload) == 0
