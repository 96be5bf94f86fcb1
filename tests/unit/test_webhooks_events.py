"""Events of the webhooks example: what a file may hold, and what is generated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from examples.webhooks.events import EVENT_MAX_BYTES, ID_MAX, Batch, Event, Fault, read_events
from examples.webhooks.generator import generate

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '{"id": "evt_1", "type": "order.paid", "data": {"amount": "19.90"}}'
NO_ID = 'no "id", which must be a text of its own for each event'


def read(path: Path, text: str | bytes) -> Batch:
    """What is read from a file with this text."""
    file = path / "events.jsonl"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_events(file)


def event_of_size(size: int) -> str:
    """An event whose line has that many bytes."""
    frame = '{"id": "evt_big", "data": ""}'
    return frame[:-2] + "x" * (size - len(frame)) + frame[-2:]


def test_an_event_is_delivered_exactly_as_it_was_written(tmp_path: Path) -> None:
    """Spaces, the order of keys, escapes, long numbers: whoever signs a body must find it unchanged."""
    line = '{ "data":{"b":1.50,"a":"\\ud83d\\ude00 ü","c":' + "9" * 5000 + '},  "id":"evt_1" }'
    assert read(tmp_path, line) == Batch([Event("evt_1", line)], [])


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_lines_may_end_as_they_like(tmp_path: Path, end: str) -> None:
    """Unix, Windows, or not at all at the end of the file."""
    assert read(tmp_path, f"{GOOD}{end}") == Batch([Event("evt_1", GOOD)], [])


def test_blank_lines_and_a_byte_order_mark_are_skipped(tmp_path: Path) -> None:
    """Editors leave them; line numbers count them."""
    batch = read(tmp_path, f"\ufeff{GOOD}\n\n  \n[]\n")
    assert batch == Batch([Event("evt_1", GOOD)], [Fault(4, "not a JSON object, but a list")])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("oops", "not JSON: Expecting value at column 1"),
        ('{"id": "evt_1",}', "not JSON: Expecting property name enclosed in double quotes at column 16"),
        ('{"id": "evt_1", "amount": NaN}', "not JSON: NaN is no number there"),
        ("[" * 100_000, "not JSON that can be read: nested too deeply"),
        ("[1]", "not a JSON object, but a list"),
        ('"evt_1"', "not a JSON object, but a text"),
        ("17", "not a JSON object, but a number"),
        ("true", "not a JSON object, but true or false"),
        ("null", "not a JSON object, but null"),
        ("{}", NO_ID),
        ('{"id": ""}', NO_ID),
        ('{"id": 17}', NO_ID),
        ('{"id": "\\ud800"}', '"id" is no text: it has half a character'),
        (json.dumps({"id": "x" * (ID_MAX + 1)}), f'"id" has {ID_MAX + 1} characters, {ID_MAX} are the most'),
        (event_of_size(EVENT_MAX_BYTES + 1), "over 1 MiB, which is the most an event may have"),
        (event_of_size(3 * EVENT_MAX_BYTES), "over 1 MiB, which is the most an event may have"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_line_is_told_and_the_rest_is_read(tmp_path: Path, line: str, fault: str) -> None:
    """One fault a line, with its number; the lines around it are good."""
    other = GOOD.replace("evt_1", "evt_2")
    assert read(tmp_path, f"{GOOD}\n{line}\n{other}\n") == Batch(
        [Event("evt_1", GOOD), Event("evt_2", other)], [Fault(2, fault)]
    )


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    """Latin-1 is not guessed at."""
    assert read(tmp_path, b'{"id": "caf\xe9"}').faults == [Fault(1, "not UTF-8 at byte 12")]


def test_an_event_of_just_one_mebibyte_is_read(tmp_path: Path) -> None:
    """The limit itself is allowed, with and without an end of line."""
    line = event_of_size(EVENT_MAX_BYTES)
    assert read(tmp_path, f"{line}\r\n") == read(tmp_path, line) == Batch([Event("evt_big", line)], [])


def test_a_second_event_with_the_same_id_is_refused(tmp_path: Path) -> None:
    """Two events of one id could not be told apart in the ledger; the message says where the first is."""
    batch = read(tmp_path, f"\n{GOOD}\n{GOOD}\n")
    assert batch == Batch([Event("evt_1", GOOD)], [Fault(3, "id 'evt_1' was used before, in line 2")])


def test_an_empty_file_has_nothing_in_it(tmp_path: Path) -> None:
    """No events and no faults: that is for the caller to say."""
    assert read(tmp_path, "") == Batch([], [])


def test_generated_events_are_good_events(tmp_path: Path) -> None:
    """What is generated could stand in a file."""
    events = generate(500, seed=1)
    assert read(tmp_path, "".join(f"{event.body}\n" for event in events)) == Batch(events, [])


def test_the_same_seed_generates_the_same_events() -> None:
    """So a run can be repeated; another seed gives others."""
    assert generate(50, seed=1) == generate(50, seed=1)
    assert not {event.id for event in generate(50, seed=1)} & {event.id for event in generate(50, seed=2)}


def test_generated_events_are_of_many_kinds() -> None:
    """Two thousand of them hold every kind a shop has, the frequent ones more often."""
    kinds = [json.loads(event.body)["type"] for event in generate(2000, seed=1)]
    assert {"order.paid", "invoice.sent", "user.signup", "payment.failed"} < set(kinds)
    assert kinds.count("order.paid") > kinds.count("user.signup") > kinds.count("order.refunded") > 0
