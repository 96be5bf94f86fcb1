"""The examples of ``docs/monitors.md`` run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

_ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (_ROOT / "docs" / "monitors.md").read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    """Or nothing would be tested below."""
    assert len(EXAMPLES) == 4


@pytest.mark.one_server
@pytest.mark.parametrize("number", range(4))
def test_an_example_runs(server: EmbeddedRedis, prefix: str, number: int) -> None:
    """In a process of its own, which ends by itself."""
    source = EXAMPLES[number].replace("redis://localhost/0", server.broker_url)
    result = subprocess.run(
        [sys.executable, "-c", source],
        cwd=_ROOT, env={"HARDENING_PREFIX": prefix}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
