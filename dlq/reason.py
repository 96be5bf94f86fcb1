"""Why messages die."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Reason"]


class Reason(StrEnum):
    """Why a message was buried, as stored."""

    #: Its task killed its process too often.
    CRASHED = "crashed"
    #: Its task raised, and no retries were left.
    FAILED = "failed"
    #: Its task ran into its hard time limit.
    TIMEOUT = "timeout"
    #: Its task, or the worker, rejected it without requeue.
    REJECTED = "rejected"
    #: Its ``expires`` had passed before it was begun.
    EXPIRED = "expired"
    #: The worker that took it has no task of that name.
    UNKNOWN_TASK = "unknown_task"
    #: It could not be read: not JSON, content not accepted, or not a Celery message.
    UNDECODABLE = "undecodable"
    #: It could not be published.
    PUBLISH_FAILED = "publish_failed"
    #: It is a slot of a schedule that could not be sent.
    SCHEDULE_FAILED = "schedule_failed"
    #: The mailbox of an agent had no room, and was to drop the oldest, or the newest, message.
    MAILBOX_FULL = "mailbox_full"
