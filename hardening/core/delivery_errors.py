"""The branch of :mod:`hardening.core.errors` that is about one supervised message."""

from __future__ import annotations

from hardening.core.root_error import HardeningError

__all__ = [
    "CancelFailed",
    "ConfirmTimeout",
    "DeliveryError",
    "MailboxFull",
    "MessageDied",
    "NotReplicated",
    "PublishFailed",
    "ReceiptNotFound",
    "RecipientRefused",
    "ResultTimeout",
    "ResultUnavailable",
]


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


class MailboxFull(DeliveryError):
    """The mailbox of an agent has no room, and it refuses what it has no room for; nothing was published.

    Attributes:
        agent: whose mailbox.
        bound: how many messages may wait in it.
        waited_s: how long its sender waited for room, in seconds.
    """

    def __init__(self, receipt_id: str, agent: str, bound: int, waited_s: float) -> None:
        self.agent = agent
        self.bound = bound
        self.waited_s = waited_s
        waited = f", and had none in {waited_s:.1f} s" if waited_s else ""
        super().__init__(
            receipt_id,
            f"the mailbox of agent {agent} has no room: {bound} messages wait in it{waited}; "
            f"{receipt_id} was not published",
        )


class RecipientRefused(DeliveryError):
    """One recipient of a broadcast cannot have its message, which was not published.

    Attributes:
        recipient: which, as ``queue emails``.
        reason: why, as stored (``no_consumer`` or ``not_a_queue``).
    """

    def __init__(self, receipt_id: str, recipient: str, reason: str, text: str) -> None:
        self.recipient = recipient
        self.reason = reason
        super().__init__(receipt_id, f"{recipient} cannot have its message: {text}")


class CancelFailed(DeliveryError):
    """Redis, or the spool, could not be asked to cancel the message; asking again does no harm."""

    def __init__(self, receipt_id: str, cause: BaseException) -> None:
        super().__init__(
            receipt_id,
            f"nobody knows whether message {receipt_id} was cancelled: {type(cause).__name__}: {cause}; asking again "
            "does no harm",
        )


class ResultUnavailable(DeliveryError):
    """The result of the task is nowhere to be had, however long one waits.

    Attributes:
        why: in a few words, with what to do about it.
    """

    def __init__(self, receipt_id: str, why: str) -> None:
        self.why = why
        super().__init__(receipt_id, f"message {receipt_id} has no result to wait for: {why}")


class ResultTimeout(DeliveryError):
    """The result did not come in time; it may come yet.

    Attributes:
        state: of the message at the end of the wait.
        timeout_s: how long the wait was, in seconds.
        why: what the result backend answered, if it was that which failed.
    """

    def __init__(self, receipt_id: str, state: str, timeout_s: float, why: str = "") -> None:
        self.state = state
        self.timeout_s = timeout_s
        self.why = why
        beyond = f"; the result backend could not be asked: {why}" if why else ""
        super().__init__(receipt_id, f"message {receipt_id} is {state}, without a result after {timeout_s:g} s{beyond}")


class ReceiptNotFound(DeliveryError):
    """No such receipt, or it has expired."""

    def __init__(self, receipt_id: str) -> None:
        super().__init__(receipt_id, f"no receipt {receipt_id}: never written, or expired")
