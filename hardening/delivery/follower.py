"""Following one receipt in Redis and in this host's spool: reading it, and waiting for its next change."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import SpoolError
from hardening.core.scripts.calls import watch
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.fallback import fallback_of
from hardening.delivery.receipt_state import DeliveryStatus

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["Follower"]

#: How soon a waiter asks again when Redis is away, in seconds.
_PAUSE_S = 0.1


class Follower:
    """Follows one receipt.

    Args:
        app: over whose broker the message travels.
        receipt: the id of the receipt.
    """

    def __init__(self, app: Celery, receipt: str) -> None:
        self._app = app
        self._receipt = receipt

    def fields(self) -> dict[str, str]:
        """What Redis says; if that is nothing, what the spool of this host does.

        The spool is looked at first: what leaves it between both looks is in Redis by then.

        Raises:
            SpoolError: Redis knows nothing of it, and the spool cannot be read.
            redis.RedisError: Redis is away, and the spool knows nothing of it.
        """
        unreadable: SpoolError | None = None
        spooled: dict[str, str] = {}
        try:
            spooled = self._spooled()
        except SpoolError as error:
            unreadable = error
        key = settings_of(self._app).keys.delivery(self._receipt)
        try:
            stored: dict[Any, Any] = client_of(self._app).hgetall(key)
        except TRANSIENT:
            if not spooled:
                raise
            stored = {}
        if not stored and unreadable is not None:
            raise unreadable
        return {name.decode(): value.decode("utf-8", "replace") for name, value in stored.items()} or spooled

    def _spooled(self) -> dict[str, str]:
        found = fallback_of(self._app).spool.find(self._receipt)
        return {**found.publication.fields, "state": DeliveryStatus.SPOOLED.value} if found else {}

    def watch(self, left_s: float) -> tuple[dict[str, str], str]:
        """What the receipt says, and the id of the last change that was told of; from now on all are.

        While Redis is away that is nothing, after a moment.

        Args:
            left_s: for how long the waiter will wait yet, in seconds.

        Raises:
            redis.RedisError: Redis is away, and there is no time left.
        """
        settings = settings_of(self._app)
        try:  # whoever waits looks again within half a socket timeout
            call = watch(settings.keys, self._receipt, round(settings.socket_timeout_s * 1000))
            reply: list[bytes] = call.run(client_of(self._app)) or [b"0"]
        except TRANSIENT:
            if left_s <= _PAUSE_S:
                raise
            threading.Event().wait(_PAUSE_S)
            return {}, ""
        texts = [part.decode("utf-8", "replace") for part in reply]
        return dict(zip(texts[1::2], texts[2::2], strict=True)), texts[0]

    def await_change(self, last: str, left_s: float) -> None:
        """Blocks on the server until there is a change after ``last``, for less than the socket's timeout."""
        if not last:
            return
        settings = settings_of(self._app)
        block_ms = max(1, int(min(left_s, settings.socket_timeout_s / 2) * 1000))
        with suppress(*TRANSIENT):  # the next look will tell
            client_of(self._app).xread({settings.keys.changes(self._receipt): last}, block=block_ms)
