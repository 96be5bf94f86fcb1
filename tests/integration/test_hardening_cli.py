"""``celery -A app hardening``: what every command refuses, and how it exits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from hardening import harden
from tests.integration.cli import celery_in_process, hardening

if TYPE_CHECKING:
    from pathlib import Path

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


def test_the_help_documents_the_exit_codes(app: Celery) -> None:
    """All three."""
    lines = [line.strip() for line in hardening(app, "--help").stdout.splitlines()]
    assert [line[:3] for line in lines if line[:1].isdigit()] == ["0  ", "1  ", "2  "]


@pytest.mark.parametrize("command", ["status", "verify", "health", "config", "detach"])
def test_without_an_app_every_command_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """As a mistake in the call."""
    monkeypatch.setattr("celery._state._tls.current_app", Celery("plain", set_as_current=False))
    result = hardening(None, command)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: no app was named: call celery -A YOUR_APP hardening {command}"


@pytest.mark.parametrize("command", ["status", "verify", "health", "config", "detach"])
def test_an_app_that_is_not_hardened_is_refused_by_every_command(command: str) -> None:
    """In one line."""
    result = hardening(Celery("plain", set_as_current=False), command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "is not hardened" in result.stderr


@pytest.mark.parametrize("command", ["status", "verify", "health", "detach"])
def test_without_redis_every_command_fails_in_one_line(command: str) -> None:
    """That tells whom it asked; what this host knows by itself is told all the same."""
    result = hardening(harden(Celery("away", broker="redis://:secret@127.0.0.1:1/0", set_as_current=False)), command)
    known = "deployment hardening\n\nspool of this host: 0 messages waiting, 0 set aside, 0 bytes\n"
    assert (result.exit_code, result.stdout) == (1, known if command == "status" else "")
    assert result.stderr.startswith("Error: Redis could not be asked: Error 111 connecting to 127.0.0.1:1. ")
    assert result.stderr.count("\n") == 1


def test_the_entry_point_works(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    """As an operator calls it, in a process of its own."""
    shown = celery_in_process(server, prefix, tmp_path, "hardening", "verify")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[-1] == "balanced: 0 came in, and all of them are accounted for"
