"""The receipt of several messages that were sent as one: a group, or the header of a chord."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from celery import current_app

from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import ConfirmTimeout, MessageDied, ReceiptNotFound
from hardening.core.membership import boot_clock_s
from hardening.delivery.async_follower import AsyncFollower, states_of
from hardening.delivery.cancelling import Cancellation, CancelOutcome
from hardening.delivery.group_record import GroupRecord, Returned
from hardening.delivery.receipt import Receipt
from hardening.delivery.receipt_state import RANK, DeliveryStatus, Transition, status_of
from hardening.delivery.results import await_result, refuse_inside_a_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery

__all__ = ["GroupReceipt", "Returned"]

#: How long to wait for one member before looking at the others, in seconds.
_TURN_S = 1.0


@dataclass(frozen=True)
class GroupReceipt(Receipt):
    """Follows all messages of a group or of a chord's header, each of which has a receipt of its own.

    Redis keeps which they are, and any process follows them by the group's id: :meth:`load`. That is written when they
    are published. If Redis is away just then, only this process can follow the group, until it calls :meth:`keep`.

    Attributes:
        id: of the group.
        app: likewise.
        members: the receipts, in the order in which they were sent.
        results: whose results it returns, as :class:`Returned`, or a tuple of them for a group in it.
        body: of a chord: the id of the task that is called with what its header returns; a worker sends it, without a
            receipt. Empty: there is none.
    """

    members: tuple[Receipt, ...] = ()
    results: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    body: str = field(default="", compare=False)

    @classmethod
    def load(cls, receipt_id: str, *, app: Celery | None = None) -> Self:
        """The receipt of a group by its id, which is kept as long again as a receipt is after its last change.

        Raises:
            ReceiptNotFound: there is no such group, it has expired, or it ran in the process that sent it.
            redis.RedisError: Redis is away.
        """
        owner: Celery = app or current_app
        record = GroupRecord.read(owner, receipt_id)
        if record is None:
            raise ReceiptNotFound(receipt_id)
        members = tuple(Receipt(one, owner) for one in record.members)
        return cls(receipt_id, owner, members=members, results=record.results, body=record.body)

    def keep(self) -> None:
        """Has Redis keep which the members are, as a send does; calling it again does no harm.

        Raises:
            redis.RedisError: Redis is away.
        """
        self.record.keep(self.app, self.id).run(client_of(self.app))

    @property
    def record(self) -> GroupRecord:
        """What Redis keeps of it."""
        return GroupRecord(tuple(one.id for one in self.members), self.results, self.body)

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self.members)

    def _states(self) -> list[DeliveryStatus]:
        """Where each member is: one round trip for all, and another for each that Redis does not know."""
        keys, followed = settings_of(self.app).keys, self._followed
        told: list[Any] = []
        if followed:
            pipeline = client_of(self.app).pipeline(transaction=False)
            for one in followed:
                pipeline.hget(keys.delivery(one.id), "state")
            told = pipeline.execute()
        found = _found(followed, told)
        return [found[one.id] if one.id in found else one.status() for one in self.members]

    async def _states_async(self) -> list[DeliveryStatus]:
        """The same in an event loop."""
        followed = self._followed
        found = _found(followed, await states_of(self.app, [one.id for one in followed]))
        return [
            found[one.id] if one.id in found else status_of(one.here or await AsyncFollower(self.app, one.id).fields())
            for one in self.members
        ]

    @property
    def _followed(self) -> list[Receipt]:
        """The members that are messages."""
        return [one for one in self.members if one.here is None]

    def counts(self) -> Counter[DeliveryStatus]:
        """How many members are in each state.

        Raises:
            redis.RedisError: Redis is away.
        """
        return Counter(self._states())

    def status(self) -> DeliveryStatus:
        """``dead`` if any is; otherwise the state of the one that is least far along."""
        return _least(self._states())

    def details(self) -> dict[str, str]:
        """How many members are in each state, and the body's id."""
        body = {"body": self.body} if self.body else {}
        return {"members": str(len(self)), **{state.value: str(n) for state, n in self.counts().items()}, **body}

    def history(self) -> list[Transition]:
        """The states of all members, oldest first."""
        return sorted((one for member in self.members for one in member.history()), key=lambda one: one.at)

    def wait(self, state: str = "acked", timeout: float = 30.0) -> DeliveryStatus:
        """Waits until all members have got as far as ``state``; see :meth:`Receipt.wait`.

        Raises:
            ConfirmTimeout: some did not come in time: this names the first of them.
            MessageDied: one is dead, or was purged.
        """
        until_s = boot_clock_s() + timeout
        for member in self.members:
            while True:
                left_s = until_s - boot_clock_s()
                try:
                    member.wait(state, max(0.0, min(left_s, _TURN_S)))
                    break
                except (ConfirmTimeout, ReceiptNotFound):
                    self._raise_for_dead()
                    if left_s <= _TURN_S:
                        raise
        return self.status()

    async def await_until(self, state: str = "acked", timeout: float = 30.0) -> DeliveryStatus:  # noqa: ASYNC109
        """Waits as :meth:`wait` does, without holding up the event loop; see :meth:`Receipt.await_until`."""
        until_s = boot_clock_s() + timeout
        for member in self.members:
            while True:
                left_s = until_s - boot_clock_s()
                try:
                    await member.await_until(state, max(0.0, min(left_s, _TURN_S)))
                    break
                except (ConfirmTimeout, ReceiptNotFound):
                    for one, seen in zip(self.members, await self._states_async(), strict=True):
                        if seen is DeliveryStatus.DEAD:
                            await one.await_until(state, 0.0)  # which raises
                    if left_s <= _TURN_S:
                        raise
        return _least(await self._states_async())

    def _raise_for_dead(self) -> None:
        for member, state in zip(self.members, self._states(), strict=True):
            if state is DeliveryStatus.DEAD:
                raise MessageDied(member.id, member.details().get("reason", "unknown"))

    def cancel(self, *, timeout: float = 30.0, terminate: bool = False) -> Cancellation:
        """Cancels all members, in one ``timeout``; see :meth:`Receipt.cancel`. True if none of them will run.

        The body of a chord whose header is cancelled fails.

        Returns:
            ``too_late`` with the state of the first for which it was; what happened to each tell the members.
        """
        until_s = boot_clock_s() + timeout
        answers = [
            one.cancel(timeout=max(until_s - boot_clock_s(), 0.001), terminate=terminate) for one in self.members
        ]
        outcomes = {one.outcome: one for one in reversed(answers)}
        for outcome in (CancelOutcome.TOO_LATE, CancelOutcome.REVOKED, CancelOutcome.REMOVED):
            if outcome in outcomes:
                return outcomes[outcome]
        return Cancellation(CancelOutcome.TOO_LATE, DeliveryStatus.UNKNOWN)

    def result(self, timeout: float = 30.0, *, disable_sync_subtasks: bool = True) -> Any:
        """What the tasks return, in a list; of a chord, what its body returns. See :meth:`Receipt.result`.

        Raises:
            celery.exceptions.ChordError: a task of a chord's header raised.
        """
        until_s = boot_clock_s() + timeout
        here = {one.id: one for one in self.members if one.outcome}

        def await_one(receipt: str, task_id: str) -> Any:
            if task_id in here:
                return here[task_id].result()
            return await_result(
                self.app, receipt or self.id, task_id=task_id, timeout_s=max(0.0, until_s - boot_clock_s()),
                disable_sync_subtasks=disable_sync_subtasks,
            )  # fmt: skip

        def await_all(results: tuple[Any, ...]) -> list[Any]:
            return [
                await_one(one.receipt, "" if one.receipt else one.task_id)
                if isinstance(one, Returned)
                else await_all(one)
                for one in results
            ]

        if not self.body:
            return await_all(self.results)
        followed = ""
        if not here:
            if disable_sync_subtasks:
                refuse_inside_a_task()
            try:
                with suppress(ConfirmTimeout, ReceiptNotFound):
                    self.wait("acked", timeout)
            except MessageDied as died:
                followed = died.receipt_id  # the backend says how the header failed, or it was never run
        return await_one(followed, self.body)


def _found(followed: Sequence[Receipt], told: Sequence[bytes | None]) -> dict[str, DeliveryStatus]:
    """What Redis told of each, if it knows of it, by id."""
    return {
        one.id: status_of({"state": state.decode("utf-8", "replace")})
        for one, state in zip(followed, told, strict=True)
        if state
    }


def _least(states: Sequence[DeliveryStatus]) -> DeliveryStatus:
    if DeliveryStatus.DEAD in states:
        return DeliveryStatus.DEAD
    return min(states, key=lambda state: RANK.get(state, -1), default=DeliveryStatus.UNKNOWN)
