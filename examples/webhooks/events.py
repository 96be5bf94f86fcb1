"""Events to deliver, read from a file of JSON lines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["EVENT_MAX_BYTES", "ID_MAX", "Batch", "Event", "Fault", "read_events"]

#: The longest line that is delivered, in bytes.
EVENT_MAX_BYTES = 1 << 20
#: The longest id, in characters.
ID_MAX = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: unique among all events of a run.
        body: the JSON text that is posted, exactly as it was written.
    """

    id: str
    body: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that cannot be delivered.

    Attributes:
        line: its number, from 1.
        text: what is wrong with it.
    """

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Batch:
    """What a file held.

    Attributes:
        events: what can be delivered, in the file's order.
        faults: what cannot.
    """

    events: list[Event] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_events(path: Path) -> Batch:
    """Reads a file of JSON lines: one object a line, each with an ``id`` of its own. Blank lines are skipped.

    Args:
        path: the file, in UTF-8.

    Returns:
        Every good event, and a fault for every other line.

    Raises:
        OSError: the file cannot be read.
    """
    batch = Batch()
    first_seen: dict[str, int] = {}
    with path.open("rb") as file:
        for number, line in _lines(file):
            try:
                event = _parse(line)
            except ValueError as error:
                batch.faults.append(Fault(number, str(error)))
                continue
            if event is None:
                continue
            if event.id in first_seen:
                batch.faults.append(Fault(number, f"id {event.id!r} was used before, in line {first_seen[event.id]}"))
                continue
            first_seen[event.id] = number
            batch.events.append(event)
    return batch


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends. One that is too long is never in memory as a whole."""
    number = 0
    while line := file.readline(EVENT_MAX_BYTES + 2):
        number += 1
        rest = line
        while len(rest) == EVENT_MAX_BYTES + 2 and not rest.endswith(b"\n"):
            rest = file.readline(EVENT_MAX_BYTES + 2)
        yield number, line.rstrip(b"\r\n")


def _parse(line: bytes) -> Event | None:
    if len(line) > EVENT_MAX_BYTES:
        raise ValueError("over 1 MiB, which is the most an event may have")
    try:
        body = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1}") from error
    if not body.strip():
        return None
    event_id = _load(body).get("id")
    if not isinstance(event_id, str) or not event_id:
        raise ValueError('no "id", which must be a text of its own for each event')
    if any("\ud800" <= character <= "\udfff" for character in event_id):
        raise ValueError('"id" is no text: it has half a character')
    if len(event_id) > ID_MAX:
        raise ValueError(f'"id" has {len(event_id)} characters, {ID_MAX} are the most')
    return Event(event_id, body)


def _load(body: str) -> dict[str, Any]:
    try:
        event = json.loads(body, parse_constant=_refuse, parse_int=float)  # any number of digits
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("not JSON that can be read: nested too deeply") from error
    if isinstance(event, dict):
        return event
    raise ValueError(f"not a JSON object, but {_kind(event)}")


def _refuse(constant: str) -> None:
    raise ValueError(f"not JSON: {constant} is no number there")


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
