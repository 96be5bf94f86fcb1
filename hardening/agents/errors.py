"""Errors about agents; a branch of the tree that :mod:`hardening.core.errors` draws.

::

    AgentError                 something about agents
    ├── AskFailed              an agent did not do what it was asked
    ├── AskTimeout             its answer did not come in time
    ├── AgentHalted            it is paused, parked or stopped, and answers nobody
    ├── AgentUnknown           no such agent is hosted here
    ├── HandlerUnknown         it has no such handler, or not for such arguments
    ├── StateRefused           its state cannot be read, or written
    ├── TurnLost               what it was doing here is somebody else's by now
    └── Refused                raised by a handler that will not: an answer, and no failure of the agent
"""

from __future__ import annotations

from hardening.agents.here import running
from hardening.core.root_error import HardeningError

__all__ = [
    "AgentError",
    "AgentHalted",
    "AgentUnknown",
    "AskFailed",
    "AskTimeout",
    "HandlerUnknown",
    "Refused",
    "StateRefused",
    "TurnLost",
]


class AgentError(HardeningError):
    """Something about one agent.

    Attributes:
        agent: its name.
    """

    def __init__(self, agent: str, text: str) -> None:
        self.agent = agent
        super().__init__(f"agent {agent} {text}")


class AskFailed(AgentError):
    """An agent did not do what it was asked: its handler raised, or the message died before it ran.

    Attributes:
        handler: what it was asked.
        error_type: the name of the type that was raised; of a message that died: why, as dead letters have it.
        error: what that says.
    """

    def __init__(self, agent: str, handler: str, error_type: str, error: str) -> None:
        self.handler = handler
        self.error_type = error_type
        self.error = error
        super().__init__(agent, f"failed to {handler}: {error_type}: {error}")


class AskTimeout(AgentError, TimeoutError):
    """An agent's answer did not come in time. What it has not begun by then, it will not do.

    Attributes:
        handler: what it was asked.
        timeout_s: how long was waited, in seconds.
        receipt_id: the id of the message's receipt.
    """

    def __init__(self, agent: str, handler: str, timeout_s: float, receipt_id: str) -> None:
        self.handler = handler
        self.timeout_s = timeout_s
        self.receipt_id = receipt_id
        super().__init__(agent, f"did not answer {handler} within {timeout_s:.3g} s; see receipt {receipt_id}")


class AgentHalted(AgentError):
    """An agent takes no messages, so nobody would answer.

    Attributes:
        halt: ``paused``, ``parked`` or ``stopped``.
        why: why it is.
    """

    def __init__(self, agent: str, halt: str, why: str = "") -> None:
        self.halt = halt
        self.why = why
        said = f" ({why})" if why else ""
        super().__init__(agent, f"is {halt}{said}: celery agents resume {agent}")


class AgentUnknown(AgentError):
    """No agent of that name is hosted by this app."""

    def __init__(self, agent: str) -> None:
        super().__init__(agent, "is not hosted here: call hardening.host(app, ITS_CLASS) where the app is made")


class HandlerUnknown(AgentError):
    """An agent has no such handler, or it does not take such arguments.

    Attributes:
        handler: what it was told.
    """

    def __init__(self, agent: str, handler: str, why: str) -> None:
        self.handler = handler
        super().__init__(agent, f"cannot {handler}: {why}")


class StateRefused(AgentError):
    """The state of an agent cannot be read here, or cannot be written as JSON."""


class TurnLost(AgentError):
    """What an agent was doing here is somebody else's by now: its state stays as it was."""

    def __init__(self, agent: str) -> None:
        super().__init__(agent, "lost its message while it ran it, as its worker lost its lease; it runs elsewhere")


class Refused(AgentError):
    """A handler will not do what it is asked, which is no failure of the agent: no restart is counted.

    Handlers raise it, and whoever asked gets :class:`AskFailed` with the text. Nothing that the handler did to the
    state, or said, is committed. What was told, and not asked, is buried, or nobody would hear of it.

    Attributes:
        why: one line that says what to do.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(running.get() or "?", f"refuses: {why}")
