"""What waits in a mailbox, for people who look. Nothing is taken; what others wrote is not trusted."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.agent_keys import mailbox_queue
from hardening.core.agent_message import REPLY_HEADER
from hardening.core.keys import PRIORITY_STEPS, list_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.core.redaction import Redactor

__all__ = ["Waiting", "waiting_in"]

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message that waits.

    Attributes:
        id: of the message.
        handler: what the agent is told; empty: it cannot be read.
        args: positional arguments, with secrets masked.
        kwargs: keyword arguments, likewise.
        is_asked: whether somebody waits for the answer.
        receipt: id of its receipt; empty: it has none.
    """

    id: str
    handler: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    is_asked: bool
    receipt: str


def waiting_in(client: Redis, agent: str, limit: int, redactor: Redactor) -> Iterator[Waiting]:
    """The next messages of an agent, in the order in which it gets them.

    Raises:
        redis.RedisError: as the client raises it.
    """
    left = limit
    for step in PRIORITY_STEPS:
        if left > 0:
            found: Any = client.lrange(list_of(mailbox_queue(agent), step), -left, -1)
            left -= len(found)
            yield from (_read(raw, redactor) for raw in reversed(found))


def _read(raw: bytes, redactor: Redactor) -> Waiting:
    message, receipt = raw_message.message_id(raw), raw_message.receipt_id(raw) or ""
    try:
        payload = payloads.load(raw)
        (handler, *args), kwargs, _ = json.loads(base64.b64decode(payload["body"]))
        is_asked = bool(payload["headers"].get(REPLY_HEADER))
        return Waiting(
            message, str(handler), tuple(redactor.value(args)), dict(redactor.value(kwargs)), is_asked, receipt
        )
    except _UNREADABLE:
        return Waiting(message, "", (), {}, is_asked=False, receipt=receipt)
