"""What a sender asks for: how far a message must get, in what time, and what happens when it does not."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from redis.exceptions import RedisError

from hardening.core.errors import DeliveryError, NotReplicated

if TYPE_CHECKING:
    from hardening.core.errors import PublishFailed
    from hardening.delivery.receipt import Receipt

__all__ = ["Confirm", "OnError", "Terms"]

logger = logging.getLogger("hardening.delivery")

#: How far a message must have got before the send returns.
Confirm = Literal["queued", "replicated", "claimed", "started", "acked"]
#: What happens when that fails.
OnError = Literal["dead_letter", "raise", "log", "ignore"]
#: What Redis itself confirms, as opposed to a worker.
_BY_REDIS = ("queued", "replicated")
_CONFIRMS, _ON_ERRORS = get_args(Confirm), get_args(OnError)


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one send.

    Args:
        confirm: how far it must get.
        timeout_s: for all of it together, in seconds.
        retries: how often to publish again while Redis is away.
        on_error: what happens when it does not get there.
        replicas: how many must have it, where ``confirm`` is ``replicated``.
        on_disk: whether they must have it there.

    Raises:
        ValueError: one of them makes no sense.
    """

    confirm: Confirm
    timeout_s: float
    retries: int
    on_error: OnError
    replicas: int = 1
    on_disk: bool = False

    def __post_init__(self) -> None:
        """Checks them."""
        if self.confirm not in _CONFIRMS:
            raise ValueError(f"confirm is {self.confirm!r}, expected one of: {', '.join(_CONFIRMS)}")
        if self.on_error not in _ON_ERRORS:
            raise ValueError(f"on_error is {self.on_error!r}, expected one of: {', '.join(_ON_ERRORS)}")
        if not 0 < self.timeout_s < float("inf"):
            raise ValueError(f"timeout is {self.timeout_s!r}, expected a positive number of seconds")
        if self.retries < 0:
            raise ValueError(f"retries is {self.retries!r}, expected 0 or more")

        if self.replicas < 1:
            raise ValueError(f"replicas is {self.replicas!r}, expected 1 or more")
        if (self.replicas > 1 or self.on_disk) and not self.is_replicated:
            raise ValueError(f"confirm is {self.confirm!r}, expected 'replicated' with replicas or on_disk")

    @property
    def is_replicated(self) -> bool:
        """Whether replicas must have it."""
        return self.confirm == "replicated"

    @property
    def is_by_worker(self) -> bool:
        """Whether a worker confirms."""
        return self.confirm not in _BY_REDIS

    def await_worker(self, receipt: Receipt, left_s: float) -> None:
        """Waits for the worker that confirms, if one does.

        Raises:
            DeliveryError: it did not, with ``on_error="raise"``.
        """
        if not self.is_by_worker:
            return
        try:
            receipt.wait(self.confirm, max(0.0, left_s))
        except (DeliveryError, RedisError) as error:
            self.fell_short(error)

    async def await_worker_async(self, receipt: Receipt, left_s: float) -> None:
        """The same in an event loop.

        Raises:
            DeliveryError: it did not, with ``on_error="raise"``.
        """
        if not self.is_by_worker:
            return
        try:
            await receipt.await_until(self.confirm, max(0.0, left_s))
        except (DeliveryError, RedisError) as error:
            self.fell_short(error)

    def await_replicas(self, receipt: Receipt, reached: int) -> Receipt:
        """The receipt with how many replicas have its message.

        Raises:
            NotReplicated: too few, with ``on_error="raise"``.
        """
        if self.is_replicated and reached < self.replicas:
            self.fell_short(NotReplicated(receipt.id, self.replicas, reached, self.timeout_s))
        return replace(receipt, replicas=reached) if self.is_replicated else receipt

    def fell_short(self, error: DeliveryError | RedisError) -> None:
        """Redis has the message, which is safe, but it did not get as far as was asked for."""
        if self.on_error == "raise":
            raise error
        if self.on_error == "log":
            logger.warning("%s", error)

    def undelivered(self, failed: PublishFailed, cause: BaseException) -> None:
        """Nothing safe has the message: only the caller can keep it."""
        if self.on_error in ("raise", "dead_letter"):
            raise failed from cause
        if self.on_error == "log":
            logger.error("%s", failed)
