"""What many messages of one task have in common, made once by Celery.

A sample message is made with marks where ids and arguments stand, written as JSON once, and cut at the marks; each
message is then the pieces with its own parts between them. The marks are random ids, so that nothing a user sends
is taken for one. A test compares what comes out with what Celery makes one by one.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from celery.utils.saferepr import saferepr
from kombu.compression import compress
from kombu.serialization import dumps, registry
from kombu.utils.json import JSONEncoder

from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.delivery.draft import Draft
from hardening.delivery.shortcut import send_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.delivery.publication import Publication

__all__ = ["QueueUnknown", "Template"]

_encode = JSONEncoder().encode
#: One expression for all templates, or each would stay in Python's cache of them.
_ANY_ID = re.compile("([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
#: What ``repr`` writes as Celery's careful one does, and within its limits.
_SIMPLE = frozenset({int, bool, type(None)})
_WORD = re.compile(r"[A-Za-z0-9_.:@/+-]{0,60}")
_MOST = 8
_EMBED: dict[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class QueueUnknown(Exception):
    """To which queue messages go, only Redis knows."""


class Template:
    """Messages of one task that differ in ids and arguments alone.

    Args:
        task: a plain and uniform one, see :mod:`~hardening.delivery.shortcut`.
        options: of the publication.
        fields: what each receipt says besides its state and its ids.

    Attributes:
        publication: the sample's: where the messages go, and when.

    Raises:
        QueueUnknown: where they go, only Redis knows.
    """

    def __init__(self, task: Any, options: dict[str, Any], fields: dict[str, str]) -> None:
        self._task = task
        amqp, conf = task.app.amqp, task.app.conf
        self._limits = (amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize, conf.task_repr_maxlevels)
        marks = {name: raw_message.new_id() for name in ("receipt", "message", "body", "args", "kwargs")}
        self._draft = draft = Draft(task.app, marks["receipt"], fields)
        sample = {**options, "task_id": marks["receipt"]}
        send_sample(task, sample, draft, (marks["args"], marks["kwargs"]))
        if draft.publication is None:
            raise QueueUnknown
        self.publication = draft.publication
        headers = draft.payload["headers"]
        self._compression = headers.get("compression")
        self._dumps = _dumps_by(draft.payload)
        draft.payload["body"] = marks["body"]
        draft.payload["properties"]["delivery_tag"] = marks["message"]
        text = payloads.dump(draft.payload, marks["message"], marks["receipt"]).decode()
        self._pieces = _ANY_ID.split(text)
        self._at = [[at for at, piece in enumerate(self._pieces) if piece == mark] for mark in marks.values()]

    def message(self, args: tuple[Any, ...], kwargs: dict[str, Any], receipt: str | None = None) -> tuple[str, bytes]:
        """One message: the id of its receipt, which is also its task's, and its raw bytes.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            receipt: its id; default: a new one.

        Raises:
            TypeError: the task does not take these arguments.
            kombu.exceptions.EncodeError: they cannot be serialized.
        """
        if self._task.typing:
            self._task.__header__(*args, **kwargs)
        receipt = receipt or raw_message.new_id()
        if not self._task.ignore_result:
            self._task.app.backend.on_task_call(self._draft, receipt)
        most_args, most_kwargs, levels = self._limits
        parts = (
            receipt,
            raw_message.new_id(),
            payloads.encode_body(self._body(args, kwargs)),
            encode_basestring_ascii(_shown(args, most_args, levels))[1:-1],
            encode_basestring_ascii(saferepr(kwargs, most_kwargs, maxlevels=levels) if kwargs else "{}")[1:-1],
        )
        pieces = self._pieces.copy()
        for part, places in zip(parts, self._at, strict=True):
            for at in places:
                pieces[at] = part
        return receipt, "".join(pieces).encode()

    def completed(self, receipt: str, raw: bytes) -> Publication:
        """A message of this kind with all that publishing it alone takes."""
        return self.publication.with_message(raw, {**self.publication.fields, "task_id": receipt})

    def _body(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | bytes:
        data = self._dumps((args, kwargs, _EMBED))
        return compress(data, self._compression)[0] if self._compression else data


def _dumps_by(payload: payloads.Payload) -> Callable[[Any], str | bytes]:
    """How bodies become text, or bytes: kombu's way, for JSON without its detours."""
    content_type = payload["content-type"]

    def by_kombu(body: Any) -> str | bytes:
        data: str | bytes = dumps(body, serializer=registry.type_to_name[content_type])[2]
        return data

    def as_json(body: Any) -> str | bytes:
        try:
            return str(_encode(body))
        except Exception:  # noqa: BLE001 - kombu says the same in its own words
            return by_kombu(body)

    return as_json if content_type == "application/json" else by_kombu


def _shown(args: tuple[Any, ...], most: int, levels: int) -> str:
    """The arguments as ``argsrepr`` shows them."""
    is_simple = len(args) <= _MOST and all(
        type(arg) in _SIMPLE or (type(arg) is str and _WORD.fullmatch(arg) is not None) for arg in args
    )
    if is_simple and levels and len(shown := repr(args)) < most:
        return shown
    return str(saferepr(args, most, maxlevels=levels))
