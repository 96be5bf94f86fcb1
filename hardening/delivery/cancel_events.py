"""What is told of cancelled messages, as an event; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = ["MessageCancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCancelled(Event):
    """A message was cancelled at the request of this process, and will never run."""

    name = "hardening.message.cancelled"
    receipt: str  #: the id of its receipt
    task: str  #: its task's name
    queue: str  #: its queue
    place: str  #: where it was: ``schedule``, ``queue``, ``consumer`` or ``spool``
    is_result_told: bool  #: whether the result backend says so, to whoever waits for the result
