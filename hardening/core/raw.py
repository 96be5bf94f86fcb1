"""What a raw message says of itself without being parsed.

Hardened publishers begin their JSON with one more key than kombu's payload has::

    {"hardening": "<message id, 36 characters><receipt id, 36 characters or dashes>", "body": ...

so that Lua reads both ids at fixed offsets. Stock Celery ignores the key and keeps it first when it
puts a message back. Mirrored by ``scripts/lib/message.lua``; a test holds the two together.
"""

from __future__ import annotations

import hashlib
import os
import re

__all__ = ["FIELD", "NO_RECEIPT", "is_marked", "mark", "message_id", "new_id", "receipt_id"]

#: The name of the key that hardened publishers put first.
FIELD = "hardening"

#: Stands where a receipt's id would, in a message without one.
NO_RECEIPT = "-" * 36

#: Two ids of characters that stand for themselves in JSON.
_PLAIN = re.compile(r"[ !#-\[\]-~]{72}")
_MARK = b'{"hardening": "'
_ID = slice(15, 51)
_RECEIPT = slice(51, 87)


def new_id() -> str:
    """A new message id or receipt id: a random UUID, written at a quarter of what the uuid module takes."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def mark(message: str, receipt: str | None = None) -> str:
    """The value to put first under :data:`FIELD`.

    Raises:
        ValueError: an id is not 36 characters long, or JSON would write it with more.
    """
    value = message + (receipt or NO_RECEIPT)
    if len(message) != len(NO_RECEIPT) or not _PLAIN.fullmatch(value):
        raise ValueError(f"ids must be 36 plain ASCII characters each, got {message!r} and {receipt!r}")
    return value


def is_marked(raw: bytes) -> bool:
    """Whether a hardened publisher made this message."""
    return raw.startswith(_MARK)


def message_id(raw: bytes) -> str:
    """The message's id: its own, or the SHA-1 of its bytes when stock Celery made it."""
    if is_marked(raw):
        return raw[_ID].decode("ascii", "replace")
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def receipt_id(raw: bytes) -> str | None:
    """The id of the receipt that follows this message, if one does."""
    if not is_marked(raw):
        return None
    receipt = raw[_RECEIPT].decode("ascii", "replace")
    return None if receipt == NO_RECEIPT else receipt
