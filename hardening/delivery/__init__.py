"""Supervised sends and their receipts."""

from __future__ import annotations

from hardening.delivery.asend import asupervised_send
from hardening.delivery.broadcast import broadcast
from hardening.delivery.broadcast_result import BroadcastResult, Outcome, OutcomeStatus, Strategy
from hardening.delivery.cancelling import Cancellation, CancelOutcome
from hardening.delivery.group_receipt import GroupReceipt
from hardening.delivery.many import SendFailure, send_many, stream_many
from hardening.delivery.receipt import DeliveryStatus, Receipt, Transition
from hardening.delivery.recipients import Recipient, agent, queue, worker
from hardening.delivery.send import Confirm, OnError, supervised_send

__all__ = [
    "BroadcastResult",
    "CancelOutcome",
    "Cancellation",
    "Confirm",
    "DeliveryStatus",
    "GroupReceipt",
    "OnError",
    "Outcome",
    "OutcomeStatus",
    "Receipt",
    "Recipient",
    "SendFailure",
    "Strategy",
    "Transition",
    "agent",
    "asupervised_send",
    "broadcast",
    "queue",
    "send_many",
    "stream_many",
    "supervised_send",
    "worker",
]
