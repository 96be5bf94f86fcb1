"""The page on scheduling: its Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "scheduling.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_has_examples() -> None:
    """Of an entry, of run time, and of an owner."""
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_runs(block: str) -> None:
    """It talks to no broker by itself."""
    exec(compile(block, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102 - our own page
