"""The control arm: the same kills on plain Celery."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.faults.chaos_report import Outcome
from tests.faults.chaos_round import PREFIX, Round

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["StockRound"]

#: How long to wait for a message that is not to be seen anywhere any more, in seconds.
_STILL_S = 10.0


class StockRound(Round):
    """A round of plain Celery, with the settings it recommends against losing messages."""

    stock = True

    def _producer(self) -> Celery:
        return self._rig.stock_producer()

    def _drain(self) -> None:
        """Waits until nothing moves: what dead workers had taken stays where it is for an hour."""
        self._await_stillness(lambda: False, lambda: self._rig.ledger.llen(f"{PREFIX}:runs"), _STILL_S)

    def _hear_all(self) -> None:
        """Of no interest here."""

    def _judge(self) -> Outcome:
        sent, runs = self._load.sent, self._runs()
        ended = {run.key for run in runs if run.ended_s is not None}
        stored: Any = self._client.hvals("unacked")
        stuck = {json.loads(entry)[0]["headers"]["id"] for entry in stored}
        missing = [message.key for message in sent if message.accepted and message.key not in ended]
        return Outcome(
            number=self._plan.number, crews=[str(crew) for crew in self._plan.crews],
            sent=len(sent), refused=sum(not message.accepted for message in sent),
            wrong={key: "stuck" if key in stuck else "lost" for key in missing},
            duplicates=len(runs) - len({run.key for run in runs}),
            inflight=len(stuck), faults=self.faults,
            findings=[*self._findings, *self._fleet.oddities], seconds=time.monotonic() - self._begin_s,
        )  # fmt: skip
