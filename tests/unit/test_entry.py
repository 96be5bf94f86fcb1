"""Dead letters: reading what anybody may have written, and writing a message anew."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlq
from dlq import Entry, Reason
from dlq.body import read_content
from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.context_header import HEADER, bounded_context

MESSAGE = "m" * 36
RECEIPT = "r" * 36
DEEP = b"[" * 50_000 + b"]" * 50_000
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
)


def raw_of(*, receipt: str | None = None, body: Any = None, **headers: Any) -> bytes:
    """A message as a hardened producer writes it."""
    payload = {
        "body": payloads.encode_body(json.dumps([[1], {}, {}] if body is None else body)),
        "content-type": "application/json",
        "headers": {"task": "shop.charge", "id": "t1", "retries": 2, "eta": "2026-01-01T00:00:00", **headers},
        "properties": {"delivery_tag": MESSAGE, "body_encoding": "base64"},
    }
    return payloads.dump(payload, MESSAGE, receipt)


def entry_of(raw: bytes, **fields: str) -> Entry:
    """An entry as the stream has it."""
    stored = {"list": "celery\x06\x163", "message": MESSAGE, "reason": "failed", "crashes": "1", **fields}
    encoded = {name.encode(): value.encode() for name, value in stored.items()}
    return Entry.of(b"1700000000123-4", {b"raw": raw, **encoded})


def test_an_entry_tells_all_that_is_known() -> None:
    """What the stream has and what the message's headers say stand side by side."""
    context = bounded_context("c1", "checkout", {"order": 7}, [("cart was full", {})])
    raw = raw_of(
        receipt=RECEIPT, hardening_metadata={"order": 7}, hardening_replayed_from="1-0", hardening_attempts=4,
        **{HEADER: context},
    )  # fmt: skip
    entry = entry_of(
        raw, receipt=RECEIPT, error="ValueError: no", traceback="Traceback", worker="w1", fingerprint="ValueError",
        once="1", imported_from="2-0", group="g1",
    )  # fmt: skip
    assert (entry.id, entry.reason, entry.task, entry.raw) == ("1700000000123-4", "failed", "shop.charge", raw)
    assert (entry.queue, entry.list_key) == ("celery", "celery\x06\x163")
    assert (entry.message, entry.receipt, entry.worker, entry.crashes) == (MESSAGE, RECEIPT, "w1", 1)
    assert (entry.error, entry.traceback, entry.fingerprint) == ("ValueError: no", "Traceback", "ValueError")
    assert (entry.is_once, entry.imported_from, entry.group) == (True, "2-0", "g1")
    assert (entry.task_id, entry.retries, entry.attempts) == ("t1", 2, 4)
    assert (entry.metadata, entry.replayed_from) == ({"order": 7}, "1-0")
    assert entry.context == context
    assert entry.died_at == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("label", "task"), [("t", "t"), (r"caf\u00e9", "café"), ("bad\\", "bad\\"), (r"\ud800", "\ud800"), ("", "")]
)
def test_the_task_is_what_the_stream_says(label: str, task: str) -> None:
    """It was read off the headers when the message was buried, as it stood in JSON."""
    assert entry_of(raw_of(), task=label).task == task


@pytest.mark.parametrize("attempts", [-3, "many", None, [], 1e400])
def test_a_count_of_attempts_that_is_none_is_nought(attempts: Any) -> None:
    """Anybody may have sent the header."""
    assert entry_of(raw_of(hardening_attempts=attempts)).attempts == 0


def test_the_raw_message_is_not_in_the_repr() -> None:
    """A logged entry does not spill the message."""
    assert "raw=" not in repr(entry_of(raw_of()))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[1]",
        b"not json",
        DEEP,
        b'{"headers": ' + DEEP + b"}",
        b'{"headers": 5}',
        b'{"headers": [["task", "x"]]}',
        b'{"headers": {"task": {"a": 1}, "id": [2], "retries": "many", "hardening_metadata": 3}}',
        b'{"headers": {"retries": Infinity, "hardening_replayed_from": 4}}',
        b'{"headers": {"retries": NaN}}',
        b'{"headers": {"retries": ' + b"9" * 5000 + b"}}",
    ],
)
def test_a_hostile_message_is_an_entry_with_blanks(raw: bytes) -> None:
    """Wrong types, wrong bytes, depth and size leave fields empty, and raise nothing."""
    entry = entry_of(raw)
    found = (entry.task, entry.task_id, entry.retries, entry.metadata, entry.context, entry.replayed_from)
    assert found == ("", "", 0, {}, {}, "")
    assert entry.raw == raw


@pytest.mark.parametrize("crashes", ["", "x", "1e9"])
def test_a_crash_count_that_is_no_number_is_none(crashes: str) -> None:
    """The stream may have been written to by hand."""
    assert entry_of(raw_of(), crashes=crashes).crashes == 0


