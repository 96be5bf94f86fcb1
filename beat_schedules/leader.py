"""The beat that leads, and those that stand by: one lease, one fence number, one script for each slot.

Guarantees: each slot is sent exactly once, whatever happens to beats: a beat that lost its lease is not heard, and a
slot and its message are one write. A beat that is away loses nothing that the entry's ``catch_up`` says is owed.

Does not guarantee: exactly one *run* of each slot; that is as with any message. Nor what Redis itself loses: with the
last second of its append-only file go a slot and its message together, so the slot is sent again.

Events: ``hardening.beat.*``, ``hardening.slot.*``, ``hardening.entry.*``, ``hardening.schedules.declared``.
"""

from __future__ import annotations

import gc
import os
import secrets
import socket
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from beat_schedules import events
from beat_schedules.declaring import Declarer
from beat_schedules.definition import Definition
from beat_schedules.errors import ScheduleRefused
from beat_schedules.message import bare_message_of, message_of, slot_id
from beat_schedules.owed import plan
from hardening.core import telemetry
from hardening.core.deployment import client_of, scope_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import beating
from hardening.core.scripts.beating import Due, Lead, Letter, Sent, Slot

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["Leader", "Report"]

#: Entries looked at in one tick: a few more than it can send in its time.
_LIMIT = 32
#: How long one tick may send, in seconds: then the lease is renewed, and what is due is read anew. With what reading
#: takes, and the one slot that is being sent when it is over, a tick stays below 50 ms.
_BUDGET_S = 0.015
#: How soon the last message of an entry is looked at again that the next slot waits for, in ms.
_WAIT_MS = 250
#: How often files are looked at, in seconds.
_FILES_S = 2.0
#: How soon to look again at what is due and could not be settled, in seconds.
_PAUSE_S = 0.02
#: Entries that are kept read.
_MOST_KEPT = 20_000
_LONGEST_RETRY_MS = 60_000
#: Why nobody gets a slot that is settled.
_WHY = {Sent.OVERLAPPED: "overlapped", Sent.NO_ROOM: "mailbox_full"}
_ERROR_LENGTH, _TRACEBACK_LENGTH = 500, 10_000


class Report(NamedTuple):
    """What one tick did.

    Attributes:
        is_leading: whether this beat leads.
        sent: how many slots it sent.
        wait_s: how long there is nothing to do, in seconds.
    """

    is_leading: bool
    sent: int
    wait_s: float


