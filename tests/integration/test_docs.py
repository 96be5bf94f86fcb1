"""What the documentation shows, runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SERVERS
from tests.integration.docs_page import blocks

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

pytestmark = [pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine"), pytest.mark.one_server]

_ROOT = Path(__file__).parents[2]
_PAGES = sorted((_ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_every_example_runs(page: Path, server: EmbeddedRedis, prefix: str) -> None:
    """In order, with no warning; a page without examples would not be one."""
    assert blocks(page)
    command = [sys.executable, "-W", "error", "-m", "tests.integration.docs_page", str(page), server.broker_url, prefix]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr


def test_an_example_that_does_not_run_is_found(tmp_path: Path, server: EmbeddedRedis, prefix: str) -> None:
    """With the line of its page."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n```sh\nfalse\n```\n\n```python\n\nassert x == 2\n```\n")
    assert blocks(page) == [(3, "x = 1"), (11, "\nassert x == 2")]
    command = [sys.executable, "-m", "tests.integration.docs_page", str(page), server.broker_url, prefix]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert 'page.md", line 13' in ran.stderr
