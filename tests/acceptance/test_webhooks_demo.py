"""The webhooks example, run as a user runs it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.demo import Demo
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def demo(tmp_path: Path, binary: str) -> Iterator[Demo]:
    """The example; after each test nothing of it may be left running."""
    demo = Demo("examples.webhooks", tmp_path, binary)
    yield demo
    eventually(lambda: not demo.processes(), 15)


def report_of(file: Path) -> dict[str, Any]:
    """The JSON report."""
    about: dict[str, Any] = json.loads(file.read_text())
    return about


@pytest.mark.one_server
def test_nothing_is_lost_while_workers_are_killed(demo: Demo) -> None:
    """Kills, a cut, poison and refusals: every event arrives, dead letters after the endpoint is fixed."""
    file = demo.directory / "report.json"
    code, out, err = demo.run("--count", 200, "--kills", 2, "--json", file)
    about = report_of(file)
    assert code == 0, (out, err, about)
    assert "NOTHING WAS LOST: 200 of 200 events were delivered." in out.splitlines()
    assert (about["sent"], about["received"], about["lost"], about["stuck"]) == (200, 200, 0, {})
    assert about["is_balanced"]
    assert about["kills"] >= 1
    assert about["cut"] > 0
    assert about["replayed"] == about["dead"] == sum(about["dead_by_reason"].values()) >= 3
    assert about["duplicates"] <= about["duplicates_bound"]
    assert max(map(len, out.splitlines())) <= 80
    assert not list(demo.temporary.iterdir())


@pytest.mark.one_server
def test_bad_lines_are_told_and_the_rest_is_delivered(demo: Demo) -> None:
    """Each with its number, on the standard error."""
    file = demo.directory / "events.jsonl"
    good = [json.dumps({"id": f"evt_{number}", "type": "order.paid"}) for number in range(4)]
    big = json.dumps({"id": "evt_big", "data": "x" * (1 << 20)})
    file.write_text("\n".join([good[0], "oops", good[1], big, good[0], '{"type": "x"}', good[2], "", good[3]]))
    code, out, err = demo.run("--events", file)
    assert code == 0, (out, err)
    assert err.splitlines() == [
        f"{file}, line 2: not JSON: Expecting value at column 1; not sent",
        f"{file}, line 4: over 1 MiB, which is the most an event may have; not sent",
        f"{file}, line 5: id 'evt_0' was used before, in line 1; not sent",
        f'{file}, line 6: no "id", which must be a text of its own for each event; not sent',
    ]
    assert "NOTHING WAS LOST: 4 of 4 events were delivered." in out.splitlines()


@pytest.mark.parametrize(
    ("text", "fault"),
    [(None, "No such file or directory"), ("", "there is no event in it to deliver")],
    ids=["missing", "empty"],
)
def test_a_file_without_events_is_a_usage_error(demo: Demo, text: str | None, fault: str) -> None:
    """One line, exit code 2, and nothing is started."""
    file = demo.directory / "events.jsonl"
    if text is not None:
        file.write_text(text)
    assert demo.run("--events", file) == (2, "", f"Error: {file}: {fault}\n")


def test_a_report_that_cannot_be_written_is_said_before_anything_is_sent(demo: Demo) -> None:
    """Not after a minute."""
    file = demo.directory / "nowhere" / "report.json"
    assert demo.run("--json", file) == (2, "", f"Error: {file}: No such file or directory\n")


@pytest.mark.one_server
def test_the_same_run_on_plain_celery_ends_and_reports(demo: Demo) -> None:
    """Whatever it loses: the run is bounded, and columns that stock cannot fill are empty."""
    file = demo.directory / "report.json"
    code, out, err = demo.run("--stock", "--count", 60, "--kills", 1, "--json", file)
    about = report_of(file)
    assert code == (0 if about["ok"] else 1), (out, err, about)
    assert about["verdict"] in out.splitlines()
    assert (about["mode"], about["sent"]) == ("stock", 60)
    assert about["received"] + about["lost"] + sum(about["stuck"].values()) == 60
    assert (about["dead"], about["replayed"], about["recovered"]) == (None, None, None)


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "Stopped; nothing is left running.\n"),
        (signal.SIGTERM, 130, "Stopped"),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_a_demo_that_is_stopped_leaves_nothing_running(demo: Demo, number: int, code: int, said: str) -> None:
    """Ctrl-C, a polite end and a sudden one: the fixture waits until every process is gone."""
    process = demo.start("--count", 2000)
    try:
        eventually(lambda: sum("celery" in line for line in demo.processes()) >= 4, 60)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert err.startswith(said)
    assert "Traceback" not in err
