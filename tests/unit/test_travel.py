"""How the tasks that run here are found."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_ASK = """
from celery import Celery
from hardening.core import travel

app = Celery("a", broker="memory://", set_as_current=False)
app.conf.task_always_eager = True

@app.task(shared=False)
def ask():
    return travel.received("hardening_x"), len(travel.requests())

print(ask.apply(headers={"hardening_x": "found"}).get(), ask(), list(travel.requests()))
"""


@pytest.mark.parametrize("fast", ["", "1"])
def test_celery_keeps_its_stacks_in_two_ways(fast: str) -> None:
    """Both are read."""
    env = {**os.environ, "USE_FAST_LOCALS": fast}
    ran = subprocess.run([sys.executable, "-c", _ASK], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split("\n")[0] == "('found', 1) (None, 0) []"
