"""What happens when a message is buried, for those who want to know at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hardening.core import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["on_bury"]


def on_bury(callback: Callable[[telemetry.MessageBuried], None]) -> telemetry.Subscription:
    """Has a callback told of every message that this process buries, with its raw bytes.

    The bytes are as they were published: nobody has parsed them for the callback, and whatever they hold is not to
    be trusted. A callback that raises harms nobody, see :mod:`hardening.core.telemetry`; it ends with
    ``telemetry.detach``.

    Does not guarantee: that burials by other processes are told; a process that dies as it buries tells nobody.
    The dead-letter queue has them all.
    """

    def tell(event: telemetry.Event) -> None:
        callback(cast("Any", event))

    return telemetry.attach(telemetry.MessageBuried.name, tell)
