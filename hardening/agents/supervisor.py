"""What follows when an agent's handler raises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from celery.canvas import Signature

from hardening.core.scripts.agenting import Rule

__all__ = ["Strategy", "Supervisor"]

#: ``restart``: the next message finds the agent as it was committed last. ``restart_with_backoff``: after a pause, each
#: twice as long as the one before. ``stop``: it takes no more messages.
Strategy = Literal["restart", "restart_with_backoff", "stop"]
_YEAR_S = 31_536_000.0


@dataclass(frozen=True, slots=True)
class Supervisor:
    """How an agent is supervised, after Erlang's ``supervisor``: too many restarts within a period, and it is parked.

    The message whose handler raised is a dead letter (``failed``), which is not retried by itself; the state stays as
    it was. What is not the agent's fault (a handler that there is not, arguments that it does not take) counts as no
    restart; neither does a worker that dies, for its messages are charged for that.

    Attributes:
        strategy: what follows.
        max_restarts: how many restarts within the period are borne; one more parks the agent.
        within_s: the period, in seconds.
        owner: who is told, once, when the agent is parked or stopped: another agent, by name, which needs a handler
            ``agent_down``; or a signature. Either gets ``{"agent", "halt", "why"}`` first.
        base_s: how long the first pause is, in seconds, with ``restart_with_backoff``.
        cap_s: the longest pause, in seconds.
    """

    strategy: Strategy = "restart"
    max_restarts: int = 5
    within_s: float = 60.0
    owner: str | Signature[Any] | None = field(default=None, kw_only=True)
    base_s: float = field(default=1.0, kw_only=True)
    cap_s: float = field(default=60.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy is {self.strategy!r}, expected one of {', '.join(get_args(Strategy))}")
        if isinstance(self.max_restarts, bool) or not isinstance(self.max_restarts, int) or self.max_restarts < 0:
            raise ValueError(f"max_restarts is {self.max_restarts!r}, expected 0 or more")
        for name in ("within_s", "base_s", "cap_s"):
            if not 0 < getattr(self, name) <= _YEAR_S:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected seconds, more than 0")
        if not (self.owner is None or isinstance(self.owner, str | Signature)):
            raise TypeError(f"owner is {self.owner!r}, expected the name of an agent, or a signature")

    def rule(self, strategy: str = "") -> Rule:
        """What the script goes by; for another strategy: that of those that only we use."""
        times = [max(1, round(seconds * 1000)) for seconds in (self.within_s, self.base_s, self.cap_s)]
        return Rule(strategy or self.strategy, self.max_restarts, *times)
