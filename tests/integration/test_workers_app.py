"""``workers.app``, as the processes of the stack import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server

_ROOT = Path(__file__).parents[2]
_OURS = ("TASK_", "MONITOR_", "REDIS_", "RESULT", "LOG_LEVEL", "INCLUDE", "BROKER_URL", "CELERY_", "HARDENING_")
_TOLD = """
import json, logging
from workers.app import HOSTED, app
from workers.tasks import echo
from hardening import supervised_send
from hardening.core.deployment import is_hardened
from kombu.utils.json import dumps
app.log.setup(loglevel="ERROR")
receipt = supervised_send(echo, (1,), confirm="queued")
told = {
    "is_hardened": is_hardened(app), "tasks": echo.name in app.tasks, "include": sorted(app.conf.include),
    "retries": app.conf.broker_connection_max_retries, "level": logging.getLogger().level,
    "state": str(receipt.status()), "echo": echo({"a": 1}, after_s=0.01), "broker": app.conf.broker_url,
    "backend": app.conf.result_backend, "stats": "FailBuried" in dumps(app.connection_for_write().info()),
}
print(json.dumps(told))
"""


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in an environment of the stack's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return subprocess.run(
        [sys.executable, *command], cwd=_ROOT, env={**kept, **environ}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_it_is_hardened_and_hosts_its_tasks(server: EmbeddedRedis, prefix: str) -> None:
    """It logs as the environment says, never gives up on Redis, and can be asked for its statistics."""
    url = server.broker_url
    ran = run("-W", "error", "-c", _TOLD, REDIS_URL=url, HARDENING_PREFIX=prefix, LOG_LEVEL="WARNING", INCLUDE="shop")
    assert (ran.returncode, ran.stderr) == (0, "")
    told: dict[str, Any] = json.loads(ran.stdout)
    assert told == {
        "is_hardened": True, "tasks": True, "include": ["shop", "workers.agents", "workers.tasks"], "retries": None,
        "level": 30,
        "state": "queued", "echo": {"a": 1}, "broker": url, "backend": url, "stats": True,
    }  # fmt: skip


def test_it_hosts_its_agents_as_the_environment_says(server: EmbeddedRedis, prefix: str) -> None:
    """Each process of the stack knows them, and how many messages they take."""
    told = (
        "import json, workers.agents\nfrom workers.app import app\nfrom hardening.agents import hosted\n"
        "h = hosted(app)\nm = h['monitor']\n"
        "t, limits = h['task'], [m.limits[name].resolve for name in ('disk', 'cpu')]\n"
        "print(json.dumps([sorted(h), t.concurrency, t.pause_rule.errors, m.every_s, *limits]))"
    )
    limits = '{"disk": {"resolve": 0.5, "raise_at": 0.6}}'
    ran = run("-W", "error", "-c", told, REDIS_URL=server.broker_url, HARDENING_PREFIX=prefix, TASK_CONCURRENCY="3",
              TASK_PAUSE_ERRORS="7", MONITOR_EVERY_S="2", MONITOR_LIMITS=limits)  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == [["coordinator", "monitor", "task"], 3, 7, 2.0, 0.5, 0.85]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REDIS_PASSWORD_FILE", "/nowhere/secret", "which cannot be read: No such file or directory"),
        ("REDIS_URL", "amqp://rabbit", "the broker is amqp://, expected redis://"),
        ("HARDENING_PREFIXX", "p", "unknown setting HARDENING_PREFIXX, did you mean HARDENING_PREFIX?"),
        ("BROKER_URL", "redis://x", "CELERY_BROKER_URL is set"),
    ],
)
def test_what_cannot_work_ends_the_process_with_one_line(name: str, value: str, said: str) -> None:
    """Not with a traceback: its container is started again, and what comes late may be there by then."""
    ran = run("-m", "celery", "-A", "workers.app", "worker", **{name: value})
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith("the stack is not configured: ")
    assert said in line
