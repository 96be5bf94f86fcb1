"""Messages of signals: what all of one subscriber have in common, made once by Celery.

As with :mod:`hardening.delivery.template`: a sample message with marks where ids and payload stand is written as JSON
once and cut at the marks; each message is the pieces with its own parts between them. A test compares what comes out
with what Celery makes one by one. Where somebody looks at each publication (tracers, by Celery's signals), each is made
by Celery. Messages of signals have no receipts, so nothing of them is left in Redis once they are done; nor do they
keep results, for nobody knows their ids.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.compression import compress
from kombu.exceptions import EncodeError
from kombu.utils.json import JSONEncoder

from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.keys import list_of
from hardening.core.travel import outgoing
from hardening.delivery.draft import Draft
from hardening.delivery.shortcut import is_watched

if TYPE_CHECKING:
    from hardening.agents.router.subscriber import Subscriber

__all__ = ["SIGNAL_HEADER", "Casting", "Mould"]

#: Under which a message says of which signal it is.
SIGNAL_HEADER = "hardening_signal"

_encode = JSONEncoder().encode
_ANY_ID = re.compile("([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
_END = _encode({"callbacks": None, "errbacks": None, "chain": None, "chord": None})


class Casting:
    """What all messages of one signal have in common.

    Args:
        app: who emits.
        signal: its name.
        payload: JSON.

    Raises:
        kombu.exceptions.EncodeError: the payload is not.
    """

    def __init__(self, app: Any, signal: str, payload: Any) -> None:
        self.app = app
        self.signal = signal
        self.payload = payload
        try:
            text = str(_encode(payload))
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"the payload of {signal} is not JSON: {error}") from error
        self.arguments = f"{_encode(signal)}, {text}"
        most: int = app.amqp.argsrepr_maxsize
        self.shown = f"{signal!r}, {text if len(text) <= most else text[:most] + '...'}"
        parent: Any = app.current_worker_task
        self.parent = parent.request.id if parent else None
        self.root = (parent.request.root_id or self.parent) if parent else None
        more = "".join(f", {_encode(name)}: {_encode(value)}" for name, value in outgoing().items())
        self.header = f"{_encode(signal)}{more}"
        own = app.__class__.send_task is not Celery.send_task or "send_task" in vars(app)
        self.is_one_by_one = own or is_watched()
        self.bodies: dict[tuple[str, str], str] = {}


class _Sample(Draft):
    """Takes down what Celery makes, without a receipt."""

    def dumped(self, message: str) -> str:
        """The message as it gets to Redis."""
        self.payload["headers"].pop(payloads.RECEIPT_HEADER, None)
        return payloads.dump(self.payload, message).decode()


class Mould:
    """What all messages for one subscriber have in common.

    Args:
        app: who emits.
        subscriber: whose.

    Attributes:
        list_key: the list they go to.
        queue: whose list that is.
    """

    def __init__(self, app: Any, subscriber: Subscriber) -> None:
        self._to = subscriber
        self.queue = subscriber.queue
        self.list_key = list_of(subscriber.queue, subscriber.priority)
        said, kwargs = _encode(list(subscriber.args))[1:-1], _encode(subscriber.kwargs)
        self._head, self._tail = f"[[{said}{', ' if said else ''}", f"], {kwargs}, {_END}]"
        self._shown = "".join(f"{arg!r}, " for arg in subscriber.args)
        marks = {name: raw_message.new_id() for name in ("task", "message", "body", "args", "root", "parent", "header")}
        sample = self._made(
            app, (), task_id=marks["task"], argsrepr=marks["args"], root_id=marks["root"], parent_id=marks["parent"],
            headers={SIGNAL_HEADER: marks["header"]},
        )  # fmt: skip
        for header in outgoing():
            sample.payload["headers"].pop(header, None)
        self._compression = sample.payload["headers"].get("compression")
        sample.payload["body"] = marks["body"]
        sample.payload["properties"]["delivery_tag"] = marks["message"]
        text = sample.dumped(marks["message"])
        for name in ("root", "parent", "header"):  # not only text stands there
            text = text.replace(f'"{marks[name]}"', marks[name])
        self._pieces = _ANY_ID.split(text)
        self._at = [[at for at, piece in enumerate(self._pieces) if piece == mark] for mark in marks.values()]

    def message(self, casting: Casting) -> bytes:
        """The message of one signal."""
        if casting.is_one_by_one:
            return self._one(casting)
        body = casting.bodies.get((self._head, self._tail))
        if body is None:
            body = self._body(f"{self._head}{casting.arguments}{self._tail}")
            casting.bodies[self._head, self._tail] = body
        task = raw_message.new_id()
        parts = (
            task,
            raw_message.new_id(),
            body,
            encode_basestring_ascii(f"({self._shown}{casting.shown})")[1:-1],
            f'"{casting.root or task}"',
            f'"{casting.parent}"' if casting.parent else "null",
            casting.header,
        )
        pieces = self._pieces.copy()
        for part, places in zip(parts, self._at, strict=True):
            for at in places:
                pieces[at] = part
        return "".join(pieces).encode()

    def _one(self, casting: Casting) -> bytes:
        args = (*self._to.args, casting.signal, casting.payload)
        shown = f"({self._shown}{casting.shown})"
        draft = self._made(casting.app, args, argsrepr=shown, headers={SIGNAL_HEADER: casting.signal})
        return draft.dumped(draft.payload["properties"]["delivery_tag"]).encode()

    def _made(self, app: Any, args: tuple[Any, ...], **options: Any) -> _Sample:
        """Has Celery make it. What an emitter may know of the task is set aside, for others do not."""
        to, draft = self._to, _Sample(app, "", {})
        shadow = f"{to.agent}.{to.handler}" if to.agent else None
        app.send_task(
            to.task, args, to.kwargs, producer=draft, queue=Queue(to.queue, Exchange(to.queue, "direct"), to.queue),
            exchange="", routing_key=to.queue, priority=to.priority, serializer="json", ignore_result=True,
            shadow=shadow, add_to_parent=False, expires=None, time_limit=None, soft_time_limit=None, **options,
        )  # fmt: skip
        return draft

    def _body(self, text: str) -> str:
        return payloads.encode_body(compress(text, self._compression)[0] if self._compression else text)