class Leader:
    """One beat's part in leading. Runs in beat's main thread.

    Args:
        app: a hardened one.

    Attributes:
        name: of this beat, unlike any other's.
        token: its lead, with the fence number; empty: it stands by.

    Raises:
        ConfigError: the app is not hardened.
    """

    def __init__(self, app: Celery) -> None:
        settings = settings_of(app)
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.token = ""
        self._app = app
        self._settings = settings
        self._keys = settings.keys
        self._lease_ms = round(settings.beat_lease_s * 1000)
        self._scope = scope_of(app, self.name)
        self._declarer = Declarer(app, settings.keys, settings.beat_files)
        self._is_declared = False
        self._files_at_s = 0.0
        self._kept: dict[str, tuple[str, Definition]] = {}
        self._until_s = 0.0
        self._is_frozen = False

    @property
    def _client(self) -> Any:
        return client_of(self._app)

    @property
    def bell(self) -> str:
        """What wakes this beat before its time."""
        return self._keys.beat_bell if self.token else self._keys.beat_vacancy

    def run_once(self) -> Report:
        """One tick: takes or renews the lead, and sends what is due, for a fraction of a second at most.

        Raises:
            redis.RedisError: Redis could not be asked, or is full. No slot is lost by it.
        """
        told = self._ask()
        if not told.token:
            self._declarer.prepare()
            return Report(is_leading=False, sent=0, wait_s=min(told.left_ms + 5, self._lease_ms / 4) / 1000)
        if self._must_declare():
            self._is_declared = self._declarer.declare(self.token, told.now_ms, lambda: bool(self._ask().token))
            self._freeze()
            return Report(is_leading=bool(self.token), sent=0, wait_s=0.0)
        sent, self._until_s = 0, boot_clock_s() + _BUDGET_S
        for due in told.due:
            sent += self._settle(due, told.now_ms)
            if not self.token or boot_clock_s() > self._until_s:
                break
        wait_ms = min(told.next_ms - told.now_ms if told.next_ms else self._lease_ms, self._lease_ms / 4)
        return Report(bool(self.token), sent, (_PAUSE_S, 0.0)[bool(sent)] if told.due else wait_ms / 1000)

    def resign(self) -> bool:
        """Gives the lead away, so that another beat takes it at once. Returns whether it was led.

        Raises:
            redis.RedisError: Redis could not be asked; the lease then runs out by itself.
        """
        token, self.token = self.token, ""
        led = bool(beating.resign(self._keys, token, self.name).run(self._client))
        if led:
            telemetry.emit(events.BeatResigned(beat=self.name))
        return led

    def stand_by(self, why: str) -> None:
        """Leads no more, as far as this beat knows; says so once."""
        if self.token:
            self.token = ""
            telemetry.emit(events.BeatStoodBy(beat=self.name, why=why))

    def _ask(self) -> Lead:
        call = beating.lead(self._keys, self.name, lease_ms=self._lease_ms, limit=_LIMIT)
        told = Lead.parse(call.run(self._client))
        if not told.token:
            self.stand_by("another beat leads")
        elif told.token != self.token:
            self.token, self._is_declared = told.token, False
            telemetry.emit(events.BeatTookLead(beat=self.name, fence=int(told.token.partition(" ")[0])))
        return told

    def _must_declare(self) -> bool:
        if self._is_declared and boot_clock_s() >= self._files_at_s:
            self._files_at_s = boot_clock_s() + _FILES_S
            self._is_declared = not self._declarer.has_changed()
        return not self._is_declared

    def _freeze(self) -> None:
        """Once, spares the garbage collector what stays as long as the process: all of it would take a tick 200 ms."""
        if not self._is_frozen:
            self._is_frozen = True
            gc.freeze()

    # -- slots

    def _settle(self, due: Due, now_ms: int) -> int:
        """Sends what an entry owes; how many slots that were."""
        slot = Slot(self.token, due.name, due.revision, due.owed, 0, 0)
        try:
            definition = self._read(due)
            found = plan(
                definition.schedule, owed_ms=int(due.owed), now_ms=now_ms, grace_ms=self._grace_ms(definition),
                catch_up=definition.catch_up, most=definition.catch_up_max, waits=due.waits,
            )  # fmt: skip
        except RedisError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: one entry's fault must not stop the others
            self._quarantine(slot, error)
            return 0
        if found.missed_ms:
            following = found.send[0] if found.send else found.next_ms
            passed = slot.at(found.missed_ms, following)
            call = beating.pass_slots(self._keys, passed, history_most=self._settings.beat_history)
            if not self._is_heard(int(call.run(self._client))):
                return 0
            telemetry.emit(events.SlotDropped(entry=due.name, slot_ms=found.missed_ms, why="missed"))
            slot = slot.owing(following)
        sent = 0
        for slot_ms, next_ms in found.steps:
            one = slot.at(slot_ms, next_ms)
            outcome = self._send(one, definition, due, now_ms)
            if outcome not in _WHY and outcome is not Sent.SENT:
                break
            sent += outcome is Sent.SENT
            slot = slot.owing(next_ms)
            if boot_clock_s() > self._until_s:
                break
        return sent

    def _send(self, slot: Slot, definition: Definition, due: Due, now_ms: int) -> Sent | None:
        """One slot; None: it could not be sent."""
        try:
            publication = message_of(
                self._app, self._client, slot.name, definition, slot_ms=slot.slot_ms,
                identity=slot_id(self._keys.prefix, slot.name, slot.slot_ms),
            )  # fmt: skip
            call = beating.send_slot(
                self._scope, slot, publication.list_key, publication.queue, publication.raw,
                due_ms=publication.due_ms, history_most=self._settings.beat_history, overlap=definition.overlap,
                wait_ms=_WAIT_MS, receipt=publication.fields,
            )  # fmt: skip
            outcome = Sent(int(call.run(self._client)))
        except OutOfMemoryError:
            raise  # Redis takes nothing from anybody: the slot stays owed
        except ResponseError as error:
            self._failed(slot, definition, due, error)
            return None
        except (RedisError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the edge: one entry's fault must not stop the others
            self._failed(slot, definition, due, error)
            return None
        self._is_heard(int(outcome))
        if outcome is Sent.SENT:
            telemetry.emit(events.SlotSent(entry=slot.name, slot_ms=slot.slot_ms, late_ms=now_ms - slot.slot_ms))
        elif outcome in _WHY:
            telemetry.emit(events.SlotDropped(entry=slot.name, slot_ms=slot.slot_ms, why=_WHY[outcome]))
        elif outcome is Sent.OWNER_ENDED:
            telemetry.emit(events.EntryEnded(entry=slot.name))
        return outcome

    def _failed(self, slot: Slot, definition: Definition, due: Due, error: Exception) -> None:
        """A slot could not be sent: it is tried later, or, after so many attempts, buried."""
        text = f"{type(error).__name__}: {error}"[:_ERROR_LENGTH]
        if due.attempts + 1 < self._settings.beat_attempts:
            delay_ms = min(round(self._settings.beat_retry_s * 1000) * 2**due.attempts, _LONGEST_RETRY_MS)
            call = beating.postpone_slot(self._keys, slot, delay_ms=delay_ms, error=text)
            attempt = int(call.run(self._client))
            self._is_heard(attempt)
            telemetry.emit(events.SlotFailed(entry=slot.name, slot_ms=slot.slot_ms, attempt=attempt, error=text))
            return
        identity = slot_id(self._keys.prefix, slot.name, slot.slot_ms)
        try:
            dead = bare_message_of(self._app, slot.name, definition, slot_ms=slot.slot_ms, identity=identity)
        except Exception as worse:  # noqa: BLE001 - the edge: there is nothing to bury
            self._quarantine(slot, worse)
            return
        trace = "".join(traceback.format_exception(error))[-_TRACEBACK_LENGTH:]
        letter = Letter(dead.list_key, dead.raw, text, trace)
        call = beating.bury_slot(self._scope, slot, letter, history_most=self._settings.beat_history)
        entry = call.run(self._client).decode()
        if entry:
            telemetry.emit(events.SlotBuried(entry=slot.name, slot_ms=slot.slot_ms, letter=entry, error=text))

    def _quarantine(self, slot: Slot, error: Exception) -> None:
        why = error.why if isinstance(error, ScheduleRefused) else f"{type(error).__name__}: {error}"
        call = beating.postpone_slot(self._keys, slot, delay_ms=0, error="", fault=why[:_ERROR_LENGTH])
        if self._is_heard(int(call.run(self._client))):
            telemetry.emit(events.EntryQuarantined(entry=slot.name, why=why[:_ERROR_LENGTH]))

    def _is_heard(self, reply: int) -> bool:
        if reply == Sent.NOT_LEADING:
            self.stand_by("another beat took over")
        return reply > 0

    def _read(self, due: Due) -> Definition:
        """The definition of an entry, as it is at its revision."""
        revision, definition = self._kept.get(due.name, ("", None))
        if definition is None or revision != due.revision:
            text: Any = self._client.hget(self._keys.beat_entry(due.name), "definition")
            definition = Definition.read(due.name, text or b"")
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[due.name] = due.revision, definition
        return definition

    def _grace_ms(self, definition: Definition) -> int:
        grace_s = self._settings.beat_grace_s if definition.grace_s is None else definition.grace_s
        return round(grace_s * 1000)
