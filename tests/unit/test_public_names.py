"""What README says can be imported."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import hardening
from hardening import agents

_ROOT = Path(__file__).parents[2]
_TABLE = (_ROOT / "README.md").read_text().partition("## What to import")[2].partition("\n## ")[0]
_ROWS = [
    (re.findall(r"`([\w.]+)`", room), re.findall(r"`(\w+)`", names))
    for _, room, names in re.findall(r"^\| (.*?)\| (.+?) \| (.+) \|$", _TABLE, re.MULTILINE)
]
_ROWS = [(rooms, names) for rooms, names in _ROWS if rooms]


def test_there_is_a_table() -> None:
    """Which this reads whole."""
    assert len(_ROWS) == _TABLE.count("\n|") - 2


@pytest.mark.parametrize(("rooms", "names"), _ROWS)
def test_a_row_is_true(rooms: list[str], names: list[str]) -> None:
    """Each name is in one of the rooms of its row, and public there."""
    public = {name for room in rooms for name in import_module(room).__all__ if hasattr(import_module(room), name)}
    assert names
    assert set(names) <= public


def test_it_tells_of_all_that_is_in_the_root() -> None:
    """Each once."""
    told = [name for rooms, names in _ROWS if rooms == ["hardening"] for name in names]
    assert sorted(told) == sorted(hardening.__all__)


@pytest.mark.parametrize("package", [hardening, agents])
def test_what_is_loaded_late_is_what_is_public(package: object) -> None:
    """In one order."""
    assert list(package._HOMES) == package.__all__  # type: ignore[attr-defined]
    for name, home in package._HOMES.items():  # type: ignore[attr-defined]
        assert getattr(package, name) is getattr(import_module(home), name)


def test_readme_names_every_page() -> None:
    """In its list at the end."""
    listed = set(re.findall(r"\(docs/(\w+\.md)\)", (_ROOT / "README.md").read_text().partition("## More")[2]))
    assert listed == {page.name for page in (_ROOT / "docs").glob("*.md")}


def test_guarantees_are_numbered() -> None:
    """From 1, without gaps."""
    section = (_ROOT / "README.md").read_text().partition("## Guarantees")[2].partition("###")[0]
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
