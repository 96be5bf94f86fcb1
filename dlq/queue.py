"""The dead-letter queue as one service: Python, the CLI and dashboards all use this class."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from dlq.entry import Entry
from dlq.reading import PAGE, read_entries
from dlq.replaying import Order, Replayer
from dlq.selection import Selection
from dlq.stats import Stats, count_entries, count_groups
from dlq.transfer import check_lines, import_lines, lines_of
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import DlqUnknown, EntryNotFound
from hardening.core.redaction import Redactor
from hardening.core.scripts import Scope
from hardening.core.scripts.calls import discard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from celery import Celery
    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["DeadLetters"]

_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


class DeadLetters:
    """The dead letters of one deployment.

    Args:
        client: replies must not be decoded.
        keys: the deployment's keys.
        receipt_ttl_ms: how long receipts are kept after their last change.
        operator: who acts, for receipts.
        app: whose tasks and queues are known.
        redactor: masks secrets in what is exported.

    Attributes:
        scope: how its calls sign themselves.
        redactor: masks secrets in whatever is shown.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        receipt_ttl_ms: int,
        operator: str = "operator",
        app: Celery | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._client = client
        self._keys = keys
        self._app = app
        self.redactor = redactor or Redactor()
        self.scope = Scope(keys, receipt_ttl_ms, operator)

    @classmethod
    def of(cls, app: Celery, *, operator: str = "operator") -> Self:
        """The dead letters of a hardened app.

        Raises:
            ConfigError: the app is not hardened.
            redis.RedisError: Redis is not there.
        """
        settings = settings_of(app)
        return cls(
            client_of(app), settings.keys, receipt_ttl_ms=settings.receipt_ttl_ms, operator=operator, app=app,
            redactor=Redactor(settings.redact),
        )  # fmt: skip

    def __len__(self) -> int:
        return int(self._client.xlen(self._keys.dlq))

    def select(
        self, selection: Selection | None = None, *, newest_first: bool = False, up_to: str | None = None
    ) -> Iterator[Entry]:
        """The entries that are meant, read page by page.

        Guarantees: it ends, for what dies after the first page was asked for is not among them. Without that,
        replaying messages that fail at once would never come to an end. What is asked for by reason, task, queue
        or fingerprint is found without reading the rest.

        Args:
            selection: default: all of them.
            newest_first: default: oldest first.
            up_to: id of the newest that may be meant; default: the newest there is.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        return read_entries(
            self._client, self._keys, selection or Selection(), newest_first=newest_first, up_to=up_to
        )  # fmt: skip

    def tasks_of(self, dlq: str) -> frozenset[str]:
        """The tasks of this app whose option ``dead_letter`` is a name: a dead-letter queue of their own, to look at.

        All dead letters are in one stream, so a name is as true of what a sweep buried, and of what died before the
        task had it.

        Raises:
            DlqUnknown: no task has it.
        """
        if self._app is not None:
            self._app.loader.import_default_modules()
        named = {
            name: getattr(task, "dead_letter", None) for name, task in (self._app.tasks if self._app else {}).items()
        }
        found = frozenset(name for name, value in named.items() if value == dlq)
        if not found:
            raise DlqUnknown(dlq, sorted({value for value in named.values() if isinstance(value, str)}))
        return found

    def get(self, entry_id: str) -> Entry:
        """One entry.

        Raises:
            EntryNotFound: it is not, or no longer, there.
        """
        # Redis would take half an id for the first entry that begins with it.
        whole = _ID.fullmatch(entry_id)
        page: Any = self._client.xrange(self._keys.dlq, entry_id, entry_id) if whole else None
        if not page:
            raise EntryNotFound(entry_id)
        return Entry.of(*page[0])

    def replay(
        self,
        entries: Iterable[Entry] | Selection,
        *,
        rate: float | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        to_queue: str | None = None,
        set_kwargs: Mapping[str, Any] | None = None,
        max_queue: int | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Returns messages to their queues, each exactly once however many operators replay it.

        Args:
            entries: which; oldest first keeps their order. One that does not say where it was taken from
                stays where it is.
            rate: at most so many a second.
            limit: at most so many in all.
            dry_run: moves nothing, and says how many it would have moved.
            to_queue: where they go instead of where they came from; somebody must have heard of it.
            set_kwargs: arguments to change, by name, checked against the task where this app has it.
            max_queue: stops before a queue holds more messages than this. It is looked at before each page of 250,
                so others who publish may go beyond it.
            on_progress: told the running total after each page.

        Returns:
            How many this call replayed; what others replayed meanwhile is not among them.

        Raises:
            QueueFull: a queue holds ``max_queue`` messages; says where it stopped.
            QueueUnknown: nobody has ever heard of ``to_queue``.
            RewriteRefused: a message's arguments cannot be changed; those before it have been replayed.
            ValueError: an argument that makes no sense.
        """
        order = Order(rate, dry_run, to_queue, set_kwargs or {}, max_queue)
        replayer = Replayer(self._client, self.scope, order, tasks=self._app.tasks if self._app else {})
        replayer.refuse_unknown_queue(self._app.amqp.queues if self._app else ())
        return replayer.run(islice(self._chosen(entries), limit), on_progress)

    def purge(
        self, entries: Iterable[Entry] | Selection, *, on_progress: Callable[[int], None] = lambda _: None
    ) -> int:
        """Deletes entries for good.

        Returns:
            How many this call deleted.
        """
        purged, rest = 0, iter(self._chosen(entries))
        while page := list(islice(rest, PAGE)):
            purged += int(discard(self._keys, ((entry.id, entry.group) for entry in page)).run(self._client))
            on_progress(purged)
        return purged

    def _chosen(self, entries: Iterable[Entry] | Selection) -> Iterable[Entry]:
        return self.select(entries) if isinstance(entries, Selection) else entries

    def export(self, entries: Iterable[Entry] | Selection, *, reveal: bool = False) -> Iterator[str]:
        """Dead letters as lines of JSON.

        Args:
            entries: which.
            reveal: whole, so that they can be imported; otherwise secrets are masked, and they cannot.
        """
        return lines_of(self._chosen(entries), None if reveal else self.redactor)

    def check_import(self, lines: Iterable[str]) -> int:
        """Looks whether all lines can be imported, and imports nothing.

        Returns:
            How many dead letters they have.

        Raises:
            FileRefused: a line is not what was exported.
        """
        return check_lines(self._keys, lines)

    def import_(self, lines: Iterable[str], *, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Takes exported dead letters in again, as new entries that know their old ids.

        Does not guarantee: that a file imported twice is taken in once.

        Returns:
            How many there were.

        Raises:
            FileRefused: a line is not what was exported; the lines before it may have been imported.
        """
        return import_lines(self._client, self._keys, lines, on_progress=on_progress)

    def stats(self, selection: Selection | None = None) -> Stats:
        """Counts what is meant: by group, without reading an entry, unless ``since`` or ``limit`` asks for some."""
        selection = selection or Selection()
        if selection.since is None and selection.limit is None:
            counted = count_groups(self._client, self._keys, selection)
            if counted is not None:
                return counted
        return count_entries(self.select(selection))
