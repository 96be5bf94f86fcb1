"""Publishing the copies of one broadcast: a chunk to a script call, or all of them in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.core.deployment import scope_of, settings_of
from hardening.core.errors import BreakerOpen
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.broadcasting import Addressed, Published, broadcast
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.fallback import fallback_of
from hardening.delivery.replication import Replication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery
    from redis import Redis

    from hardening.core.scripts import Call
    from hardening.core.scripts.broadcasting import Refusal
    from hardening.delivery.copies import Copy
    from hardening.delivery.terms import Terms

__all__ = ["MOST_AT_ONCE", "Posting"]

#: The most messages of one script call, while which Redis does nothing else: of a chunk, about 6 ms, and of all that
#: is published or not in one call, about 25 ms.
_CHUNK, MOST_AT_ONCE = 250, 1000
#: About the most bytes: likewise.
_CHUNK_BYTES, _MOST_BYTES = 2**20, 2**26


class Posting:
    """The publication of all copies, with its attempts.

    Args:
        app: who sends.
        copies: what is published.
        terms: how often, in what time, and how many replicas must have it.
        all_or_none: in one call, which publishes all or nothing.
        until_s: when the time of all of it is up, by the boot clock, in seconds.

    Attributes:
        attempts: likewise.
        refused: why, by place of the copy, for those that cannot be delivered.
        unsent: places of copies that Redis did not take, as far as is known.
        error: why it did not; None: it took all it was asked to.
        replicas: how many have it, where that was asked.
    """

    def __init__(self, app: Celery, copies: Sequence[Copy], terms: Terms, *, all_or_none: bool, until_s: float) -> None:
        self._app = app
        self._copies = copies
        self._terms = terms
        self._all_or_none = all_or_none
        self._until_s = until_s
        self._waiting: list[tuple[range, Call]] | None = None
        left_s = max(0.001, until_s - boot_clock_s())
        self.attempts = Attempts(app, retries=terms.retries, timeout_s=left_s, breaker=fallback_of(app).breaker)
        self.refused: dict[int, Refusal] = {}
        self.unsent: Sequence[int] = range(len(copies))
        self.error: Exception | None = None
        self.replicas = 0

    def run(self, task: str) -> None:
        """Publishes; again, if need be, what Redis has not confirmed.

        Args:
            task: what the events name.

        Raises:
            ConfigError: a message goes to no queue, or to several; or the server cannot tell what is on disk.
            ValueError: there is too much of it for one call.
        """
        try:
            self.attempts.run(task, self._publish)
        except (RedisError, BreakerOpen, *TRANSIENT) as error:
            self.error = error

    def _publish(self, client: Redis) -> None:
        """One attempt."""
        if self._waiting is None:
            self._waiting = self._calls(client)
        while self._waiting:
            places, call = self._waiting[0]
            published = Published.parse(self._run(call, client, is_last=len(self._waiting) == 1))
            self.refused |= {places[at]: why for at, why in published.refused.items()}
            self._waiting.pop(0)
            self.unsent = range(places.stop, len(self._copies))

    def _run(self, call: Call, client: Redis, *, is_last: bool) -> Any:
        """Runs one call. Replicas that have the last one have all before it: Redis replicates in order."""
        terms = self._terms
        if not (is_last and terms.is_replicated):
            return call.run(client)
        wanted = Replication(terms.replicas, terms.on_disk, self._until_s, settings_of(self._app).keys)
        reply, self.replicas = wanted.run(call, client, lambda reply: reply[0] > 0)
        return reply

    def _calls(self, client: Redis) -> list[tuple[range, Call]]:
        """The calls that publish everything, each with the places of its copies."""
        for copy in self._copies:
            copy.resolved(client)
        if self._all_or_none:
            size = sum(len(copy.resolved(client).raw) for copy in self._copies)
            if size > _MOST_BYTES:
                raise ValueError(
                    f"{len(self._copies)} messages have {size} bytes together, expected at most {_MOST_BYTES} for "
                    "all_or_nothing: send less, or a reference to it"
                )
            return [self._call(range(len(self._copies)), client)]
        calls, begin, size = [], 0, 0
        for at, copy in enumerate(self._copies):
            length = len(copy.resolved(client).raw)
            if at > begin and (at - begin >= _CHUNK or size + length > _CHUNK_BYTES):
                calls.append(self._call(range(begin, at), client))
                begin, size = at, 0
            size += length
        return [*calls, self._call(range(begin, len(self._copies)), client)]

    def _call(self, places: range, client: Redis) -> tuple[range, Call]:
        messages = []
        for copy in self._copies[places.start : places.stop]:
            publication = copy.resolved(client)
            needs = self._all_or_none or copy.recipient.kind == "worker"
            messages.append(Addressed(publication.list_key, publication.queue, publication.raw, needs))
        sample = self._copies[0].resolved(client)
        call = broadcast(
            scope_of(self._app), messages, due_ms=sample.due_ms, task=sample.task,
            guarantee=sample.fields["guarantee"], all_or_none=self._all_or_none,
        )  # fmt: skip
        return places, call
