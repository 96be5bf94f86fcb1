"""Agents that are made up, for votes, auctions and work: what each does, and what becomes of its messages."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination.bench import Presence
from hardening.core.errors import CancelFailed, ConfirmTimeout, MailboxFull, MessageDied
from hardening.delivery.receipt import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Cast", "Message", "failing", "here", "no", "silent", "yes"]

here: ContextVar[str] = ContextVar("here", default="nowhere")


class Message:
    """A message to an agent, and its receipt."""

    def __init__(self, agent: str, item: Any, key: str) -> None:
        self.agent, self.item, self.key = agent, item, key
        self.state, self.reason = "queued", ""
        self.id = key
        self.error: Exception | None = None

    def die(self, reason: str) -> None:
        """It is dead."""
        self.state, self.reason = "dead", reason

    def details(self) -> dict[str, str]:
        """As a receipt tells."""
        return {"state": self.state, "reason": self.reason, "queue": f"agent.{self.agent}"}

    def wait(self, state: str, timeout: float) -> None:
        """As a receipt waits, but not as long."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.state == "dead":
            raise MessageDied(self.key, self.reason)
        if self.state != state:
            threading.Event().wait(min(timeout, 0.01))
            raise ConfirmTimeout(self.key, state, DeliveryStatus(self.state), timeout)

    def cancel(self, timeout: float) -> bool:
        """As a receipt."""
        assert 0 < timeout <= 1
        if self.state == "claimed":
            self.state = "queued"  # it has come back, for the next time
            raise CancelFailed(self.key, RedisConnectionError("away"))
        if self.state != "queued":
            return False
        self.die("cancelled")
        return True


class Cast:
    """Agents, by what they do when asked; they work at once, where they work at all."""

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self.asks = answers
        self.sent: list[Message] = []
        self.away: dict[str, Presence] = {}
        self.full: set[str] = set()
        self.works: Callable[[Message], None] = lambda message: setattr(message, "state", "acked")
        self.lengths: Mapping[str, int] = {}
        self.can: dict[str, frozenset[str]] = {}
        self.spreads: list[tuple[Any, ...]] = []

    def ask(self, agent: str, handler: str, *args: Any, timeout: float) -> Any:
        """Asks one."""
        return self.asks[agent](handler, *args, timeout)

    def spread(self, *said: Any) -> Any:
        """Notes it."""
        self.spreads.append(said)
        return SimpleNamespace(failed=[name for name in said[0] if name in self.away])

    announce = spread

    def give(self, agent: str, handler: str, args: tuple[Any, ...], key: str) -> Any:
        """A message, if there is room."""
        if agent in self.full:
            raise MailboxFull(key, agent, 1, 0.0)
        known = [message for message in self.sent if message.key == key]
        if known:
            return known[0]
        message = Message(agent, args[0], key)
        self.sent.append(message)
        assert handler == "on_work"
        if agent not in self.away:
            self.works(message)
        return message

    def loads(self, agents: Any) -> Mapping[str, int]:
        """How many wait."""
        return {name: self.lengths.get(name, 0) for name in agents}

    def presence(self, agents: Any) -> Mapping[str, Presence]:
        """Who is there."""
        return {name: self.away.get(name, Presence.THERE) for name in agents}

    def capabilities(self, agents: Any, timeout_s: float) -> Mapping[str, frozenset[str]]:
        """What they can do."""
        assert timeout_s == 5.0
        return {name: self.can.get(name, frozenset()) for name in agents}

    def bury(self, *_: Any) -> str:
        """Not here."""
        raise NotImplementedError


def silent(*_: Any) -> None:
    """Answers too late."""
    threading.Event().wait(5)


def failing(*_: Any) -> None:
    """Raises."""
    raise RuntimeError("no\nidea")


def yes(*_: Any) -> bool:
    """Votes for it."""
    return True


def no(*_: Any) -> bool:
    """Votes against it."""
    return False
