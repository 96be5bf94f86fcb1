"""The report of the benchmarks: its rows, its table, its JSON and its exit code."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.__main__ import main, run
from benchmarks.catalogue import MEASURES, Measure
from benchmarks.failure import MeasureFailed
from benchmarks.report import Report
from benchmarks.row import Row, Target, shown
from benchmarks.sample import Sample
from benchmarks.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = {
    "date": "2026-01-01T00:00:00+00:00",
    "commit": "abc",
    "cpu_count": 2,
    "cpu": "Some Processor",
    "system": "Linux",
    "load": [0.1, 0.1, 0.1],
    "placement": {"server": 0, "child": 1},
    "versions": {"python": "3.11.0", "redis server": "7.0.0"},
}
GOOD = Row(
    name="delay(), wall",
    unit="us",
    stock=Sample.of([300, 310, 290]),
    hardened=Sample.of([200, 210, 190]),
    target=Target.ratio_at_most(0.8),
)
ALONE = Row(name="replay 50,000", unit="/s", hardened=Sample.of([20_000]), target=Target.at_least(10_000))
BAD = replace(ALONE, name="slow", hardened=Sample.of([9_999]))
WIDEST = replace(
    GOOD, name="take+ack, 1,000,000 / 1", stock=Sample.of([23_456, 34_567]), hardened=Sample.of([12_345, 23_456])
)


@pytest.fixture
def report() -> Report:
    """Of a run in which something failed."""
    return Report(
        ABOUT,
        is_quick=False,
        rows={"publish": [GOOD, WIDEST], "deadletters": [ALONE, BAD]},
        failures={"idle": "MeasureFailed: the worker died"},
        notes={"publish": "Time per call."},
    )


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """On which nothing takes place."""
    return Stage(tmp_path, server=None, quick=True, rounds=None, tell=lambda _: None)


def printed(report: Report) -> str:
    """As it comes out of a pipe."""
    sink = io.StringIO()
    report.print(Console(file=sink, width=80, highlight=False))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0456, "/s", "0.05/s"),
        (1.234, "x", "1.23x"),
        (12.34, "us", "12.3 us"),
        (123.4, "ms", "123 ms"),
        (12_345.6, "/s", "12,346/s"),
        (0, "", "0.00"),
    ],
)
def test_numbers_have_three_digits_that_count(value: float, unit: str, text: str) -> None:
    """And their unit."""
    assert shown(value, unit) == text


@pytest.mark.parametrize(
    ("target", "text", "met"),
    [
        (Target.ratio_at_most(0.8), "<= 0.8x", True),
        (Target.ratio_at_most(0.5), "<= 0.5x", False),
        (Target.ratio_at_least(0.6), ">= 0.6x", True),
        (Target.ratio_at_least(4), ">= 4x", False),
        (Target.at_most(200), "<= 200 us", True),
        (Target.at_most(199), "<= 199 us", False),
        (Target.at_least(200), ">= 200 us", True),
        (Target.at_least(10_000), ">= 10,000 us", False),
        (None, "", None),
    ],
)
def test_a_target_is_for_the_ratio_or_for_hardened_alone(target: Target | None, text: str, *, met: bool | None) -> None:
    """The bound itself still meets it."""
    row = replace(GOOD, target=target)
    assert (row.target_text, row.is_met) == (text, met)


def test_a_ratio_that_cannot_be_had_misses_its_target() -> None:
    """Rather than pass unseen."""
    assert replace(GOOD, stock=None).is_met is False
    assert replace(GOOD, stock=Sample.of([0, 0, 0])).is_met is False


def test_ratios_are_not_set_against_each_other() -> None:
    """A ratio of ratios says nothing."""
    assert replace(GOOD, unit="x", target=None).ratio is None


def test_the_table_says_all_in_eighty_columns(report: Report) -> None:
    """Medians, spreads, ratios, targets, whether they were met, and what failed."""
    text = printed(report)
    assert max(len(line.rstrip()) for line in text.splitlines() if "FAILED" not in line) <= 80
    for part in ("300 us", "290..310", "200 us", "190..210", "0.67x", "0.66..0.68", "<= 0.8x", ">= 10,000/s"):
        assert part in text
    assert "…" not in text
    assert text.split().count("met") == 3
    assert text.split().count("MISSED") == 1
    assert "FAILED idle: MeasureFailed: the worker died" in text.splitlines()
    assert "publish: Time per call." in text.splitlines()
    assert "busy" not in text


def test_a_busy_machine_is_told(report: Report) -> None:
    """For then no number is worth much."""
    report.about = {**ABOUT, "load": [1.5, 0, 0]}
    assert "The machine was busy when this began (load 1.5)" in " ".join(printed(report).split())


def test_the_json_has_every_value(report: Report, tmp_path: Path) -> None:
    """In a directory that is made if need be."""
    report.write(tmp_path / "results" / "latest.json")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["latest.json"]
    found = json.loads((tmp_path / "results" / "latest.json").read_text())
    assert found["versions"] == ABOUT["versions"]
    assert (found["cpu_count"], found["date"]) == (2, ABOUT["date"])
    assert found["failed"] == {"idle": "MeasureFailed: the worker died"}
    assert found["missed"] == ["deadletters: slow"]
    assert found["measures"]["deadletters"]["rows"][0] == {
        "name": "replay 50,000",
        "unit": "/s",
        "stock": None,
        "hardened": {"median": 20_000.0, "low": 20_000.0, "high": 20_000.0, "values": [20_000.0]},
        "ratio": None,
        "target": ">= 10,000/s",
        "met": True,
    }
    assert found["measures"]["publish"]["rows"][0]["ratio"]["value"] == pytest.approx(2 / 3)


def test_a_measure_that_fails_does_not_keep_the_others_from_being_taken(stage: Stage) -> None:
    """It is told in one line."""

    def fail(_: Stage) -> list[Row]:
        raise MeasureFailed("waited\nin vain")

    report = Report(ABOUT, is_quick=True)
    run({"bad": Measure("Fails.", fail), "good": Measure("Works.", lambda _: [GOOD])}, stage, report)
    assert report.failures == {"bad": "MeasureFailed: waited in vain"}
    assert report.rows == {"good": [GOOD]}
    assert report.notes == {"bad": "Fails.", "good": "Works."}


def test_every_measure_says_what_it_does() -> None:
    """And they are those that are promised."""
    assert list(MEASURES) == [
        "publish",
        "memory",
        "broadcast",
        "signals",
        "cancel",
        "receipts",
        "throughput",
        "queues",
        "recovery",
        "deadletters",
        "idle",
        "depth",
        "monitors",
        "agents",
    ]
    assert all(measure.about.endswith(".") for measure in MEASURES.values())


@pytest.mark.parametrize("arguments", [["nonsense"], ["--rounds", "0"], ["--redis", "/does/not/exist", "idle"]])
def test_what_cannot_be_asked_for_is_a_usage_error(arguments: list[str]) -> None:
    """Exit code 2, and no result is written."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert "Error: " in result.output
