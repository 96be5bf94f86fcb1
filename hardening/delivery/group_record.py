"""What Redis keeps of messages that were sent as one: which they are, and whose results they return.

It is written once they are published, by the process that sends, before that tells anybody the group's id. It is
JSON, and like all that is in Redis not trusted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.deployment import client_of, scope_of
from hardening.core.scripts.grouping import keep_group

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.scripts import Call

__all__ = ["GroupRecord", "Returned"]


class Returned(NamedTuple):
    """A task whose result is part of what a group returns.

    Attributes:
        task_id: its id.
        receipt: the id of the receipt of the message that leads to it; empty: that is not known, as for a chord's body.
    """

    task_id: str
    receipt: str


class GroupRecord(NamedTuple):
    """What is kept.

    Attributes:
        members: ids of the receipts, in the order in which they were sent.
        results: whose results it returns, as :class:`Returned`, or a tuple of them for a group in it.
        body: of a chord: the id of the task that is called with what its header returns.
    """

    members: tuple[str, ...]
    results: tuple[Any, ...]
    body: str

    def keep(self, app: Celery, group: str) -> Call:
        """The call that writes it."""
        told = {"members": self.members, "results": _told(self.results), "body": self.body}
        return keep_group(scope_of(app), group, json.dumps(told, separators=(",", ":")).encode())

    @staticmethod
    def read(app: Celery, group: str) -> GroupRecord | None:
        """What was written, which from now on is kept as long again; None: nothing, or nothing that makes sense.

        Raises:
            redis.RedisError: Redis is away.
        """
        scope = scope_of(app)
        kept: Any = client_of(app).getex(scope.keys.group(group), px=scope.receipt_ttl_ms)
        try:
            told = json.loads(kept or b"")
            members, results, body = told["members"], told["results"], told["body"]
            if not isinstance(body, str) or not all(isinstance(one, str) for one in members):
                return None
            return GroupRecord(tuple(members), _read(results), body)
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


def _told(results: tuple[Any, ...]) -> list[Any]:
    return [one._asdict() if isinstance(one, Returned) else _told(one) for one in results]


def _read(told: list[Any]) -> tuple[Any, ...]:
    return tuple(
        Returned(str(one["task_id"]), str(one["receipt"])) if isinstance(one, dict) else _read(one) for one in told
    )
