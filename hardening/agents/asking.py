"""Asking an agent: a message that carries where its answer is to go, and a wait that always ends.

An answer is pushed to a list of its own, with the commit that it belongs to. Whoever waits blocks on the list, for a
second at a time, and leaves the answer there until it was read: a connection that is cut loses nothing. In between the
receipt and the mailbox are looked at: nobody waits for what is dead, or for an agent that takes no messages.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from kombu.utils.json import loads

from dlq import Reason
from hardening.agents.atelling import block_on
from hardening.agents.errors import AgentHalted, AskFailed, AskTimeout
from hardening.agents.here import running
from hardening.agents.telling import asking, atell, tell
from hardening.core import raw as raw_message
from hardening.core.agent_keys import mailbox_queue
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.receipt_state import DeliveryStatus
from hardening.timeouts.clock import clock_of
from hardening.timeouts.deadline import deadline, remaining

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celery import Celery

__all__ = ["aask", "ask"]

#: How long a wait blocks at first, and at most, in seconds.
_FIRST_S, _LONGEST_S = 0.1, 1.0
#: How soon to ask again while Redis is away, in seconds.
_PAUSE_S = 0.1

Command = tuple[str, ...]


def ask(
    app: Celery, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any],
    timeout_s: float,
) -> Any:  # fmt: skip
    """Asks an agent; see :meth:`~hardening.agents.ref.AgentRef.ask`."""
    wait = _Wait(app, agent, handler)
    with deadline(timeout_s, app=app):
        wait.begin(remaining() or 0.0)
        receipt = tell(app, agent, handler, args, kwargs, asking(options, wait.id, wait.given_s))
    client: Any = client_of(app)
    for command in wait.commands(receipt.id):
        try:
            wait.reply = client.execute_command(*command)
        except TRANSIENT:
            threading.Event().wait(min(_PAUSE_S, wait.left_s))
    return wait.value()


async def aask(
    app: Celery, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any],
    timeout_s: float,
) -> Any:  # fmt: skip
    """The same from a coroutine: nothing but the loop waits."""
    wait = _Wait(app, agent, handler)
    await asyncio.to_thread(clock_of(app).prepare)
    with deadline(timeout_s, app=app):
        wait.begin(remaining() or 0.0)
        receipt = await atell(app, agent, handler, args, kwargs, asking(options, wait.id, wait.given_s))
    for command in wait.commands(receipt.id):
        try:
            wait.reply = await block_on(app, command)
        except TRANSIENT:
            await asyncio.sleep(min(_PAUSE_S, wait.left_s))
    return wait.value()


class _Wait:
    """One wait for one answer, whoever runs its commands.

    Args:
        app: over whose broker.
        agent: who is asked.
        handler: what.

    Attributes:
        id: of the ask.
        given_s: how long it may take, in seconds.
        reply: to the last command; None: nothing, or it could not be run.
    """

    def __init__(self, app: Celery, agent: str, handler: str) -> None:
        if running.get() == agent:
            raise ValueError(f"agent {agent} asks itself, which it could only answer afterwards: call the method")
        self._keys = settings_of(app).keys
        self._agent = agent
        self._handler = handler
        self._until_s = 0.0
        self._receipt = ""
        self._answer: bytes | None = None
        self.id = raw_message.new_id()
        self.given_s = 0.0
        self.reply: Any = None

    def begin(self, given_s: float) -> None:
        """The time runs from now on.

        Raises:
            AskTimeout: there is none.
        """
        self.given_s = given_s
        self._until_s = boot_clock_s() + given_s
        if given_s <= 0:
            raise AskTimeout(self._agent, self._handler, 0.0, "")

    @property
    def left_s(self) -> float:
        """How much of it is left, in seconds."""
        return max(0.0, self._until_s - boot_clock_s())

    def commands(self, receipt: str) -> Iterator[Command]:
        """What to ask Redis, one after the other, until the answer is there or nobody need wait for it.

        Raises:
            AskFailed: the message is dead, and left no answer.
            AgentHalted: the agent takes no messages.
        """
        self._receipt = receipt
        key, block_s = self._keys.reply(self.id), _FIRST_S
        mailbox, delivery = self._keys.mailbox(mailbox_queue(self._agent)), self._keys.delivery(receipt)
        while self.left_s > 0:
            self.reply = None
            yield ("BLMOVE", key, key, "LEFT", "LEFT", f"{max(0.001, min(block_s, self.left_s)):.3f}")
            if isinstance(self.reply, bytes):
                self._answer = self.reply
                yield ("UNLINK", key)
                return
            block_s = min(2 * block_s, _LONGEST_S)
            self.reply = None
            yield ("HMGET", delivery, "state", "reason")
            state, reason = (self.reply or (None, None))[:2]
            if state == DeliveryStatus.DEAD.value.encode():
                self.reply = None
                yield ("LINDEX", key, "0")
                self._answer = self.reply
                if self._answer is None and reason != Reason.EXPIRED.value.encode():
                    why = (reason or b"").decode("utf-8", "replace")
                    raise AskFailed(self._agent, self._handler, why, f"the message is dead, see receipt {receipt}")
                return
            self.reply = None
            if state == DeliveryStatus.QUEUED.value.encode():
                yield ("HMGET", mailbox, "halt", "why")
                halt, why = (part.decode("utf-8", "replace") if part else "" for part in self.reply or (b"", b""))
                if halt:
                    raise AgentHalted(self._agent, halt, why)

    def value(self) -> Any:
        """The answer.

        Raises:
            AskFailed: the handler raised.
            AskTimeout: there is none.
        """
        if self._answer is None:
            raise AskTimeout(self._agent, self._handler, self.given_s, self._receipt)
        said: Any = loads(self._answer.decode())
        if "type" in said:
            raise AskFailed(self._agent, self._handler, str(said["type"]), str(said["error"]))
        return said["value"]
