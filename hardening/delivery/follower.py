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
    from collections.abc import Sequence

    from celery import Celery

__all__ = ["PAUSE_S", "Follower", "block_ms", "read", "spooled"]

#: How soon a waiter asks again when Redis is away, in seconds.
PAUSE_S = 0.1


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
        kept: dict[str, str] = {}
        try:
            kept = spooled(self._app, self._receipt)
        except SpoolError as error:
            unreadable = error
        key = settings_of(self._app).keys.delivery(self._receipt)
        try:
            stored: dict[Any, Any] = client_of(self._app).hgetall(key)
        except TRANSIENT:
            if not kept:
                raise
            stored = {}
        if not stored and unreadable is not None:
            raise unreadable
        return {name.decode(): value.decode("utf-8", "replace") for name, value in stored.items()} or kept

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
            return read(call.run(client_of(self._app)))
        except TRANSIENT:
            if left_s <= PAUSE_S:
                raise
            threading.Event().wait(PAUSE_S)
            return {}, ""

    def await_change(self, last: str, left_s: float) -> None:
        """Blocks on the server until there is a change after ``last``, for less than the socket's timeout."""
        if not last:
            return
        settings = settings_of(self._app)
        wait_ms = block_ms(left_s, settings.socket_timeout_s)
        with suppress(*TRANSIENT):  # the next look will tell
            client_of(self._app).xread({settings.keys.changes(self._receipt): last}, block=wait_ms)


def spooled(app: Celery, receipt: str) -> dict[str, str]:
    """What the spool of this host says of a receipt; nothing, if that is not in it.

    Raises:
        SpoolError: it cannot be read.
    """
    found = fallback_of(app).spool.find(receipt)
    return {**found.publication.fields, "state": DeliveryStatus.SPOOLED.value} if found else {}


def read(reply: Sequence[bytes]) -> tuple[dict[str, str], str]:
    """What ``watch`` replied: what the receipt says, and the id of the last change that was told of."""
    last, *parts = [part.decode("utf-8", "replace") for part in reply or (b"0",)]
    return dict(zip(parts[::2], parts[1::2], strict=True)), last


def block_ms(left_s: float, socket_timeout_s: float) -> int:
    """For how long to block on the server, in ms: a socket must not give up first."""
    return max(1, int(min(left_s, socket_timeout_s / 2) * 1000))
