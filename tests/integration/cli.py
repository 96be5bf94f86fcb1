"""Calls ``celery -A app dlq`` and ``celery -A app hardening``, and reads what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.terminal import call_celery

if TYPE_CHECKING:
    from celery import Celery
    from click.testing import Result

    from hardening.core.embedded import EmbeddedRedis

__all__ = ["celery_in_process", "dlq", "found", "hardening", "objects", "rows", "send", "words"]


def dlq(app: Celery | None, *args: str) -> Result:
    """Calls ``celery -A app dlq ...``."""
    return call_celery(app, "dlq", *args)


def hardening(app: Celery | None, *args: str) -> Result:
    """Calls ``celery -A app hardening ...``."""
    return call_celery(app, "hardening", *args)


def celery_in_process(
    server: EmbeddedRedis, prefix: str, directory: Path, *args: str
) -> subprocess.CompletedProcess[str]:
    """Calls ``celery -A the_shop ...`` as an operator does, in a process of its own."""
    (directory / "the_shop.py").write_text(
        "from celery import Celery\n"
        "from hardening import harden\n"
        f"app = Celery('shop', broker={server.broker_url!r})\n"
        f"app.conf.hardening_prefix = {prefix!r}\n"
        "harden(app)\n"
    )
    celery = Path(sys.executable).with_name("celery")
    return subprocess.run(
        [celery, "-A", "the_shop", *args],
        cwd=directory, env={**os.environ, "COLUMNS": ""}, capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip


def rows(result: Result) -> list[list[str]]:
    """The words of each line."""
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines()]


def words(result: Result) -> list[list[str]]:
    """The words of each line that has any."""
    return [line.split() for line in result.stdout.splitlines() if line.strip()]


def objects(result: Result) -> list[dict[str, Any]]:
    """The JSON objects printed, one a line."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def found(app: Celery, *args: str, exit_code: int = 0) -> dict[str, Any]:
    """The JSON object that a command prints."""
    result = hardening(app, *args, "--json")
    assert result.exit_code == exit_code, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def send(app: Celery, *messages: dict[str, Any]) -> None:
    """Sends a task for each of these options."""
    for options in messages:
        app.send_task("shop.charge", **options)
