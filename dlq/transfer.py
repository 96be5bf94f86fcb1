"""Dead letters in files: exported to be read by people, or whole, to be imported elsewhere."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from dlq.archive import as_line
from dlq.report import as_object, content_object
from hardening.core.errors import FileRefused
from hardening.core.scripts import keeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from redis import Redis

    from dlq.entry import Entry
    from hardening.core.keys import Keys
    from hardening.core.redaction import Redactor
    from hardening.core.scripts import Call

__all__ = ["check_lines", "import_lines", "lines_of"]

_BATCH = 200
_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
#: What an imported letter may say of itself, beside its message.
_KNOWN = ("message", "receipt", "error", "traceback", "worker", "crashes", "once")
_NEEDED = ("list", "reason")


def lines_of(entries: Iterable[Entry], redactor: Redactor | None) -> Iterator[str]:
    """One line of JSON for each entry.

    Args:
        entries: which.
        redactor: masks secrets, after which the lines are for reading only; None: whole, to be imported.
    """
    for entry in entries:
        if redactor is None:
            yield as_line(entry.id, entry.fields)
            continue
        yield json.dumps({"masked": True, **as_object(entry, redactor), **content_object(entry, redactor)})


def import_lines(
    client: Redis, keys: Keys, lines: Iterable[str], *, on_progress: Callable[[int], None] = lambda _: None
) -> int:
    """Takes exported dead letters in again, as new entries, in the order of the lines.

    Does not guarantee: that a file imported twice is taken in once.

    Returns:
        How many there were.

    Raises:
        FileRefused: a line is not what was exported; the lines before it may have been imported.
    """
    imported, batch = 0, []
    for number, line in enumerate(lines, 1):
        if line.strip():
            batch.append(_call(keys, number, line))
        if len(batch) == _BATCH:
            imported += _run(client, batch)
            batch = []
            on_progress(imported)
    imported += _run(client, batch)
    on_progress(imported)
    return imported


def check_lines(keys: Keys, lines: Iterable[str]) -> int:
    """Looks whether all lines can be imported.

    Returns:
        How many dead letters they have.

    Raises:
        FileRefused: a line is not what was exported.
    """
    return len([_call(keys, number, line).script for number, line in enumerate(lines, 1) if line.strip()])


def _run(client: Any, batch: list[Call]) -> int:
    for call in batch[:1]:
        call.run(client)  # which has Redis know the script
    with client.pipeline(transaction=False) as pipe:
        for call in batch[1:]:
            pipe.execute_command(*call.command)
        pipe.execute()
    return len(batch)


def _call(keys: Keys, number: int, line: str) -> Call:
    found = _parsed(number, line)
    if found.get("masked"):
        raise FileRefused(number, "its secrets are masked, so it is for reading only; export with --reveal to import")
    entry_id, fields, raw = found.get("id"), found.get("fields"), found.get("raw")
    if not isinstance(entry_id, str) or not _ID.fullmatch(entry_id):
        raise FileRefused(number, "it has no id of a dead letter")
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise FileRefused(number, "its fields are not texts by name")
    if missing := [name for name in _NEEDED if not fields.get(name)]:
        raise FileRefused(number, f"it does not say its {missing[0]}")
    more = {name: _bytes(number, fields[name]) for name in _KNOWN if name in fields}
    needed = [_bytes(number, fields[name]) for name in _NEEDED]
    fingerprint = _bytes(number, fields.get("fingerprint", ""))
    return keeping.readmit(
        keys, list_key=needed[0], reason=needed[1], fingerprint=fingerprint, raw=_message(number, raw),
        fields={**more, "imported_from": entry_id.encode()},
    )  # fmt: skip


def _parsed(number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FileRefused(number, f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise FileRefused(number, "it is no JSON object")
    return found


def _message(number: int, raw: object) -> bytes:
    try:
        return base64.b64decode(raw, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, ValueError, TypeError) as error:
        raise FileRefused(number, "its message is no base64") from error


def _bytes(number: int, text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise FileRefused(number, "it has characters that no text has") from error
