"""Work that is given to agents piece by piece, and followed until it is done.

Each piece is a supervised message to one agent, with a receipt and an idempotency key. When an agent is halted, or no
living worker takes from its mailbox any longer, what it has not begun is cancelled, which is certain, and given to
another. What it had begun is left to it until its message is back in its mailbox, and then goes the same way.

Guarantees: a piece is given to another only when it is certain that its last message will never run again. So it runs
twice only where any message does: if the worker died while it ran it.

Does not guarantee: that somebody goes on following when the caller dies. Whoever calls again, with the same ``job`` and
the same items, takes it up where it was: what was sent is not sent again.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.agents.coordination.answers import asked
from hardening.agents.coordination.bench import Presence, bench_of
from hardening.agents.coordination.events import WorkMoved
from hardening.agents.coordination.names import checked_name, checked_s
from hardening.agents.coordination.placing import Placer, WorkStrategy
from hardening.core import telemetry
from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.core.errors import ConfirmTimeout, DeliveryError, MailboxFull, MessageDied
from hardening.core.membership import boot_clock_s
from hardening.delivery.receipt_state import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from celery import Celery

    from hardening.agents.coordination.bench import Bench
    from hardening.delivery import Receipt

__all__ = ["Piece", "PieceStatus", "WorkReport", "distribute_work"]

#: How long one receipt is waited for, how often it is looked who is there, and how long a cancellation may take, in
#: seconds.
_SLICE_S, _LOOK_S, _CANCEL_S = 0.5, 0.5, 1.0


class PieceStatus(StrEnum):
    """What became of a piece of work."""

    DONE = "done"  #: an agent has handled it
    DEAD = "dead"  #: its message was buried, or cancelled by somebody; its receipt tells why
    OPEN = "open"  #: an agent has it, and may yet handle it
    UNFIT = "unfit"  #: no agent can do what it needs
    UNPLACED = "unplaced"  #: nobody who can do it was there, or had room


@dataclass(slots=True)
class Piece:
    """One piece of work.

    Attributes:
        number: which, from 0.
        item: what is to be done.
        status: what became of it.
        agent: who has it now, or had it last; empty: nobody ever.
        receipt: follows its message.
        earlier: who had it before, and lost it.
        why: why it is dead, or not placed.
    """

    number: int
    item: Any
    status: PieceStatus = PieceStatus.UNPLACED
    agent: str = ""
    receipt: Receipt | None = None
    earlier: list[str] = field(default_factory=list)
    why: str = ""


@dataclass(frozen=True, slots=True)
class WorkReport:
    """What became of all of it. True if all is done.

    Attributes:
        job: its name, by which it can be taken up again.
        pieces: in the order of the items.
    """

    job: str
    pieces: Sequence[Piece]

    def __bool__(self) -> bool:
        return all(piece.status is PieceStatus.DONE for piece in self.pieces)

    def of(self, status: PieceStatus) -> list[Piece]:
        """The pieces of which this became."""
        return [piece for piece in self.pieces if piece.status is status]

    def by_agent(self) -> Mapping[str, int]:
        """How many pieces each has done."""
        return Counter(piece.agent for piece in self.of(PieceStatus.DONE))


def distribute_work(
    items: Iterable[Any],
    agents: Iterable[str],
    strategy: WorkStrategy = "round_robin",
    *,
    handler: str = "on_work",
    needs: Callable[[Any], Iterable[str]] | None = None,
    job: str | None = None,
    timeout: float = 60.0,
    patience: float = 2.0,
    bench: Bench | None = None,
    app: Celery | None = None,
) -> WorkReport:
    """Gives each item to an agent, and follows all of them until they are done.

    Args:
        items: what is to be done, JSON each.
        agents: the names of those who may do it, at most 256.
        strategy: ``round_robin``; ``least_loaded``: by how many messages wait for each; ``capability``: by what they
            can do, which their classes declare as ``capabilities``, or a handler of that name answers.
        handler: by which they do it; it is given the item.
        needs: for ``capability``: what whoever gets an item must be able to do.
        job: a name for all of it, to take it up again; default: one that nobody has.
        timeout: how long to follow, in seconds; what is not done then is in the report, and may be done yet.
        patience: how long no living worker may take from an agent's mailbox until its work is given to others, in
            seconds. A worker's lease comes before it.
        bench: how agents are reached; default: as those of the app.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
        redis.RedisError: Redis could not be asked who is there.
        PublishFailed: Redis does not take messages, nor can they be spooled.
        kombu.exceptions.EncodeError: an item is not JSON.
    """
    if (needs is not None) != (strategy == "capability"):
        raise ValueError(f"strategy is {strategy!r}: needs is for capability, which cannot do without")
    names, reached = asked(agents, "agents"), bench or bench_of(app)
    until_s = boot_clock_s() + checked_s(timeout, "timeout")
    named, patience_s = "" if job is None else checked_name(job, "job"), checked_s(patience, "patience")
    placer = Placer(
        strategy, names, loads=reached.loads(names) if strategy == "least_loaded" else None,
        capabilities=reached.capabilities(names, min(5.0, timeout)) if strategy == "capability" else None,
    )  # fmt: skip
    run = _Run(reached, names, handler, needs, named, placer, until_s=until_s, patience_s=patience_s)
    return run.run([Piece(number, item) for number, item in enumerate(items)])


class _Run:
    """One distribution, in the thread of its caller."""

    def __init__(
        self, bench: Bench, agents: Sequence[str], handler: str, needs: Callable[[Any], Iterable[str]] | None, job: str,
        placer: Placer, *, until_s: float, patience_s: float,
    ) -> None:  # fmt: skip
        self._bench = bench
        self._agents = agents
        self._handler = handler
        self._needs = needs
        self._is_resumed = bool(job)
        self._job = job or uuid.uuid4().hex
        self._placer = placer
        self._until_s = until_s
        self._patience_s = patience_s
        self._absent_since_s: dict[str, float] = {}
        self._there: set[str] = set()
        self._full: set[str] = set()

    def run(self, pieces: list[Piece]) -> WorkReport:
        """Places, follows, looks after those who are gone."""
        self._look()
        for piece in pieces:
            self._place(piece)
        look_at_s = boot_clock_s() + _LOOK_S
        while (open_ones := self._open(pieces)) and boot_clock_s() < self._until_s:
            self._follow(open_ones[0])
            if boot_clock_s() >= look_at_s:
                with suppress(RedisError):
                    self._move(pieces)
                look_at_s = boot_clock_s() + _LOOK_S
        with suppress(RedisError):
            for piece in self._open(pieces):
                self._find_out(piece)
        return WorkReport(self._job, pieces)

    @staticmethod
    def _open(pieces: list[Piece]) -> list[Piece]:
        """What is not done; the one that was sent first comes first."""
        open_ones = [piece for piece in pieces if piece.status in (PieceStatus.OPEN, PieceStatus.UNPLACED)]
        return sorted(open_ones, key=lambda piece: piece.status is PieceStatus.UNPLACED)

    # -- placing

    def _place(self, piece: Piece) -> None:
        """Gives it to somebody, if there is anybody."""
        needs = frozenset(self._needs(piece.item)) if self._needs is not None else frozenset()
        piece.status, piece.receipt, piece.why = PieceStatus.UNPLACED, None, "nobody who can do it is there"
        if not self._placer.is_fit(needs):
            piece.status, piece.why = PieceStatus.UNFIT, f"no agent can do what it needs: {', '.join(sorted(needs))}"
            return
        while (name := self._placer.place(needs, self._there - self._full)) is not None:
            try:
                receipt = self._give(piece, name)
            except MailboxFull as error:
                self._full.add(name)
                piece.why = str(error)
                continue
            piece.status, piece.receipt, piece.why = PieceStatus.OPEN, receipt, ""
            return

    def _give(self, piece: Piece, name: str) -> Receipt:
        """Sends it; of a job that is taken up again, finds what was sent."""
        while True:
            key = f"work:{self._job}:{piece.number}:{len(piece.earlier)}"
            receipt = self._bench.give(name, self._handler, (piece.item,), key)
            piece.agent = name
            if not self._is_resumed:
                return receipt
            said = receipt.details()
            piece.agent = said.get("queue", "").removeprefix(MAILBOX_HEAD) or name
            if (said.get("state"), said.get("reason")) != (DeliveryStatus.DEAD.value, "cancelled"):
                return receipt
            piece.earlier.append(piece.agent)

    # -- following

    def _follow(self, piece: Piece) -> None:
        """Waits for one, for a moment."""
        if piece.receipt is None:
            self._pause()
            return
        left_s = max(0.0, min(_SLICE_S, self._until_s - boot_clock_s()))
        try:
            piece.receipt.wait("acked", timeout=left_s)
        except ConfirmTimeout:
            return
        except MessageDied as error:
            piece.status, piece.why = PieceStatus.DEAD, error.reason
        except (DeliveryError, RedisError) as error:
            piece.why = f"{type(error).__name__}: {error}"
            self._pause()
        else:
            piece.status = PieceStatus.DONE

    @staticmethod
    def _find_out(piece: Piece) -> None:
        """What became of one that was not waited for, as the time went by with another."""
        said = piece.receipt.details() if piece.receipt is not None else {}
        if said.get("state") == DeliveryStatus.ACKED.value:
            piece.status = PieceStatus.DONE
        elif said.get("state") == DeliveryStatus.DEAD.value:
            piece.status, piece.why = PieceStatus.DEAD, said.get("reason", "")

    def _pause(self) -> None:
        threading.Event().wait(max(0.0, min(_LOOK_S, self._until_s - boot_clock_s())))

    # -- those who are gone

    def _look(self) -> set[str]:
        """Who is there; returns who has been gone for long enough, or takes no messages."""
        now_s, seen = boot_clock_s(), self._bench.presence(self._agents)
        self._there = {name for name in self._agents if seen[name] is Presence.THERE}
        for name in self._agents:
            if name in self._there:
                self._absent_since_s.pop(name, None)
            else:
                self._absent_since_s.setdefault(name, now_s)
        return {
            name for name, since_s in self._absent_since_s.items()
            if seen[name] is Presence.HALTED or now_s - since_s >= self._patience_s
        }  # fmt: skip

    def _move(self, pieces: list[Piece]) -> None:
        """Takes from those who are gone what can be taken back for certain, and gives it to others."""
        gone = self._look()
        self._full.clear()
        for piece in pieces:
            if piece.status is PieceStatus.OPEN and piece.agent in gone and self._there and self._is_back(piece):
                telemetry.emit(WorkMoved(job=self._job, number=piece.number, agent=piece.agent))
                piece.earlier.append(piece.agent)
                piece.status = PieceStatus.UNPLACED
            if piece.status is PieceStatus.UNPLACED:
                self._place(piece)

    def _is_back(self, piece: Piece) -> bool:
        """Whether its message will never run: it is cancelled."""
        left_s = self._until_s - boot_clock_s()
        if piece.receipt is None or left_s <= 0:
            return False
        try:
            return bool(piece.receipt.cancel(timeout=min(_CANCEL_S, left_s)))
        except DeliveryError:
            return False
