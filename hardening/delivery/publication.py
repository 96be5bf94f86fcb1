"""A finished message with all that publishing it takes: it needs neither the task's code nor its app's routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardening.core import raw as raw_message
from hardening.delivery.idempotency import DIGEST_FIELD, once_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardening.core.scripts import Call, Scope

__all__ = ["Publication"]


@dataclass(frozen=True, slots=True)
class Publication:
    """What one supervised send publishes.

    Attributes:
        list_key: the list it goes to.
        queue: whose list that is.
        raw: the raw message.
        due_ms: when it is due, in ms since the epoch; 0: at once.
        fields: what its receipt says besides its state.
    """

    list_key: str
    queue: str
    raw: bytes
    due_ms: int
    fields: Mapping[str, str]

    @property
    def receipt(self) -> str:
        """The id of its receipt."""
        return raw_message.receipt_id(self.raw) or ""

    @property
    def task(self) -> str:
        """Its task's name."""
        return self.fields.get("task", "")

    @property
    def digest(self) -> str:
        """Of its idempotency key; empty: it has none."""
        return self.fields.get(DIGEST_FIELD, "")

    def with_message(self, raw: bytes, fields: Mapping[str, str]) -> Publication:
        """Another message that goes the same way."""
        return Publication(self.list_key, self.queue, raw, self.due_ms, {**fields, "queue": self.queue})

    def call(self, scope: Scope) -> Call:
        """Publishes it."""
        return scope.publish(
            self.list_key, self.queue, self.raw, due_ms=self.due_ms, receipt=self.fields, once=once_of(self.fields)
        )

    def flush_call(self, scope: Scope, spool: str) -> Call:
        """Publishes it out of a spool."""
        return scope.flush(
            spool, self.list_key, self.queue, self.raw, due_ms=self.due_ms, receipt=self.fields,
            once=once_of(self.fields),
        )  # fmt: skip
