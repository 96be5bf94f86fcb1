"""What the documentation shows, runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hardening.core.timeout_rules import flattened, read_timeouts
from tests.conftest import SERVERS
from tests.integration.docs_page import blocks

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

pytestmark = [pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine"), pytest.mark.one_server]

_ROOT = Path(__file__).parents[2]
_PAGES = sorted((_ROOT / "docs").glob("*.md"))
#: What a page says on its way, if anything, as a pattern: to its output, then to its log.
_TOLD = {
    "agents": "queued\n",
    "breakers": "order 17 is paid\norder 17 is paid back\nstripe 30.0\nstripe\n",
    "context": r"WARNING no stock correlation_id=\w{32} operation=checkout order=17 card=\*{3}\n",
    "system_agents": r"receipt 17 \['charge', 'refund'\]\n",
    "monitors": "(queue:celery somebody takes orders unknown unknown\n)?",  # its block may have ended before
}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_every_example_runs(page: Path, server: EmbeddedRedis, prefix: str) -> None:
    """In order, in a process of its own, which ends by itself, with no warning and nothing left open."""
    assert len(blocks(page)) == page.read_text().count("```python") > 0  # an indented one would not be found
    command = [sys.executable, "-W", "error", "-m", "tests.integration.docs_page", str(page), server.broker_url, prefix]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(_TOLD.get(page.stem, ""), ran.stdout + ran.stderr), ran.stdout + ran.stderr


def test_an_example_that_does_not_run_is_found(tmp_path: Path, server: EmbeddedRedis, prefix: str) -> None:
    """With the line of its page."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n```sh\nfalse\n```\n\n```python\n\nassert x == 2\n```\n")
    assert blocks(page) == [(3, "x = 1"), (11, "\nassert x == 2")]
    command = [sys.executable, "-m", "tests.integration.docs_page", str(page), server.broker_url, prefix]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert 'page.md", line 13' in ran.stderr


def test_the_toml_of_the_page_of_timeouts_is_read() -> None:
    """Both ways of writing a name."""
    text = (_ROOT / "docs" / "timeouts.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rules = flattened(tomllib.loads(block)["timeouts"])
    assert read_timeouts(rules) == {
        "default": 5, "network_call.*": 8, "service:payments": "long", "payments.refund": 12
    }  # fmt: skip
