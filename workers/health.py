"""How well a deployment is, from what was measured: the core of the monitor agent, which does no I/O.

A reading becomes a score between 0 and 1, and an alert where it is bad for some time. An alert is raised once, and not
raised again before it is resolved; the limit at which it is resolved lies below the one at which it is raised, so that
a reading that trembles about one of them tells nobody anything (hysteresis, as of Nagios and Prometheus).

Times are the clock of Redis, in seconds, and given by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Alert", "Alerts", "Limit", "News", "score_of", "scores_of"]

#: How many alerts that are over are remembered, and how many news at most wait to be told.
_MOST_PAST, _MOST_NEWS = 100, 1000


class Limit(BaseModel):
    """When a reading is bad. More is worse.

    Attributes:
        resolve: up to here it is good, and an alert is resolved.
        raise_at: from here on it is bad, and an alert is raised.
        for_looks: how many looks in a row must agree before something is raised or resolved.
    """

    model_config = ConfigDict(frozen=True)

    resolve: float
    raise_at: float
    for_looks: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Limit:
        if not self.resolve < self.raise_at:
            raise ValueError(f"resolve is {self.resolve:g}, expected less than raise_at, which is {self.raise_at:g}")
        return self


class Alert(BaseModel):
    """A reading that was bad.

    Attributes:
        name: of the reading.
        value: the last one.
        worst: the worst one.
        raised_s: when it was raised.
        resolved_s: when it was resolved; 0: it is not.
        is_told: whether its subscribers were told, or are going to be.
    """

    name: str
    value: float
    worst: float
    raised_s: float
    resolved_s: float = 0.0
    is_told: bool = False


class News(BaseModel):
    """What subscribers are to be told.

    Attributes:
        number: of the news, counted from 1.
        what: ``raised`` or ``resolved``.
        alert: as it was then.
    """

    number: int
    what: Literal["raised", "resolved"]
    alert: Alert


class Alerts(BaseModel):
    """All alerts.

    Attributes:
        raised: those that are not resolved, by name.
        past: those that are, the last at the end.
        turning: of each reading, for how many looks in a row it has disagreed with how its alert is.
        silent: names that nobody is told of, and until when.
        news: what is to be told yet, the oldest first.
        told: how many news there ever were.
    """

    raised: dict[str, Alert] = Field(default_factory=dict)
    past: list[Alert] = Field(default_factory=list)
    turning: dict[str, int] = Field(default_factory=dict)
    silent: dict[str, float] = Field(default_factory=dict)
    news: list[News] = Field(default_factory=list)
    told: int = 0

    def look(self, readings: Mapping[str, float], limits: Mapping[str, Limit], now_s: float) -> None:
        """Takes notice of readings. Those that are missing change nothing."""
        self.silent = {name: until_s for name, until_s in self.silent.items() if until_s > now_s}
        for name, limit in limits.items():
            value = readings.get(name)
            if value is not None:
                self._read(name, value, limit, now_s)
        for name in [name for name in self.raised if name not in limits]:
            self._resolve(name, now_s)
        for alert in self.raised.values():
            if not alert.is_told and alert.name not in self.silent:
                alert.is_told = True
                self._tell("raised", alert)

    def silence(self, name: str, until_s: float) -> None:
        """Has nobody be told of an alert that is raised before then. What is raised then, still, is told then."""
        self.silent[name] = until_s

    def _read(self, name: str, value: float, limit: Limit, now_s: float) -> None:
        alert = self.raised.get(name)
        if alert is not None:
            alert.value, alert.worst = value, max(alert.worst, value)
        turns = value <= limit.resolve if alert is not None else value >= limit.raise_at
        if not turns:
            self.turning.pop(name, None)
            return
        self.turning[name] = self.turning.get(name, 0) + 1
        if self.turning[name] < limit.for_looks:
            return
        del self.turning[name]
        if alert is not None:
            self._resolve(name, now_s)
        else:
            self.raised[name] = Alert(name=name, value=value, worst=value, raised_s=now_s)

    def _resolve(self, name: str, now_s: float) -> None:
        alert = self.raised.pop(name)
        alert.resolved_s = now_s
        self.past = [*self.past, alert][-_MOST_PAST:]
        if alert.is_told:
            self._tell("resolved", alert)

    def _tell(self, what: Literal["raised", "resolved"], alert: Alert) -> None:
        self.told += 1
        self.news = [*self.news, News(number=self.told, what=what, alert=alert.model_copy())][-_MOST_NEWS:]


def score_of(value: float, limit: Limit) -> float:
    """How good a reading is: 1 up to where its alert is resolved, half where it is raised, then on to 0."""
    return min(1.0, max(0.0, 1.0 - (value - limit.resolve) / (2 * (limit.raise_at - limit.resolve))))


def scores_of(readings: Mapping[str, float], limits: Mapping[str, Limit]) -> dict[str, float]:
    """The score of each reading that there is a limit for; how well all of it is, is the worst of them."""
    return {name: round(score_of(readings[name], limits[name]), 3) for name in limits if name in readings}
