"""Downs that are told by a task."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from celery import signature
from redis.exceptions import RedisError

from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import BreakerOpen, DeliveryError
from hardening.core.scripts import monitoring as scripts
from hardening.core.scripts.monitoring import Told
from hardening.delivery import supervised_send
from hardening.monitors import events
from hardening.monitors.down import Down
from hardening.monitors.ref import tag_of

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["Notices"]

_BATCH = 10
#: For how long notices are claimed: above what sending a batch takes while Redis answers.
_CLAIM_MS = 10_000
_SEND_TIMEOUT_S = 1.0


class Notices:
    """Sends what is owed. Every process that looks after monitors does, whoever owned them.

    Guarantees: each notice becomes one message, however many send it and whoever dies when: its name is its
    idempotency key, and it is settled when Redis has the message.

    Does not guarantee: a notice that cannot be sent for what it is (no such queue, arguments that are not JSON) is
    told and dropped.

    Events: ``hardening.monitor.notice_sent``, ``.tell_failed``.

    Args:
        app: over whose broker.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._keys = settings_of(app).keys
        self._mutex = threading.Lock()

    def start(self) -> None:
        """Sends in a thread, unless that is under way."""
        if self._mutex.acquire(blocking=False):
            try:
                threading.Thread(target=self._run, name="hardening-monitors-send", daemon=True).start()
            except BaseException:  # no thread is to be had now; there may be one the next time
                self._mutex.release()
                raise

    def _run(self) -> None:
        try:
            self.run_once()
        except (RedisError, OSError):
            pass  # they are still owed, and tried again
        finally:
            self._mutex.release()

    def run_once(self) -> int:
        """Sends all that are due. Returns how many were settled.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        settled: list[str] = []
        count = 0
        while True:
            reply = scripts.owed(self._keys, _BATCH, _CLAIM_MS, settled).run(client_of(self._app))
            count += len(settled)
            if not reply:
                return count
            notices = [
                (name.decode("utf-8", "replace"), Told.parse(told))
                for name, told in zip(reply[::2], reply[1::2], strict=True)
            ]
            settled = [name for name, told in notices if self._is_settled(name, told)]

    def _is_settled(self, name: str, told: Told) -> bool:
        """Whether it need not be tried again."""
        try:
            call = signature(dict(json.loads(told.about)["on_down"]), app=self._app)
            down = Down.of(told, tag_of(told.about))
            receipt = supervised_send(
                call, (down.to_json(),), idempotency_key=f"monitor {name}",
                timeout=_SEND_TIMEOUT_S, retries=0, on_error="raise",
            )  # fmt: skip
        except (RedisError, OSError, DeliveryError, BreakerOpen):
            return False
        except Exception as error:  # noqa: BLE001 - the edge: it would fail for ever
            telemetry.emit(events.MonitorTellFailed(monitor=told.id, error=repr(error)))
            return True
        telemetry.emit(events.MonitorNoticeSent(monitor=told.id, task=str(call.task), receipt=receipt.id))
        return True
