"""What ``celery -A examples.webhooks.worker worker`` runs; :mod:`~examples.webhooks.fleet` starts it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery.signals import worker_init, worker_ready

from examples.webhooks.app import make_app
from examples.webhooks.lifeline import hold_on

app = make_app(
    os.environ["WEBHOOKS_BROKER"],
    stock=os.environ["WEBHOOKS_STOCK"] == "1",
    endpoint_url=os.environ["WEBHOOKS_ENDPOINT"],
)


@worker_init.connect
def _hold_on(**_: Any) -> None:
    hold_on()


@worker_ready.connect
def _say_so(**_: Any) -> None:
    Path(os.environ["WEBHOOKS_READY"]).touch()
