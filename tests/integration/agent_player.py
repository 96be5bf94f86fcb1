"""A worker that is played: it takes an agent's messages, runs them as a pool does, and dies when a test says so."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery.exceptions import Reject

from hardening.agents.running import Message, run
from hardening.agents.table import hosted
from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.agent_keys import mailbox_queue
from hardening.core.agent_message import REPLY_HEADER
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import Death, Recovery, Scope, Taken, TakenMessage, calls
from hardening.core.scripts.agenting import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

__all__ = ["Player", "moved_to", "version", "works"]


class Player:
    """One consumer of one agent.

    Args:
        app: hosts the agent.
        agent: its name.
        consumer: who plays.
    """

    def __init__(self, app: Celery, agent: str, consumer: str = "w1") -> None:
        self.app = app
        self.agent = agent
        self.consumer = consumer
        self.client: Any = client_of(app)
        self.keys = settings_of(app).keys
        self.scope = Scope(self.keys, 60_000, consumer)
        calls.renew(self.keys, consumer, 60_000, join=True, about="{}").run(self.client)

    def take(self) -> TakenMessage | None:
        """The next message, if it may be taken."""
        lists = [mailbox_queue(self.agent)]
        taken = Taken.parse(self.scope.take(self.consumer, lists, 1).run(self.client), lists)
        return next((one for one in taken.messages if one.raw), None)

    def run(self, taken: TakenMessage) -> None:
        """Runs a message, and settles nothing."""
        payload = payloads.load(taken.raw)
        (handler, *args), kwargs, _ = json.loads(base64.b64decode(payload["body"]))
        turn = Turn(self.agent, self.consumer, taken.seq, raw_message.message_id(taken.raw), taken.version)
        message = Message(handler, tuple(args), kwargs, payload["headers"].get(REPLY_HEADER) or "")
        run(self.app, hosted(self.app)[self.agent], turn, message)

    def ack(self, taken: TakenMessage) -> None:
        """Settles a message."""
        self.scope.ack(self.consumer, [f"{taken.seq}+"]).run(self.client)

    def release(self, taken: TakenMessage) -> None:
        """Gives a message back."""
        self.scope.release(self.consumer, [taken.seq]).run(self.client)

    def handle(self) -> Any:
        """Takes, runs and settles one message, as a worker does; what was raised. None is a message, too.

        Raises:
            LookupError: there is nothing to take.
        """
        taken = self.take()
        if taken is None:
            raise LookupError(self.agent)
        try:
            self.run(taken)
        except Reject as error:
            self.release(taken)
            return error
        except Exception as error:  # noqa: BLE001 - whatever a handler raises
            self.scope.bury(self.consumer, taken.seq, Death("failed", repr(error))).run(self.client)
            return error
        self.ack(taken)
        return None

    def handle_all(self) -> list[Any]:
        """Until there is nothing to take."""
        said = []
        try:
            while True:
                said.append(self.handle())
        except LookupError:
            return said

    def die(self) -> None:
        """Its lease runs out, and another moves its messages back."""
        self.client.zadd(self.keys.leases, {self.consumer: 1})
        while Recovery.parse(
            calls.Scope(self.keys, 60_000, "r").recover("r", max_crashes=9, base_delay_ms=1, limit=9).run(self.client)
        ).consumer:
            pass

    def state(self) -> Any:
        """The state as it is kept."""
        return json.loads(self.client.hget(self.keys.agent(self.agent), "state") or "null")


def moved_to(player: Player, consumer: str) -> Player:
    """Another process, that knows nothing; the first is dead."""
    player.die()
    vars(player.app).pop("_hardening_residents")
    return Player(player.app, player.agent, consumer)


def version(player: Player) -> int:
    """How often the state was committed."""
    return int(player.client.hget(player.keys.agent(player.agent), "version") or 0)


@contextmanager
def works(player: Player, do: Callable[[], Any] | None = None) -> Iterator[None]:
    """Does something, such as handling all there is, for as long as the block lasts."""
    is_over = threading.Event()

    def go() -> None:
        while not is_over.wait(0.01):
            (do or player.handle_all)()

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(20)
