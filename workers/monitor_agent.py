"""The agent ``monitor``: looks how well the deployment is, and tells subscribers of what is not.

Alerts are signals, ``alert.raised`` and ``alert.resolved``, with a payload
``{"name", "value", "worst", "raised_s", "resolved_s"}``. What is to be told is committed first and emitted then, under
a number that Redis knows again: each is told once, in order, also when the agent is killed in between.

Does not guarantee: that there is anything to tell while Redis is away. Nobody looks then, and nobody could be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from redis.exceptions import RedisError

from hardening.agents import Agent, AgentState, Refused, handles
from hardening.agents.router.emitting import emit_again
from hardening.agents.router.errors import EmitFailed
from hardening.core.deployment import client_of, settings_of
from hardening.core.raw import new_id
from hardening.core.scripts.signalling import Number
from workers.health import Alerts, scores_of
from workers.readings import LIMITS, Before, take_readings, time_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.health import Limit

__all__ = ["MonitorAgent"]

#: A signal to very many is emitted in several parts, each with a number of its own.
_PARTS = 1000
#: How many looks may fail to come before there is a new series of them, and how long that is at least, in seconds.
_MISSED, _MISSED_S = 5, 10.0
_LONGEST_S = 7 * 86_400.0


class MonitorAgent(Agent):
    """Looks after the deployment.

    Attributes:
        every_s: how often, in seconds.
        limits: when which reading is bad.
        disk: a path on the disk that matters.
    """

    name = "monitor"
    every_s: ClassVar[float] = 5.0
    limits: ClassVar[Mapping[str, Limit]] = LIMITS
    disk: ClassVar[str] = "/"

    class State(AgentState):
        """What it remembers.

        Attributes:
            alerts: all of them.
            readings: the last ones.
            before: what the next are compared to.
            emitter: under which name it tells its news.
            series: which looks count: those of an older series do not.
            looked_s: when it looked last.
            due_s: when it is to look again.
        """

        alerts: Alerts = Alerts()
        readings: dict[str, float] = Field(default_factory=dict)
        before: Before = Before()
        emitter: str = ""
        series: int = 0
        looked_s: float = 0.0
        due_s: float = 0.0

    # -- what people ask of it

    @handles("status")
    def status(self) -> dict[str, Any]:
        """How well everything is: a score between 0 and 1, the worst of all readings, and those."""
        self._revive()
        state = self.state
        scores = scores_of(state.readings, self.limits)
        score = min(scores.values(), default=None)
        raised = sorted(state.alerts.raised)
        return {
            "status": "unknown" if score is None else "alert" if raised else "well" if score >= 1 else "strained",
            "score": score, "scores": scores, "readings": state.readings, "raised": raised,
            "silent": state.alerts.silent, "looked_s": state.looked_s, "every_s": self.every_s,
        }  # fmt: skip

    @handles("alerts")
    def alerts(self, *, past: bool = False, limit: int = 50) -> list[dict[str, Any]]:
        """The alerts that are raised, the last first.

        Args:
            past: also those that are resolved.
            limit: how many at most.
        """
        self._revive()
        alerts: Alerts = self.state.alerts
        found = sorted(alerts.raised.values(), key=lambda one: -one.raised_s) + (alerts.past[::-1] if past else [])
        return [one.model_dump() for one in found[: max(0, limit) if isinstance(limit, int) else 50]]

    @handles("silence")
    def silence(self, name: str, seconds: float) -> float:
        """Has nobody be told of an alert for a while; if it is raised still, they are told then.

        Args:
            name: of the reading.
            seconds: how long, up to a week; 0: no longer.

        Returns:
            Until when, by the clock of Redis.
        """
        if name not in self.limits:
            raise Refused(f"there is no alert {str(name)[:100]!r}, known are: {', '.join(sorted(self.limits))}")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_S:
            raise Refused(f"seconds is {str(seconds)[:100]!r}, expected 0 to {_LONGEST_S:g}")
        until_s = self._now_s() + seconds
        self.state.alerts.silence(name, until_s)
        return until_s

    # -- what it tells itself

    @handles("wake")
    def wake(self) -> None:
        """A worker begins to host it: it begins to look, unless it has. To be told so again does no harm."""
        self._revive()

    @handles("look")
    def look(self, series: int) -> None:
        """Measures, decides, and has what is new be told."""
        state = self.state
        if series != state.series:
            return
        client, keys = client_of(self.app), settings_of(self.app).keys
        try:
            readings, state.before, now_s = take_readings(client, keys, state.before, self.disk)
        except (RedisError, OSError):
            self.tell_self_after(self.every_s, "look", series)
            return
        state.readings = {**readings, "latency_s": round(max(0.0, now_s - state.due_s), 3)}
        state.looked_s = now_s
        state.alerts.look(state.readings, self.limits, now_s)
        if state.alerts.news:
            self.tell_self("announce")
        self._look_after(self.every_s, now_s)

    @handles("announce")
    def announce(self) -> None:
        """Tells the news that were committed before; what cannot be told now, after the next look."""
        alerts: Alerts = self.state.alerts
        while alerts.news:
            news = alerts.news[0]
            payload = news.alert.model_dump(exclude={"is_told"})
            number = Number(self.state.emitter, news.number * _PARTS)
            try:
                emit_again(self.app, f"alert.{news.what}", payload, number)
            except EmitFailed:
                return
            del alerts.news[0]

    # -- how

    def _revive(self) -> None:
        """Begins to look, where nobody does."""
        now_s = self._now_s()
        if now_s > self.state.due_s + max(_MISSED_S, _MISSED * self.every_s):
            self.state.emitter = self.state.emitter or f"alerts-{new_id()}"
            self.state.series += 1
            self._look_after(0.0, now_s)

    def _look_after(self, delay_s: float, now_s: float) -> None:
        self.state.due_s = now_s + delay_s
        self.tell_self_after(delay_s, "look", self.state.series)

    def _now_s(self) -> float:
        try:
            return time_at(client_of(self.app))
        except (RedisError, OSError):
            return float(self.state.looked_s)
