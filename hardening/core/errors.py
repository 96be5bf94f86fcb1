"""The tree of errors.

::

    HardeningError
    ├── ConfigError            a setting, a broker or a server cannot work as asked
    ├── EmbeddedRedisError     no private Redis could be started
    ├── BreakerOpen            Redis has been away for a while, and is not asked just now
    ├── SpoolError             the spool cannot be read or written
    │   └── SpoolFull          it has no room for one more message
    ├── ScheduleError          something about schedules, see beat_schedules.errors
    ├── SendManyFailed         some messages of many were not sent
    ├── DeliveryError          something about one supervised message
    │   ├── PublishFailed      Redis did not take the message
    │   ├── NotReplicated      too few replicas had the message in time
    │   ├── ConfirmTimeout     the awaited state did not come in time
    │   ├── MessageDied        the message is in the dead-letter queue
    │   └── ReceiptNotFound    no such receipt, or it has expired
    └── DeadLetterError        something about the dead-letter queue
        ├── EntryNotFound      no such entry: replayed, purged or never there
        ├── RewriteRefused     a message cannot be changed as asked
        ├── QueueUnknown       no such queue to replay into
        ├── DlqUnknown         no task sends its dead letters under that name
        ├── QueueFull          a replay stopped, for its queue has grown to the bound given
        └── FileRefused        an exported file cannot be imported

Every error carries typed attributes and builds its message from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.core.dead_letter_errors import (
    DeadLetterError,
    DlqUnknown,
    EntryNotFound,
    FileRefused,
    QueueFull,
    QueueUnknown,
    RewriteRefused,
)
from hardening.core.root_error import HardeningError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BreakerOpen",
    "ConfigError",
    "ConfirmTimeout",
    "DeadLetterError",
    "DeliveryError",
    "DlqUnknown",
    "EmbeddedRedisError",
    "EntryNotFound",
    "FileRefused",
    "HardeningError",
    "HardeningWarning",
    "MessageDied",
    "NotReplicated",
    "PublishFailed",
    "QueueFull",
    "QueueUnknown",
    "ReceiptNotFound",
    "RewriteRefused",
    "SendManyFailed",
    "SpoolError",
    "SpoolFull",
]


class HardeningWarning(UserWarning):
    """A setting is overridden or dangerous; said once, by name, when the app is hardened."""


class ConfigError(HardeningError):
    """A setting, a broker or a server cannot work as asked.

    Attributes:
        faults: every fault found, one sentence each.
    """

    def __init__(self, faults: Sequence[str] | str) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        if len(self.faults) == 1:
            text = self.faults[0]
        else:
            lines = "".join(f"\n  - {fault}" for fault in self.faults)
            text = f"{len(self.faults)} faults in the configuration:{lines}"
        super().__init__(text)


class EmbeddedRedisError(HardeningError):
    """No private Redis could be started."""


class BreakerOpen(HardeningError):
    """Redis has been away for a while, and is not asked just now.

    Attributes:
        failures: how often in a row it could not be reached.
        probe_in_s: how soon a send will try it again, in seconds; 0: one is trying it now.
    """

    def __init__(self, failures: int, probe_in_s: float) -> None:
        self.failures = failures
        self.probe_in_s = probe_in_s
        when = f"the next probe is in {probe_in_s:.1f} s" if probe_in_s else "a probe is on its way"
        super().__init__(f"the breaker is open: Redis could not be reached {failures} times in a row, {when}")


class SpoolError(HardeningError):
    """The spool cannot be read or written.

    Attributes:
        path: of its file.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        super().__init__(f"the spool {path} {text}")


class SpoolFull(SpoolError):
    """The spool has no room for one more message; those it has are kept.

    Attributes:
        messages: how many it has.
        bytes: how many bytes they have.
        size: how many bytes the refused message has.
    """

    def __init__(self, path: str, messages: int, size_of_all: int, size: int) -> None:
        self.messages = messages
        self.bytes = size_of_all
        self.size = size
        super().__init__(
            path,
            f"has no room for a message of {size} bytes: it has {messages} messages of {size_of_all} bytes; wait "
            "for Redis, or raise hardening_spool_max_messages or hardening_spool_max_bytes",
        )


class SendManyFailed(HardeningError):
    """Some messages of many were not sent; nothing after the chunk in which they stood was tried.

    Attributes:
        failures: which, and why, as ``hardening.delivery.SendFailure``; empty: the iterable itself raised.
        receipts: of what was sent, in order. From ``stream_many`` none: it has handed them out.
        sent: how many were sent.
    """

    def __init__(self, task: str, failures: Sequence[Any], sent: int, receipts: Sequence[Any] = ()) -> None:
        self.failures = tuple(failures)
        self.receipts = list(receipts)
        self.sent = sent
        first = f", the first at {failures[0].index}: {failures[0].error}" if failures else ", for the iterable raised"
        super().__init__(f"{len(failures)} message(s) of {task} were not sent{first}; {sent} were")


class DeliveryError(HardeningError):
    """Something about one supervised message.

    Attributes:
        receipt_id: the id of its receipt.
    """

    def __init__(self, receipt_id: str, text: str) -> None:
        self.receipt_id = receipt_id
        super().__init__(text)


class PublishFailed(DeliveryError):
    """Redis did not take the message, as far as the sender knows, and no spool keeps it.

    Attributes:
        attempts: how often it was tried.
    """

    def __init__(
        self, receipt_id: str, task: str, attempts: int, cause: BaseException, spool: BaseException | None = None
    ) -> None:
        self.attempts = attempts
        beyond = f"; nor was it spooled: {spool}" if spool else ""
        super().__init__(
            receipt_id,
            f"{task}[{receipt_id}] was not published after {attempts} attempt(s): "
            f"{type(cause).__name__}: {cause}{beyond}",
        )


class NotReplicated(DeliveryError):
    """Too few replicas had the message in time; Redis itself has it.

    Attributes:
        asked: how many were to have it.
        replicas: how many are known to.
        timeout_s: how long the send was to take, in seconds.
    """

    def __init__(self, receipt_id: str, asked: int, replicas: int, timeout_s: float) -> None:
        self.asked = asked
        self.replicas = replicas
        self.timeout_s = timeout_s
        super().__init__(
            receipt_id,
            f"message {receipt_id} is on {replicas} replica(s), not {asked}, after {timeout_s:g} s; Redis has it, and "
            "the receipt follows it",
        )


class ConfirmTimeout(DeliveryError):
    """The awaited state did not come in time; the message itself is safe.

    Attributes:
        awaited: the state that was waited for.
        state: the state at the end of the wait.
        timeout_s: how long the wait was, in seconds.
    """

    def __init__(self, receipt_id: str, awaited: str, state: str, timeout_s: float) -> None:
        self.awaited = awaited
        self.state = state
        self.timeout_s = timeout_s
        super().__init__(
            receipt_id,
            f"message {receipt_id} is {state}, not {awaited}, after {timeout_s:g} s; it is safe, "
            "the receipt follows it",
        )


class MessageDied(DeliveryError):
    """The message ended in the dead-letter queue, or was purged.

    Attributes:
        reason: why it died, as stored (``dlq.Reason`` or ``purged``).
    """

    def __init__(self, receipt_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(receipt_id, f"message {receipt_id} is dead: {reason}")


class ReceiptNotFound(DeliveryError):
    """No such receipt, or it has expired."""

    def __init__(self, receipt_id: str) -> None:
        super().__init__(receipt_id, f"no receipt {receipt_id}: never written, or expired")
