"""The app that real beats run in fault tests; its clock is off by as much as the environment says."""

from __future__ import annotations

import json
import os
import time

from celery import Celery

from hardening import harden

_SKEW_S = float(os.environ.get("BEATS_SKEW_S", "0"))
if _SKEW_S:
    _time = time.time
    time.time = lambda: _time() + _SKEW_S

app = Celery("beats", broker=os.environ["BEATS_BROKER"])
app.conf.update(
    task_default_queue=os.environ["BEATS_QUEUE"],
    task_ignore_result=True,
    beat_schedule=json.loads(os.environ["BEATS_SCHEDULE"]),
    hardening_prefix=os.environ["BEATS_PREFIX"],
    hardening_beat_lease_s=float(os.environ["BEATS_LEASE_S"]),
    hardening_socket_timeout_s=2.0,
)
harden(app)
