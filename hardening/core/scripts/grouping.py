"""What is kept of messages that were sent as one. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from hardening.core.scripts.calls import Scope

__all__ = ["keep_group"]


def keep_group(scope: Scope, group: str, record: bytes) -> Call:
    """Keeps the record of a group for as long as a receipt is kept. Reply: 1."""
    return Call(_KEEP_GROUP, (scope.keys.group(group),), (record, scope.receipt_ttl_ms))


_KEEP_GROUP = Script.load("keep_group")
