"""The report of the webhooks example: its verdict, its table and its JSON."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from rich.console import Console

from examples.webhooks.report import Report

GOOD = Report(
    mode="hardened",
    seed=7,
    sent=2000,
    refused=0,
    received=2000,
    lost=0,
    dropped=0,
    duplicates=3,
    duplicates_bound=24,
    recovered=91,
    dead=10,
    dead_by_reason={"failed": 6, "crashed": 4},
    replayed=10,
    slowest_recovery_s=2.13,
    recovery_limit_s=4.0,
    kills=3,
    crashes=3,
    cut=29,
    is_balanced=True,
    duration_s=29.4,
)
STOCK = replace(
    GOOD,
    mode="stock",
    received=1930,
    lost=6,
    dropped=6,
    stuck={"queued": 2, "unacked": 62},
    recovered=None,
    dead=None,
    dead_by_reason={},
    replayed=None,
    slowest_recovery_s=None,
    recovery_limit_s=None,
    is_balanced=None,
)
STUCK = "64 are stuck until the visibility timeout of 3,600 s is over"


def shown(report: Report) -> str:
    """The table as a pipe of 80 columns gets it."""
    console = Console(width=80, record=True, quiet=True)
    console.print(report.table())
    with console.capture() as capture:
        console.quiet = False
        console.print(report.table())
    return capture.get()


@pytest.mark.parametrize(
    ("report", "verdict"),
    [
        (GOOD, "NOTHING WAS LOST: 2,000 of 2,000 events were delivered."),
        (
            replace(GOOD, received=1998, stuck={"dead letters": 2}),
            "NOTHING WAS LOST: 1,998 of 2,000 events were delivered, 2 are in the dead-letter queue.",
        ),
        (
            replace(GOOD, received=1999, lost=1),
            "EVENTS WERE LOST: 1 of 2,000 events are gone for ever.",
        ),
        (
            replace(GOOD, received=1990, stuck={"in flight": 10}),
            "NOT EVERYTHING WAS DELIVERED: 10 are stuck.",
        ),
        (
            replace(GOOD, sent=1999, received=1999, refused=1),
            "NOT EVERYTHING WAS DELIVERED: 1 could not be sent.",
        ),
        (
            replace(GOOD, is_balanced=False),
            "NOT EVERYTHING WAS DELIVERED: the ledger of the broker does not balance.",
        ),
        (STOCK, f"EVENTS WERE LOST: 6 of 2,000 events are gone for ever, {STUCK}."),
        (replace(STOCK, lost=0, dropped=0), f"NOT EVERYTHING WAS DELIVERED: {STUCK}."),
    ],
    ids=["good", "dead letters", "lost", "stuck", "refused", "unbalanced", "stock", "stock, stuck"],
)
def test_one_line_says_whether_anything_was_lost(report: Report, verdict: str) -> None:
    """And the exit code is 0 only then."""
    assert report.verdict == verdict
    assert report.exit_code == (0 if verdict.startswith("NOTHING WAS LOST") else 1)


def test_the_table_of_a_hardened_run_tells_everything() -> None:
    """Every number with what it means, within 80 columns."""
    table = shown(GOOD)
    words = " ".join(table.split())
    for part in ("2,000", "at most 24", "6 failed, 4 crashed", "2.1 s", "promised: 4 s", "3 were killed by"):
        assert part in words, part
    assert "stuck" not in words
    assert max(map(len, table.splitlines())) <= 80


def test_the_table_of_a_stock_run_shows_dashes_for_what_it_cannot_tell() -> None:
    """Recovered, dead, replayed and the slowest recovery; what is stuck has a row of its own."""
    table = shown(STOCK)
    dashes = [
        line.split("│")[1].strip() for line in table.splitlines() if "│" in line and line.split("│")[2].strip() == "-"
    ]
    assert dashes == ["recovered", "dead", "replayed", "slowest recovery"]
    assert "2 queued, 62 unacked" in " ".join(table.split())


def test_bystanders_are_told_apart_from_poison() -> None:
    """A dead letter that had done nothing wrong is said to be one."""
    assert "of them only beside poison: 2" in " ".join(shown(replace(GOOD, bystanders=2)).replace("│", " ").split())


def test_the_json_has_every_number() -> None:
    """All fields, and the verdict."""
    about = json.loads(json.dumps(GOOD.to_json()))
    assert about.keys() == {field.name for field in fields(Report)} | {"ok", "verdict"}
    assert (about["lost"], about["replayed"], about["ok"]) == (0, 10, True)
