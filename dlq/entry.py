"""One dead letter."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dlq.group import label_text
from dlq.rewrite import ATTEMPTS_HEADER, METADATA_HEADER, REPLAYED_FROM_HEADER, Changes, rewrite
from hardening.core import payload as payloads
from hardening.core.context_header import HEADER, read_context
from hardening.core.keys import queue_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["METADATA_HEADER", "REPLAYED_FROM_HEADER", "Entry"]

_AS_IT_WAS = Changes()


@dataclass(frozen=True)
class Entry:
    """One dead letter. What stands in its raw message is untrusted: show it, never run it.

    Nothing is decoded or read before it is asked for, and nothing in it can make that fail.

    Attributes:
        id: of the entry in the stream.
        fields: as the stream has them.
    """

    id: str
    fields: Mapping[bytes, bytes] = field(repr=False)

    @classmethod
    def of(cls, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
        """An entry as the stream has it."""
        return cls(entry_id.decode(), fields)

    def _text(self, name: bytes) -> str:
        return self.fields.get(name, b"").decode("utf-8", "replace")

    # -- as it was buried

    @property
    def raw(self) -> bytes:
        """The message, byte for byte."""
        return self.fields.get(b"raw", b"")

    @property
    def reason(self) -> str:
        """Why it died; text that this version does not know stays as it is."""
        return self._text(b"reason")

    @cached_property
    def task(self) -> str:
        """The task's name; empty when the message does not tell it."""
        if b"task" in self.fields:
            return label_text(self._text(b"task"))
        return _text(self.headers.get("task"))

    @property
    def list_key(self) -> str:
        """The list of its queue to which it returns."""
        return self._text(b"list")

    @property
    def queue(self) -> str:
        """Where it was taken from."""
        return queue_of(self.list_key)

    @property
    def message(self) -> str:
        """The message's id."""
        return self._text(b"message")

    @property
    def receipt(self) -> str:
        """The id of its receipt, or empty."""
        return self._text(b"receipt")

    @property
    def error(self) -> str:
        """What was raised, on one line."""
        return self._text(b"error")

    @property
    def traceback(self) -> str:
        """Where it was raised, or empty."""
        return self._text(b"traceback")

    @property
    def fingerprint(self) -> str:
        """What failed and where, the same for the same problem."""
        return self._text(b"fingerprint")

    @property
    def worker(self) -> str:
        """The consumer that had it."""
        return self._text(b"worker")

    @property
    def crashes(self) -> int:
        """How many processes it has killed."""
        return _number(self._text(b"crashes"))

    @property
    def is_once(self) -> bool:
        """Whether its task runs at most once, and has run: only an operator may replay it."""
        return self.fields.get(b"once") == b"1"

    @property
    def imported_from(self) -> str:
        """The id it had where it was exported, or empty."""
        return self._text(b"imported_from")

    @property
    def group(self) -> str:
        """The id of its group."""
        return self._text(b"group")

    @property
    def died_ms(self) -> int:
        """When it was buried, or imported, by the clock of Redis, in ms since the epoch."""
        return int(self.id.partition("-")[0])

    @property
    def died_at(self) -> datetime:
        """The same as a time."""
        return datetime.fromtimestamp(self.died_ms / 1000, UTC)

    # -- what stands in the message

    @cached_property
    def payload(self) -> dict[str, Any]:
        """The message as it was published; empty when it cannot be read. Not to be changed."""
        try:
            return payloads.load(self.raw)
        except (ValueError, RecursionError):
            return {}

    @property
    def headers(self) -> dict[str, Any]:
        """The headers as Celery wrote them; empty when the message cannot be read."""
        return _mapping(self.payload.get("headers"))

    @property
    def task_id(self) -> str:
        """Celery's id of the task; empty when the message cannot be read."""
        return _text(self.headers.get("id"))

    @property
    def retries(self) -> int:
        """How often Celery had retried the task."""
        return _number(self.headers.get("retries"))

    @property
    def attempts(self) -> int:
        """How often it had been retried from the dead-letter queue before it came to lie here."""
        return max(0, _number(self.headers.get(ATTEMPTS_HEADER)))

    @property
    def metadata(self) -> dict[str, Any]:
        """What the sender gave along."""
        return _mapping(self.headers.get(METADATA_HEADER))

    @property
    def context(self) -> dict[str, Any]:
        """What its sender was doing, see :func:`hardening.error_context`; empty when it did not say. Unmasked.

        Its keys are ``correlation_id``, ``operation``, ``fields`` and ``breadcrumbs``.
        """
        return read_context(self.headers.get(HEADER)) or {}

    @property
    def replayed_from(self) -> str:
        """The dead letter from which this message was replayed, or empty."""
        return _text(self.headers.get(REPLAYED_FROM_HEADER))

    def replay_raw(self, changes: Changes = _AS_IT_WAS) -> bytes:
        """The message written anew, see :func:`dlq.rewrite.rewrite`.

        Raises:
            RewriteRefused: its arguments were to be changed and cannot be.
        """
        return rewrite(self, changes)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError):  # JSON as Python reads it knows Infinity
        return 0
