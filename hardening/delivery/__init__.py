"""Supervised sends and their receipts."""

from __future__ import annotations

from hardening.delivery.asend import asupervised_send
from hardening.delivery.cancelling import Cancellation, CancelOutcome
from hardening.delivery.group_receipt import GroupReceipt
from hardening.delivery.many import SendFailure, send_many, stream_many
from hardening.delivery.receipt import DeliveryStatus, Receipt, Transition
from hardening.delivery.send import Confirm, OnError, supervised_send

__all__ = [
    "CancelOutcome",
    "Cancellation",
    "Confirm",
    "DeliveryStatus",
    "GroupReceipt",
    "OnError",
    "Receipt",
    "SendFailure",
    "Transition",
    "asupervised_send",
    "send_many",
    "stream_many",
    "supervised_send",
]
