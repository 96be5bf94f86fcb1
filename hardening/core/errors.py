"""The tree of errors.

::

    HardeningError
    ├── ConfigError            a setting, a broker or a server cannot work as asked
    ├── EmbeddedRedisError     no private Redis could be started
    ├── BreakerOpen            Redis has been away for a while, and is not asked just now
    ├── CircuitOpen            a breaker that workers share is open (hardening.breaker.errors)
    ├── SpoolError             the spool cannot be read or written
    │   └── SpoolFull          it has no room for one more message
    ├── ScheduleError          something about schedules, see beat_schedules.errors
    ├── SendManyFailed         some messages of many were not sent
    ├── BroadcastFailed        a broadcast did not come to what its strategy asks for
    │   └── BroadcastRefused   all or nothing: some recipients cannot be served, so nothing was published
    ├── DeliveryError          something about one supervised message
    │   ├── PublishFailed      Redis did not take the message
    │   ├── NotReplicated      too few replicas had the message in time
    │   ├── ConfirmTimeout     the awaited state did not come in time
    │   ├── MailboxFull        the mailbox of an agent has no room for the message
    │   ├── MessageDied        the message is in the dead-letter queue
    │   ├── RecipientRefused   one recipient of a broadcast cannot have its message
    │   ├── CancelFailed       nobody knows whether the message was cancelled
    │   ├── ResultUnavailable  the result of the task is nowhere to be had
    │   ├── ResultTimeout      the result did not come in time
    │   └── ReceiptNotFound    no such receipt, or it has expired
    ├── AgentError             something about agents, see hardening.agents.errors
    ├── CoordinationError      something about what agents do together, see hardening.agents.coordination.errors
    ├── SignalError            something about signals, see hardening.agents.router.errors
    ├── MonitorError           something about monitors, see hardening.monitors.errors
    ├── BoundaryError          something behind a boundary failed, see hardening.boundaries.errors
    ├── TimeoutFailure         something about time: its branch is in hardening.timeouts.errors
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
from hardening.core.delivery_errors import (
    CancelFailed,
    ConfirmTimeout,
    DeliveryError,
    MailboxFull,
    MessageDied,
    NotReplicated,
    PublishFailed,
    ReceiptNotFound,
    RecipientRefused,
    ResultTimeout,
    ResultUnavailable,
)
from hardening.core.root_error import HardeningError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BreakerOpen",
    "BroadcastFailed",
    "BroadcastRefused",
    "CancelFailed",
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
    "MailboxFull",
    "MessageDied",
    "NotReplicated",
    "PublishFailed",
    "QueueFull",
    "QueueUnknown",
    "ReceiptNotFound",
    "RecipientRefused",
    "ResultTimeout",
    "ResultUnavailable",
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
        first = ", for the iterable or on_progress raised"
        if failures:
            first = f", the first at {failures[0].index}: {failures[0].error}"
        super().__init__(f"{len(failures)} message(s) of {task} were not sent{first}; {sent} were")


class BroadcastFailed(HardeningError):
    """A broadcast did not come to what its strategy asks for.

    Attributes:
        result: what became of each recipient's message, as ``hardening.delivery.BroadcastResult``.
    """

    _HEAD = "the broadcast of {task} to {count} recipient(s), {strategy}, is not {confirm} for {failed} of them"
    #: How many recipients a message tells of.
    _MOST = 5

    def __init__(self, result: Any) -> None:
        self.result = result
        failed = self._told_of(result)
        head = self._HEAD.format(
            task=result.task, count=len(result), strategy=result.strategy, confirm=result.confirm, failed=len(failed)
        )
        more = [f"and {len(failed) - self._MOST} more"] if len(failed) > self._MOST else []
        super().__init__("\n  - ".join([head, *(str(one) for one in failed[: self._MOST]), *more]))

    @classmethod
    def _told_of(cls, result: Any) -> list[Any]:
        return list(result.failed)


class BroadcastRefused(BroadcastFailed):
    """All or nothing: some recipients cannot be served, so nothing was published.

    Attributes:
        result: likewise; its ``refused`` are those recipients, and why.
    """

    _HEAD = "nothing of {task} was published, for {failed} of {count} recipient(s) cannot have it"

    @classmethod
    def _told_of(cls, result: Any) -> list[Any]:
        return list(result.refused)
