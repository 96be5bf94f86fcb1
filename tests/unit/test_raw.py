"""Raw messages: what can be read off them without parsing."""

from __future__ import annotations

import hashlib
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.raw import NO_RECEIPT

IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"\\'), min_size=36, max_size=36)


def marked(message: str, receipt: str | None) -> bytes:
    """A message as hardened publishers make it."""
    return json.dumps({raw_message.FIELD: raw_message.mark(message, receipt), "body": "x"}).encode()


@given(IDS, st.none() | IDS)
def test_both_ids_are_read_off_a_marked_message(message: str, receipt: str | None) -> None:
    """Whatever they are, and whatever follows."""
    raw = marked(message, receipt)
    assert raw_message.is_marked(raw)
    assert raw_message.message_id(raw) == message
    assert raw_message.receipt_id(raw) == (None if receipt == NO_RECEIPT else receipt)


@given(st.binary())
def test_anything_else_has_the_sha1_of_its_bytes_and_no_receipt(raw: bytes) -> None:
    """Its bytes never change here, so they are its id."""
    if not raw_message.is_marked(raw):
        assert raw_message.message_id(raw) == hashlib.sha1(raw, usedforsecurity=False).hexdigest()
        assert raw_message.receipt_id(raw) is None


@given(st.binary())
def test_a_broken_mark_harms_nobody(rest: bytes) -> None:
    """Somebody else may begin a message like ours and go on otherwise."""
    raw = b'{"hardening": "' + rest
    assert raw_message.is_marked(raw)
    assert len(raw_message.message_id(raw)) <= 36
    assert len(raw_message.receipt_id(raw) or "") <= 36


def test_new_ids_are_uuids() -> None:
    """Of 36 characters each, and never the same."""
    ids = [raw_message.new_id() for _ in range(100)]
    assert [str(uuid.UUID(one)) for one in ids] == ids
    assert len(set(ids)) == 100


@pytest.mark.parametrize(
    ("message", "receipt"),
    [
        ("x" * 35, None),
        ("x" * 37, None),
        ("", None),
        ("x" * 36, "y" * 35),
        ("x" * 37, "y" * 35),
        ("ü" * 36, None),
        ('"' * 36, None),
        ("x" * 36, "\\" * 36),
        ("x" * 36, "\n" + "y" * 35),
    ],
)
def test_ids_that_would_be_longer_or_shorter_are_refused(message: str, receipt: str | None) -> None:
    """Lua reads them at fixed offsets, as JSON writes them."""
    with pytest.raises(ValueError, match="ids must be 36 plain ASCII characters each"):
        raw_message.mark(message, receipt)


def test_the_mark_stands_where_lua_looks_for_it() -> None:
    """No encoder puts other bytes before it than the ones both sides expect."""
    message, receipt = raw_message.new_id(), raw_message.new_id()
    raw = payloads.dump({"body": "x", "headers": {"task": "t"}}, message, receipt)
    assert raw.startswith(f'{{"hardening": "{message}{receipt}", "body": "x"'.encode())
    assert json.loads(raw) == {"hardening": message + receipt, "body": "x", "headers": {"task": "t"}}


def test_a_message_keeps_its_mark_when_stock_celery_puts_it_back() -> None:
    """A stock worker parses it, changes it and writes it anew: the key stays first, the id stays the same."""
    message = raw_message.new_id()
    payload = json.loads(payloads.dump({"body": "x", "properties": {}}, message))
    payload["properties"]["delivery_info"] = {"redelivered": True}
    again = json.dumps(payload).encode()
    assert (raw_message.message_id(again), raw_message.receipt_id(again)) == (message, None)
