"""What agents ask of Redis, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hardening.core.agent_keys import mailbox_queue
from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hardening.core.keys import Keys
    from hardening.core.scripts.calls import Scope

__all__ = ["Change", "Failing", "Failure", "Letter", "Opened", "Rule", "Turn", "commit", "failed", "open_agent"]


class Turn(NamedTuple):
    """One message that an agent was given.

    Attributes:
        agent: its name.
        consumer: who took the message.
        seq: as what.
        message: its id.
        version: the mark of the version of the agent's state when it was taken; empty: that is not known.
    """

    agent: str
    consumer: str
    seq: int
    message: str
    version: str = ""


class Letter(NamedTuple):
    """A message that goes out with a commit.

    Attributes:
        queue: where it goes.
        list_key: the list of that queue.
        raw: the raw message.
        delay_ms: after how long it is due.
        fields: what its receipt says; empty: it has none.
    """

    queue: str
    list_key: str
    raw: bytes
    delay_ms: int = 0
    fields: Mapping[str, str] = {}


class Change(NamedTuple):
    """What one message did to an agent.

    Attributes:
        kind: whether ``blob`` is the new state, an entry of the journal, or nothing.
        blob: JSON.
        schema: of the state.
        answers: id of the ask and JSON of the answer.
        letters: what is sent.
    """

    kind: Literal["state", "entry", "none"]
    blob: bytes = b""
    schema: int = 1
    answers: tuple[tuple[str, str], ...] = ()
    letters: tuple[Letter, ...] = ()


class Rule(NamedTuple):
    """What follows from a failure.

    Attributes:
        strategy: ``none`` (it is not the agent's), ``restart``, ``restart_with_backoff``, ``stop`` or ``park``.
        most: how many restarts within the period are borne.
        within_ms: the period.
        base_ms: how long the first back-off is; each further one is twice as long.
        cap_ms: the longest.
    """

    strategy: str
    most: int
    within_ms: int
    base_ms: int
    cap_ms: int


class Failing(NamedTuple):
    """What is told of a failure.

    Attributes:
        why: one line.
        ask: id of the ask that is answered; empty: none.
        answer: JSON.
        notice: what its owner is sent if it is halted.
        fields: what the receipt of the notice says.
    """

    why: str
    ask: str = ""
    answer: str = ""
    notice: Letter = Letter("", "", b"")
    fields: Mapping[str, str] = {}


class Opened(NamedTuple):
    """An agent that was opened for a message.

    Attributes:
        outcome: ``refused``: the message is somebody else's by now. ``applied``: it was applied before. ``ready``: the
            state that the caller has is the newest. ``given``: what follows is.
        mark: tells versions apart.
        schema: of the state.
        state: JSON; empty: there is none.
        entries: what was done since it was written.
    """

    outcome: Literal["refused", "applied", "ready", "given"]
    mark: str = ""
    schema: int = 0
    state: bytes = b""
    entries: tuple[bytes, ...] = ()

    @staticmethod
    def parse(reply: list[Any]) -> Opened:
        """Reads the reply of :func:`open_agent`."""
        code, *rest = reply
        if code < 2:  # noqa: PLR2004 - the only code with more behind it
            return Opened("refused" if code < 0 else "applied" if code == 0 else "ready")
        mark, schema, state, *entries = rest
        return Opened("given", mark.decode(), int(schema or 0), state, tuple(entries))


class Failure(NamedTuple):
    """What followed from a failure.

    Attributes:
        is_refused: the message is somebody else's by now, and nothing followed.
        halt: how the agent is halted; empty: it goes on.
        restarts: how many there were within the period.
        pause_ms: how long it backs off.
    """

    is_refused: bool
    halt: str = ""
    restarts: int = 0
    pause_ms: int = 0

    @staticmethod
    def parse(reply: list[Any]) -> Failure:
        """Reads the reply of :func:`failed`."""
        if reply[0] == -1:
            return Failure(is_refused=True)
        return Failure(False, reply[0].decode(), *reply[1:])  # noqa: FBT003


def open_agent(keys: Keys, turn: Turn, mark: str = "") -> Call:
    """Opens an agent for a message, for one who has the version with that mark. Reply: see :class:`Opened`."""
    fixed = (
        keys.mailbox(mailbox_queue(turn.agent)), keys.inflight(turn.consumer), keys.agent(turn.agent),
        keys.journal(turn.agent),
    )  # fmt: skip
    return Call(_OPEN, fixed, (turn.consumer, turn.seq, turn.message, mark))


def commit(scope: Scope, turn: Turn, mark: str, change: Change, *, reply_ttl_ms: int) -> Call:
    """Commits what a message did. Reply: the new mark; empty: refused; ``=``: it was applied before."""
    keys = scope.keys
    fixed = (
        keys.agent(turn.agent), keys.queues, keys.mailbox(mailbox_queue(turn.agent)), keys.inflight(turn.consumer),
        keys.journal(turn.agent),
    )  # fmt: skip
    answers = _parts(change.answers)
    letters = _parts(
        (one.queue, one.list_key, one.delay_ms, one.raw, 2 * len(one.fields), *_parts(one.fields.items()))
        for one in change.letters
    )
    head = (keys.prefix, scope.receipt_ttl_ms, scope.worker, turn.consumer, turn.seq, turn.message, mark)
    about = (change.schema, change.kind, change.blob, reply_ttl_ms, len(change.answers))
    return Call(_COMMIT, fixed, (*head, *about, *answers, *letters))


def failed(scope: Scope, turn: Turn, rule: Rule, failing: Failing, *, reply_ttl_ms: int) -> Call:
    """Counts a failure. Reply: see :class:`Failure`."""
    keys, notice = scope.keys, failing.notice
    fixed = (
        keys.restarts(turn.agent), keys.queues, keys.mailbox(mailbox_queue(turn.agent)), keys.inflight(turn.consumer)
    )  # fmt: skip
    head = (keys.prefix, scope.receipt_ttl_ms, scope.worker, turn.consumer, turn.seq, *rule)
    about = (failing.why, reply_ttl_ms, failing.ask, failing.answer)
    told = (notice.queue, notice.list_key, notice.raw, *_parts(failing.fields.items()))
    return Call(_FAILED, fixed, (*head, *about, *told))


def _parts(many: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [part for one in many for part in one]


_OPEN = Script.load("agent_open")
_COMMIT = Script.load("agent_commit")
_FAILED = Script.load("agent_failed")
