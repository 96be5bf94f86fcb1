"""What code and files declare is put into Redis by each new leader: its word counts, whatever others declare.

With two versions of the code, as in a rolling deployment, the entries are those of the beat that leads. What was
added at run time stays, and is not touched from here.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from beat_schedules import events
from beat_schedules.definition import Definition, from_code
from beat_schedules.errors import ScheduleRefused
from beat_schedules.files import read_files, stamp_of
from hardening.core import telemetry
from hardening.core.deployment import client_of
from hardening.core.scripts import beating
from hardening.core.scripts.beating import Changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

    from hardening.core.keys import Keys

__all__ = ["Declared", "Declarer"]

#: Entries put in one round trip.
_PAGE = 500


class Declared(NamedTuple):
    """One entry as it is declared.

    Attributes:
        origin: ``code`` or ``file``.
        definition: None: it cannot be a schedule.
        fault: why not; empty: it can.
    """

    origin: str
    definition: Definition | None
    fault: str


class Declarer:
    """Brings what Redis has in line with what is declared here.

    Args:
        app: whose ``beat_schedule`` counts.
        keys: of the deployment.
        files: paths of files that declare more.
    """

    def __init__(self, app: Celery, keys: Keys, files: tuple[str, ...]) -> None:
        self._app = app
        self._keys = keys
        self._files = files
        self._of_files: dict[str, Declared] = {}
        self._unread: list[str] = []
        self._known: set[str] = set()
        self._ready: tuple[Any, dict[str, Declared], str] | None = None
        self._told: dict[str, str] = {}
        self._stamp: tuple[object, ...] | None = None

    @property
    def _client(self) -> Any:
        return client_of(self._app)

    def has_changed(self) -> bool:
        """Whether a file has been written since it was last read, as far as the file system tells."""
        return self._stamp is not None and self._stamp != stamp_of(self._files)

    def prepare(self) -> tuple[dict[str, Declared], str]:
        """All that is declared here, and its digest: worked out while standing by, so that a failover takes no longer.

        It is kept until a file is written, or the app is given another ``beat_schedule``.
        """
        code = self._app.conf.beat_schedule
        if self._ready is None or self._ready[0] is not code or self.has_changed():
            declared = self._declared()
            self._ready = code, declared, _digest(declared, self._unread)
        return self._ready[1:]

    def declare(self, token: str, now_ms: int, renew: Callable[[], bool]) -> bool:
        """Puts what is declared here and removes what is no more, if anything has changed.

        Args:
            token: of the leader.
            now_ms: the time at Redis, from which new entries count.
            renew: called now and then; says whether the lead is still held.

        Returns:
            Whether it was done to the end; otherwise another leads.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        declared, digest = self.prepare()
        if self._client.get(self._keys.beat_declared) == digest.encode():
            return True
        put = 0
        names = list(declared)
        for at in range(0, len(names), _PAGE):
            page = {name: declared[name] for name in names[at : at + _PAGE]}
            replies = self._put(token, now_ms, page)
            if Changed.NOT_LEADING in replies or not renew():
                return False
            put += replies.count(Changed.DONE)
            for name in (name for name, reply in zip(page, replies, strict=True) if reply == Changed.TAKEN):
                self._tell(name, "an entry of that name was added at run time, which stays: remove it, or rename")
        removed = self._remove(token, declared)
        if removed is None:
            return False
        self._client.set(self._keys.beat_declared, digest)
        faults = {name: one.fault for name, one in declared.items() if one.fault}
        for name, why in faults.items():
            self._tell(name, why)
        telemetry.emit(events.SchedulesDeclared(put=put, removed=removed, quarantined=len(faults)))
        return True

    def _tell(self, name: str, why: str) -> None:
        if self._told.get(name) != why:
            self._told[name] = why
            telemetry.emit(events.EntryQuarantined(entry=name, why=why))

    def _declared(self) -> dict[str, Declared]:
        """By name: the code's entries, then those of files, of which the code's win."""
        self._stamp, self._unread = stamp_of(self._files), []
        for path, found in read_files(self._files):
            if isinstance(found, str):
                self._unread += [] if path in self._known else [path]
                telemetry.emit(events.FileRefused(path=path, error=found))
            else:
                self._known.add(path)
                kept = {name: one for name, one in self._of_files.items() if not one.origin.endswith(f":{path}")}
                self._of_files = kept | {name: _of_file(path, name, one) for name, one in found.items()}
        of_code = {str(name): one for name, one in self._of_code()}
        return {name: one._replace(origin="file") for name, one in self._of_files.items()} | of_code

    def _of_code(self) -> Iterator[tuple[str, Declared]]:
        conf: Any = self._app.conf
        zone = str(conf.timezone or "UTC")
        for name, entry in dict(conf.beat_schedule or {}).items():
            try:
                yield name, Declared("code", from_code(str(name), entry, zone), "")
            except ScheduleRefused as error:
                yield name, Declared("code", None, error.why)

    def _put(self, token: str, now_ms: int, page: dict[str, Declared]) -> list[int]:
        replies: list[int] = []
        calls = [_call(self._keys, token, now_ms, name, one) for name, one in page.items()]
        calls[0].script.cache(self._client)
        with self._client.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.execute_command(*call.command)
            replies.extend(int(reply) for reply in pipeline.execute())
        return replies

    def _remove(self, token: str, declared: dict[str, Declared]) -> int | None:
        """Removes what code or files declared once; None: another leads."""
        raw_names: Any = self._client.smembers(self._keys.beat_names)
        names = [name for name in (raw.decode("utf-8", "replace") for raw in raw_names) if name not in declared]
        removed = 0
        for name in names:
            if self._unread and self._client.hget(self._keys.beat_entry(name), "origin") == b"file":
                continue  # perhaps it stands in a file that cannot be read just now
            reply = int(beating.undeclare(self._keys, name, token=token).run(self._client))
            if reply == Changed.NOT_LEADING:
                return None
            removed += reply == Changed.DONE
        return removed


def _of_file(path: str, name: str, given: object) -> Declared:
    try:
        return Declared(f"file:{path}", Definition.read(name, given), "")
    except ScheduleRefused as error:
        return Declared(f"file:{path}", None, error.why)


def _call(keys: Keys, token: str, now_ms: int, name: str, one: Declared) -> Any:
    definition = one.definition
    fault, first = one.fault, 0
    if definition is not None:
        first = definition.schedule.next_after(now_ms, now_ms) or 0
    return beating.declare(
        keys, "declare", name, token=token, origin=one.origin, fault=fault, slot_ms=first,
        definition=definition.text if definition else "", times=definition.times_text if definition else "",
    )  # fmt: skip


def _digest(declared: dict[str, Declared], unread: list[str]) -> str:
    told = {
        name: [one.origin, one.definition.text if one.definition else "", one.fault] for name, one in declared.items()
    }
    return hashlib.sha256(json.dumps([told, unread], sort_keys=True).encode()).hexdigest()
