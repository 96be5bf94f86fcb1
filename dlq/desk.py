"""What the dead-letter commands share: whose letters, at what time, and what is shown meanwhile and in the end."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from hardening.core.console import deployment_of, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dlq.filters import Chosen, Filters
    from dlq.queue import DeadLetters
    from dlq.selection import Selection
    from hardening.core.redaction import Redactor

__all__ = ["FAILED", "NOTHING", "NOUN", "Desk", "desk_of", "finish", "progress", "with_reveal"]

NOUN = "dead letter"
FAILED, NOTHING = 1, 3
_BAR = 20

#: Has a command show secrets.
with_reveal = click.option(
    "--reveal", is_flag=True, help="Show what is secret (hardening_redact); otherwise it is masked."
)


@dataclass(frozen=True, slots=True)
class Desk:
    """The dead letters of the app, and the time at its Redis."""

    letters: DeadLetters
    now: datetime

    def selection(self, filters: Filters, *, default_limit: int | None = None) -> Selection:
        """What is meant, now.

        Raises:
            DlqUnknown: no task names such a dead-letter queue.
        """
        tasks = None if filters.dlq is None else self.letters.tasks_of(filters.dlq)
        return replace(filters.selection(self.now, default_limit=default_limit), tasks=tasks)

    def redactor(self, *, reveal: bool) -> Redactor:
        """What masks secrets, or nothing."""
        from hardening.core.redaction import Redactor  # noqa: PLC0415 - every celery call imports this module

        return Redactor(()) if reveal else self.letters.redactor


@contextmanager
def desk_of(ctx: click.Context) -> Iterator[Desk]:
    """The dead letters of the app that ``celery -A`` names. What goes wrong ends the command with one line."""
    with deployment_of(ctx) as deployment:
        from dlq.queue import DeadLetters  # noqa: PLC0415 - every celery call imports this module

        seconds, micros = deployment.client.time()
        yield Desk(DeadLetters.of(deployment.app), datetime.fromtimestamp(seconds + micros / 1e6, UTC))


def finish(ctx: click.Context, verb: str, done: int, chosen: Chosen) -> None:
    """Says how many were moved, and exits accordingly."""
    if not chosen.seen:
        say("no dead letter matched", err=True)
        ctx.exit(NOTHING)
    say(f"{verb} {done} of {chosen.asked}")
    if done < chosen.asked:
        ctx.exit(FAILED)


@contextmanager
def progress(verb: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Tells a person who waits at a terminal how far it is, each page; as a bar, where it is known how far it goes.

    What ends the block early does not take along how far it was: that is said, unless the error says it.
    """
    from hardening.core.errors import QueueFull  # noqa: PLC0415 - every celery call imports this module

    so_far = 0

    def show(done: int) -> None:
        nonlocal so_far
        so_far = done
        if not total or done > total:
            _overwrite(f"{verb} {done} so far")
        else:
            filled = _BAR * done // total
            _overwrite(f"{verb} {done} of {total} [{'#' * filled}{'.' * (_BAR - filled)}]")

    try:
        yield show
    except BaseException as error:
        _overwrite("")
        if so_far and not isinstance(error, QueueFull):
            say(f"{verb} {so_far} before it stopped", err=True)
        raise
    _overwrite("")


def _overwrite(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)