def test_a_replayed_message_starts_afresh() -> None:
    """A new id, no retries, no ETA, no expiry, and where it came from; the rest stays."""
    entry = entry_of(raw_of(receipt=RECEIPT, expires="2026-01-01T00:00:00"), receipt=RECEIPT)
    raw = entry.replay_raw()
    before, after = payloads.load(entry.raw), payloads.load(raw)
    new = raw_message.message_id(raw)
    assert new != MESSAGE
    assert raw_message.receipt_id(raw) == RECEIPT
    assert after == {
        **before,
        raw_message.FIELD: raw_message.mark(new, RECEIPT),
        "headers": {
            **before["headers"],
            "retries": 0,
            "eta": None,
            "expires": None,
            "hardening_replayed_from": entry.id,
        },
        "properties": {**before["properties"], "delivery_tag": new},
    }


def test_a_replayed_message_of_a_stock_producer_is_marked() -> None:
    """From here on the ledger covers it."""
    payload = payloads.load(raw_of())
    del payload[raw_message.FIELD]
    raw = entry_of(json.dumps(payload).encode()).replay_raw()
    assert raw_message.is_marked(raw)
    assert raw_message.receipt_id(raw) is None


@pytest.mark.parametrize("reason", [Reason.EXPIRED, Reason.FAILED])
def test_whatever_is_replayed_loses_its_expiry(reason: Reason) -> None:
    """An operator's word is that it runs; replaying it would be in vain otherwise."""
    raw = entry_of(raw_of(expires="2026-01-01T00:00:00"), reason=reason).replay_raw()
    assert payloads.load(raw)["headers"]["expires"] is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff", b"[]", DEEP, b"{}", b'{"headers": {}}', b'{"headers": 1, "properties": {}}', b'{"headers": []}'],
)
def test_what_cannot_be_read_is_replayed_as_it_is(raw: bytes) -> None:
    """Not a byte is lost by asking for a replay."""
    assert entry_of(raw).replay_raw() == raw


def test_a_receipt_that_is_none_is_not_carried_on() -> None:
    """A forged receipt id cannot break the mark: such a message goes back as it is."""
    entry = entry_of(raw_of(), receipt="é" * 36)
    assert entry.replay_raw() == entry.raw


@given(st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_can_break_an_entry(raw: bytes) -> None:
    """Whatever was published can be listed, shown and replayed."""
    entry = entry_of(raw)
    assert isinstance(entry.replay_raw(), bytes)
    assert isinstance(read_content(raw).problem, str)


@given(ANY_JSON, ANY_JSON, ANY_JSON)
def test_no_types_can_break_an_entry(headers: Any, properties: Any, body: Any) -> None:
    """Nor whatever stands where a header, a property or a body should."""
    payload = {"headers": headers, "properties": properties, "body": body, "content-type": "application/json"}
    raw = json.dumps(payload).encode()
    entry = entry_of(raw)
    assert isinstance(entry.replay_raw(), bytes)
    assert isinstance(entry.context, dict)
    assert isinstance(read_content(raw).headers, dict)


def test_a_body_is_read_without_being_run() -> None:
    """The arguments of a task, as JSON."""
    content = read_content(raw_of(body=[[1, "é"], {"a": None}, {}]))
    assert (content.body, content.problem) == ([[1, "é"], {"a": None}, {}], "")
    assert content.headers["task"] == "shop.charge"


def test_a_body_need_not_be_base64() -> None:
    """Kombu can be told to leave it as it is."""
    raw = json.dumps({"body": "[[2], {}, {}]", "content-type": "application/json"}).encode()
    assert read_content(raw).body == [[2], {}, {}]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"headers": {"compression": "application/x-gzip"}}, "the body is compressed: application/x-gzip"),
        ({"content-type": "application/x-python-serialize"}, "the body is not JSON but application/x-python-serialize"),
        ({"content-type": None}, "the body is not JSON but None"),
        ({"body": "!"}, "the body cannot be decoded: "),
        ({"body": 5}, "the body cannot be decoded: "),
        ({"properties": None}, "the body cannot be decoded: "),
        ({"body": base64.b64encode(b"\xff").decode()}, "the body cannot be decoded: "),
        ({"body": base64.b64encode(DEEP).decode()}, "the body cannot be decoded: "),
    ],
)
def test_a_body_that_cannot_be_read_says_why(change: dict[str, Any], problem: str) -> None:
    """Nothing is unpacked or unpickled, and nothing is raised."""
    content = read_content(json.dumps({**payloads.load(raw_of()), **change}).encode())
    assert content.problem.startswith(problem)
    assert content.body is None


def test_a_message_that_is_no_json_says_so() -> None:
    """There are no headers then either."""
    content = read_content(b"\xff")
    assert content.problem.startswith("the message is no JSON object: ")
    assert content.headers == {}


def test_the_package_has_no_other_names() -> None:
    """Names are loaded late, but a wrong one fails as usual."""
    with pytest.raises(AttributeError, match="module 'dlq' has no attribute 'Letters'"):
        _ = dlq.Letters
