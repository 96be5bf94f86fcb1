"""What docs/timeouts.md shows works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import _state

from hardening.core.timeout_rules import flattened, read_timeouts
from hardening.timeouts import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis

_TEXT = (Path(__file__).parents[2] / "docs" / "timeouts.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def _own_current_app() -> Iterator[None]:
    """The examples make an app that is current."""
    tls: Any = vars(_state)["_tls"]
    before = tls.current_app
    yield
    tls.current_app = before
    waiting._warned.clear()  # the same line is there for each server


@pytest.mark.usefixtures("_own_current_app")
def test_the_python_of_the_page_runs(server: EmbeddedRedis, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Top down, as it is read."""
    monkeypatch.setenv("HARDENING_PREFIX", prefix)
    names: dict[str, Any] = {"__name__": f"page_{prefix}"}
    for block in _blocks("python"):
        exec(compile(block.replace("redis://localhost/0", server.broker_url), "timeouts.md", "exec"), names)  # noqa: S102
    names["app"].close()


def test_the_toml_of_the_page_is_read() -> None:
    """Both ways of writing a name."""
    (block,) = _blocks("toml")
    rules = flattened(tomllib.loads(block)["timeouts"])
    assert read_timeouts(rules) == {
        "default": 5, "network_call.*": 8, "service:payments": "long", "payments.refund": 12
    }  # fmt: skip
