"""The sender: a steady load of every kind of message, drawn from a seed."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hardening.core.errors import PublishFailed
from hardening.delivery import supervised_send
from tests.faults.chaos_verdict import Sent

if TYPE_CHECKING:
    from celery import Celery

    from hardening.delivery import Receipt

__all__ = ["Load"]

#: How often messages come in a burst, so that workers hold all they may, and how many.
_BURSTS, _BURST = 0.02, 40
_TASKS = "tests.faults.chaos_tasks"
_REFUSED = (OperationalError, PublishFailed, RedisError, OSError)


class Load:
    """Sends from a thread of its own, from :meth:`start` to :meth:`stop`.

    Args:
        app: sends.
        queue: where to.
        seed: of what is sent; when it is sent depends on the machine.
        per_s: messages a second.
        poison: after how many messages one is sent that kills, by what it kills.
        stock: without what plain Celery has not.

    Attributes:
        sent: all that was sent so far.
        receipts: of supervised messages, by key.
    """

    def __init__(
        self, app: Celery, queue: str, *, seed: str, per_s: float, poison: dict[int, str], stock: bool = False
    ) -> None:
        self._app = app
        self._queue = queue
        self._chance = random.Random(f"{seed}/load")
        self._pause_s = 1 / per_s
        self._poison = poison
        self._stock = stock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-load", daemon=True)
        self._mutex = threading.Lock()
        self.sent: list[Sent] = []
        self.receipts: dict[str, Receipt] = {}
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def stop(self) -> None:
        """Stops sending, and raises what the sender was not prepared for. Idempotent."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(30)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._stopped.wait(self._pause_s):
                for _ in range(_BURST if self._chance.random() < _BURSTS else 1):
                    self.send_next()
        except Exception as error:  # noqa: BLE001 - raised again by stop()
            self._failure = error

    def send_next(self) -> None:
        """Sends what comes next."""
        if task := self._poison.get(len(self.sent)):
            self.send(task)
            return
        dice, seconds = self._chance.random(), self._chance.uniform(0.02, 0.2)
        priority = self._chance.choice((None, None, None, 3, 9))
        if dice < 0.45:
            self.send("run", priority=priority)
        elif dice < 0.65:
            self.send("run", seconds, priority=priority)
        elif dice < 0.8:
            self.send("run", seconds / 4, supervised=True)
        elif dice < 0.93:
            self.send("run", countdown=self._chance.uniform(0.5, 3.0), supervised=dice > 0.9)
        else:
            self.send("fail", supervised=dice > 0.97)

    def send(self, task: str, seconds: float = 0.0, *, supervised: bool = False, **options: Any) -> str:
        """Sends one message; its outcome is noted whatever it is. Returns its key."""
        with self._mutex:
            key = f"m{len(self.sent)}"
            supervised = supervised and not self._stock
            at_s = time.monotonic()
            try:
                self._publish(f"{_TASKS}.{task}", key, seconds, supervised=supervised, options=options)
                accepted = True
            except _REFUSED:
                accepted = False
            due_s = at_s + options.get("countdown", 0.0)
            self.sent.append(Sent(key, task, at_s, time.monotonic(), due_s, supervised, accepted))
        return key

    def _publish(self, name: str, key: str, seconds: float, *, supervised: bool, options: dict[str, Any]) -> None:
        options = {"task_id": key, "queue": self._queue, **options}
        if not supervised:
            self._app.send_task(name, (key, seconds), **options)
            return
        self.receipts[key] = supervised_send(
            name, (key, seconds), app=self._app, timeout=3.0, on_error="raise", **options
        )
