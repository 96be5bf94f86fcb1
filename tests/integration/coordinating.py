"""What tests of leaders, barriers and pools share: a Redis that goes away, parties, and what is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination import (
    BarrierBroken,
)
from hardening.core.scripts import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from hardening.core import telemetry

__all__ = ["Outage", "names", "parties"]


class Outage:
    """Whether Redis answers to scripts; if not, how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.only = ""
        self._patch = monkeypatch
        self._run = Call.run

    def go(self, only: str = "", *, after: bool = False) -> None:
        """From now on it does not, or only after it did what it was asked."""

        def run(call: Call, client: Any) -> Any:
            if only and call.script.name != only:
                return self._run(call, client)
            self.asked += 1
            if after:
                self._run(call, client)
            raise RedisConnectionError("away")

        self._patch.setattr(Call, "run", run)

    def come_back(self) -> None:
        """It answers again."""
        self._patch.setattr(Call, "run", self._run)


def names(events: list[telemetry.Event]) -> list[str]:
    """Their names."""
    return [event.name.removeprefix("hardening.") for event in events]


def parties(many: int, party: Callable[[], int]) -> list[Any]:
    """What so many threads come to; an error is a result."""

    def caught() -> Any:
        try:
            return party()
        except BarrierBroken as error:
            return error

    with ThreadPoolExecutor(many) as threads:
        return [future.result(30) for future in [threads.submit(caught) for _ in range(many)]]
