"""Every example of the page about breakers runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "breakers.md").read_text(), re.MULTILINE | re.DOTALL)
TOLD = ["order 17 is paid\norder 17 is paid back\nstripe 30.0\n", "stripe\n", "", ""]


@pytest.mark.parametrize(("example", "told"), list(zip(EXAMPLES, TOLD, strict=True)), ids=range(len(TOLD)))
def test_an_example_runs_and_says_what_it_should(example: str, told: str, tmp_path: Path) -> None:
    """In a process of its own, with warnings as errors."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, told), ran.stderr
