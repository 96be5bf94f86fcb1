"""What is told of mailboxes, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = ["MailboxFilled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxFilled(Event):
    """A mailbox is more than half full; told once, and again only after it was three quarters empty."""

    name = "hardening.mailbox.filled"
    is_alarming = True
    agent: str  #: whose
    waiting: int  #: how many messages wait
    bound: int  #: how many may
