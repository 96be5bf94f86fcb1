"""How agents are reached by those who coordinate them: of an app here, and of a test by whatever does the same."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from celery._state import get_current_app

from dlq import Reason
from hardening.agents.coordination.answers import Asker, answers
from hardening.agents.letters import letter_to
from hardening.agents.presence import GONE, absence_of
from hardening.agents.ref import agent as agent_ref
from hardening.agents.table import hosted
from hardening.core.agent_keys import mailbox_queue
from hardening.core.agent_message import AGENT_TASK
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import keeping
from hardening.delivery.broadcast import broadcast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from celery import Celery

    from hardening.delivery import BroadcastResult, Receipt
    from hardening.delivery.broadcast_result import Strategy
    from hardening.delivery.terms import Confirm

__all__ = ["AgentBench", "Bench", "Presence", "bench_of"]


class Presence(StrEnum):
    """Whether somebody would handle a message of an agent now."""

    THERE = "there"  #: a living worker takes from its mailbox
    HALTED = "halted"  #: it is paused, parked or stopped
    ABSENT = "absent"  #: no living worker does; what waits is safe, until one does again


class Bench(Asker, Protocol):
    """What coordination needs of agents."""

    def spread(
        self, agents: Sequence[str], handler: str, args: tuple[Any, ...], confirm: Confirm, timeout_s: float
    ) -> BroadcastResult:
        """Tells several, each on its own."""

    def announce(self, agents: Sequence[str], handler: str, args: tuple[Any, ...], timeout_s: float) -> BroadcastResult:
        """Tells all of them or none; says which, and raises nothing for it."""

    def give(self, agent: str, handler: str, args: tuple[Any, ...], key: str) -> Receipt:
        """Tells one, durably; of all with the same key the first is sent, and its receipt is returned."""

    def loads(self, agents: Sequence[str]) -> Mapping[str, int]:
        """How many messages wait for each."""

    def presence(self, agents: Sequence[str]) -> Mapping[str, Presence]:
        """Who is there."""

    def capabilities(self, agents: Sequence[str], timeout_s: float) -> Mapping[str, frozenset[str]]:
        """What each can do."""

    def bury(self, agent: str, handler: str, args: tuple[Any, ...], error: str) -> str:
        """Makes what cannot be sent, for there is too much of it, a dead letter; returns its id."""


class AgentBench:
    """The agents of an app.

    Args:
        app: a hardened one.

    Raises:
        ConfigError: it is not.
    """

    def __init__(self, app: Celery) -> None:
        self._keys = settings_of(app).keys
        self._app = app

    def ask(self, agent: str, handler: str, *args: Any, timeout: float, key: str | None = None) -> Any:
        """As :meth:`hardening.agents.AgentRef.ask`; with an idempotency key where one is given."""
        ref = agent_ref(agent, self._app)
        return (ref if key is None else ref.sending(idempotency_key=key)).ask(handler, *args, timeout=timeout)

    def spread(
        self, agents: Sequence[str], handler: str, args: tuple[Any, ...], confirm: Confirm, timeout_s: float
    ) -> BroadcastResult:
        """As :func:`hardening.broadcast`, ``best_effort``."""
        return self._broadcast(agents, handler, args, "best_effort", confirm, timeout_s)

    def announce(self, agents: Sequence[str], handler: str, args: tuple[Any, ...], timeout_s: float) -> BroadcastResult:
        """As :func:`hardening.broadcast`, ``all_or_nothing``, but what nobody was told is in the result alone."""
        return self._broadcast(agents, handler, args, "all_or_nothing", "queued", timeout_s)

    def _broadcast(
        self, agents: Sequence[str], handler: str, args: tuple[Any, ...], strategy: Strategy, confirm: Confirm,
        timeout_s: float,
    ) -> BroadcastResult:  # fmt: skip
        refs = [agent_ref(name, self._app) for name in agents]
        on_error: Any = "dead_letter" if strategy == "best_effort" else "ignore"
        return broadcast(
            AGENT_TASK, refs, (handler, *args), strategy=strategy, confirm=confirm, timeout=timeout_s,
            on_error=on_error, app=self._app, ignore_result=True, priority=0,
        )  # fmt: skip

    def give(self, agent: str, handler: str, args: tuple[Any, ...], key: str) -> Receipt:
        """As :meth:`hardening.agents.AgentRef.tell`, with an idempotency key.

        Raises:
            MailboxFull: there is no room for it.
            PublishFailed: Redis did not take it, nor could it be spooled.
        """
        return agent_ref(agent, self._app).sending(idempotency_key=key).tell(handler, *args)

    def loads(self, agents: Sequence[str]) -> Mapping[str, int]:
        """The lengths of their mailboxes, without what is being handled.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        with client_of(self._app).pipeline(transaction=False) as pipe:
            for name in agents:
                pipe.llen(mailbox_queue(name))
            return dict(zip(agents, pipe.execute(), strict=True))

    def presence(self, agents: Sequence[str]) -> Mapping[str, Presence]:
        """By the leases of workers, and what these say to take from.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        why = absence_of(client_of(self._app), self._keys, agents).why
        return {
            name: Presence.THERE if name not in why else Presence.ABSENT if why[name] == GONE else Presence.HALTED
            for name in agents
        }

    def capabilities(self, agents: Sequence[str], timeout_s: float) -> Mapping[str, frozenset[str]]:
        """What their classes declare as ``capabilities``, where those are hosted by this app; else what they answer.

        Who does not answer has none.
        """
        classes = hosted(self._app)
        known = {name: getattr(classes.get(name), "capabilities", None) for name in agents}
        others = [name for name in agents if known[name] is None]
        known |= {one.agent: one.value for one in answers(self, others, "capabilities", (), timeout_s)}
        return {name: _texts(known[name]) for name in agents}

    def bury(self, agent: str, handler: str, args: tuple[Any, ...], error: str) -> str:
        """A dead letter of reason ``mailbox_full``. It was never published, so it counts as imported.

        Raises:
            redis.RedisError: Redis did not take it.
        """
        letter, reason = letter_to(self._app, agent, handler, args, {}), Reason.MAILBOX_FULL.value
        call = keeping.readmit(
            self._keys, list_key=letter.list_key.encode(), reason=reason.encode(), fingerprint=b"", raw=letter.raw,
            fields={"error": error.encode()},
        )  # fmt: skip
        entry: bytes = call.run(client_of(self._app))
        return entry.decode()


def _texts(said: Any) -> frozenset[str]:
    """Of what an agent said, the texts."""
    each: Iterable[Any] = said if isinstance(said, list | tuple | set | frozenset) else ()
    return frozenset(one for one in each if isinstance(one, str))


def bench_of(app: Celery | None) -> AgentBench:
    """The agents of an app; default: of the current one.

    Raises:
        ConfigError: it is not hardened.
    """
    return AgentBench(app or get_current_app())
