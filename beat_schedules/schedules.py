"""Schedules at run time: from any process, while beats run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from celery import current_app

from beat_schedules.definition import Definition, check_name
from beat_schedules.entry import Entry, Past
from beat_schedules.errors import ScheduleDeclared, ScheduleExists, ScheduleNotFound, ScheduleRefused
from beat_schedules.message import fresh_id, message_of
from beat_schedules.times import ms_of
from hardening.core.deployment import client_of, scope_of, settings_of
from hardening.core.scripts import beating
from hardening.core.scripts.beating import Changed
from hardening.delivery.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from celery import Celery

    from beat_schedules.definition import CatchUp, Overlap
    from beat_schedules.times import Times

__all__ = ["Schedules"]

#: Entries read in one round trip.
_PAGE = 500


class Schedules:
    """The schedule entries of one deployment. What is added here stays until it is removed here.

    Entries that code or files declare are changed there; they may be paused and run out of turn here. Any thread may
    use it. Every method may raise ``redis.RedisError``.

    Args:
        app: a hardened one.

    Raises:
        ConfigError: the app is not hardened.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._settings = settings_of(app)
        self._keys = self._settings.keys

    @classmethod
    def of(cls, app: Celery | None = None) -> Self:
        """The schedules of an app; default: the current one."""
        return cls(app or current_app)

    @property
    def _client(self) -> Any:
        return client_of(self._app)

    # -- to look at

    def __iter__(self) -> Iterator[Entry]:
        """All entries, by name."""
        names = sorted(raw.decode("utf-8", "replace") for raw in self._client.smembers(self._keys.beat_names))
        for at in range(0, len(names), _PAGE):
            page = names[at : at + _PAGE]
            with self._client.pipeline(transaction=False) as pipeline:
                for name in page:
                    pipeline.hgetall(self._keys.beat_entry(name))
                found = pipeline.execute()
            yield from (Entry(name, fields) for name, fields in zip(page, found, strict=True) if fields)

    def get(self, name: str) -> Entry:
        """One entry.

        Raises:
            ScheduleNotFound: there is none.
        """
        fields = self._client.hgetall(self._keys.beat_entry(name))
        if not fields or not self._client.sismember(self._keys.beat_names, name):
            raise ScheduleNotFound(name)
        return Entry(name, fields)

    def history(self, name: str) -> list[Past]:
        """What became of the last slots of an entry, newest first; ``hardening_beat_history`` of them.

        That of a one-shot is kept for a day after its end.

        Raises:
            ScheduleNotFound: there is no such entry, nor has there been one of late.
        """
        lines = self._client.lrange(self._keys.beat_history(name), 0, -1)
        if not lines:
            self.get(name)
        return [past for past in map(Past.read, lines) if past is not None]

    def now(self) -> int:
        """The time at Redis, in ms since the epoch."""
        seconds, micros = self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    # -- to change

    def add(  # noqa: PLR0913 - each is one word of what an entry may say
        self,
        name: str,
        task: str,
        schedule: Times | float | str | datetime | dict[str, Any],
        *,
        args: list[Any] | tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        catch_up: CatchUp = "one",
        catch_up_max: int = 100,
        overlap: Overlap = "allow",
        grace_s: float | None = None,
        owner: str = "",
    ) -> Entry:
        """Adds an entry. An interval counts from now.

        Args:
            name: unlike any other's.
            task: the task's name.
            schedule: :class:`~beat_schedules.Every`, :class:`~beat_schedules.Cron`, :class:`~beat_schedules.Solar`,
                :class:`~beat_schedules.Once`, or what they are made from: seconds, a crontab's five fields in the app's
                time zone, an aware ``datetime``, or an object as in a file.
            args: positional arguments. JSON.
            kwargs: keyword arguments. JSON.
            options: as for ``apply_async``. JSON.
            catch_up: ``skip``, ``one`` or ``all``: what becomes of slots that were missed.
            catch_up_max: the most that ``all`` catches up with.
            overlap: ``allow``, ``skip`` or ``queue_one``: what happens while the last message has not ended.
            grace_s: how late a slot is missed, in seconds; default: ``hardening_beat_grace_s``.
            owner: with whose end it ends, see :class:`~beat_schedules.Owner`.

        Raises:
            ScheduleRefused: it cannot be a schedule.
            ScheduleExists: the name is taken.
        """
        given = {
            "task": task, "schedule": self._times(name, schedule), "args": list(args), "kwargs": kwargs or {},
            "options": options or {}, "catch_up": catch_up, "catch_up_max": catch_up_max, "overlap": overlap,
            "grace_s": grace_s,
        }  # fmt: skip
        return self._put("add", name, Definition.read(name, given), owner)

    def update(self, name: str, **changes: Any) -> Entry:
        """Changes an entry that was added at run time; what is not named stays.

        Args:
            name: of the entry.
            **changes: as for :meth:`add`. With another ``schedule`` the next slot is the first one from now.

        Raises:
            ScheduleNotFound: there is none.
            ScheduleDeclared: code or a file declares it.
            ScheduleRefused: it cannot be so.
        """
        entry = self.get(name)
        if entry.definition is None and not {"task", "schedule"} <= set(changes):
            raise ScheduleRefused(name, "what it was cannot be read: name at least task and schedule")
        if "schedule" in changes:
            changes["schedule"] = self._times(name, changes["schedule"])
        was = entry.definition.model_dump(mode="json") if entry.definition else {}
        return self._put("update", name, Definition.read(name, was | changes), entry.owner)

    def remove(self, name: str) -> None:
        """Removes an entry that was added at run time, with its history. What was sent stays sent.

        Raises:
            ScheduleNotFound: there is none.
            ScheduleDeclared: code or a file declares it.
        """
        reply = int(beating.undeclare(self._keys, name).run(self._client))
        if reply == Changed.SAME:
            raise ScheduleNotFound(name)
        if reply == Changed.TAKEN:
            raise ScheduleDeclared(name)

    def pause(self, name: str) -> bool:
        """Pauses an entry, whoever declares it, until it is resumed; returns whether it went on until now.

        Raises:
            ScheduleNotFound: there is none.
        """
        return self._hold(name, paused=True)

    def resume(self, name: str) -> bool:
        """Lets an entry go on with its first slot from now; returns whether it was paused.

        Raises:
            ScheduleNotFound: there is none.
        """
        return self._hold(name, paused=False)

    def run_now(self, name: str) -> Receipt:
        """Sends an entry's message once, now; its slots go on as they would have. Paused or not, overlap or not.

        Raises:
            ScheduleNotFound: there is none.
            ScheduleRefused: what it is cannot be read.
        """
        entry = self.get(name)
        if entry.definition is None:
            raise ScheduleRefused(name, entry.fault or "what it is cannot be read")
        identity = fresh_id()
        publication = message_of(
            self._app, self._client, name, entry.definition, slot_ms=self.now(), identity=identity
        )  # fmt: skip
        call = beating.run_now(
            scope_of(self._app), name, publication.list_key, publication.queue, publication.raw,
            due_ms=publication.due_ms, history_most=self._settings.beat_history, receipt=publication.fields,
        )  # fmt: skip
        if not call.run(self._client):
            raise ScheduleNotFound(name)
        return Receipt(identity, self._app)

    def _times(self, name: str, given: Any) -> Any:
        if isinstance(given, bool):
            raise ScheduleRefused(name, f"schedule is {given!r}, expected seconds or a crontab")
        if isinstance(given, str):
            return {"cron": given, "timezone": str(self._app.conf.timezone or "UTC")}
        if isinstance(given, int | float):
            return {"every": given}
        return {"at": given} if hasattr(given, "tzinfo") else given

    def put(self, name: str, definition: Definition, *, owner: str = "") -> Entry:
        """Adds an entry, or replaces one that was added at run time.

        Raises:
            ScheduleDeclared: code or a file declares it.
        """
        return self._put("put", name, definition, owner)

    def _put(self, verb: beating.Verb, name: str, definition: Definition, owner: str) -> Entry:
        now_ms = self.now()
        first_ms = definition.schedule.next_after(now_ms, now_ms)
        if first_ms is None:
            raise ScheduleRefused(check_name(name), f"{definition.schedule} is never due again")
        call = beating.declare(
            self._keys, verb, name, origin="runtime", owner=owner, definition=definition.text,
            times=definition.times_text, slot_ms=first_ms,
        )  # fmt: skip
        reply = int(call.run(self._client))
        if reply == Changed.TAKEN:
            raise ScheduleExists(name) if verb == "add" else ScheduleDeclared(name)
        if reply == Changed.MISSING:
            raise ScheduleNotFound(name)
        return self.get(name)

    def _hold(self, name: str, *, paused: bool) -> bool:
        entry = self.get(name)
        now_ms = self.now()
        definition, anchor_ms = entry.definition, ms_of(entry.next_at) if entry.next_at else now_ms
        first_ms = definition.schedule.next_after(now_ms, anchor_ms) if definition else None
        reply = int(beating.hold(self._keys, name, paused=paused, slot_ms=first_ms or 0).run(self._client))
        if reply == Changed.MISSING:
            raise ScheduleNotFound(name)
        return reply == Changed.DONE


def as_object(entry: Entry) -> dict[str, Any]:
    """An entry as JSON shows it."""
    definition = json.loads(entry.definition.text) if entry.definition else None
    return {
        "name": entry.name, "state": entry.state, "origin": entry.origin, "owner": entry.owner,
        "next": entry.next_at.isoformat() if entry.next_at else None,
        "last": entry.last_at.isoformat() if entry.last_at else None,
        "receipt": entry.receipt, "fault": entry.fault, "error": entry.error, "attempts": entry.attempts,
        "definition": definition,
    }  # fmt: skip
