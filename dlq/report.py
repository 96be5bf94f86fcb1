"""Dead letters as the command line shows them, to people and to programs."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dlq.body import read_content
from dlq.group import ANY
from hardening.core.console import Column, brief_age, one_line, printable, shortened
from hardening.core.context_header import HEADER, read_context
from hardening.core.redaction import TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dlq.entry import Entry
    from dlq.group import Group
    from dlq.stats import Stats
    from hardening.core.redaction import Redactor

__all__ = [
    "LIST_COLUMNS",
    "PROBLEM_COLUMNS",
    "as_object",
    "as_row",
    "as_text",
    "content_object",
    "problem_row",
    "raw_fields",
    "stats_object",
]

#: The columns of ``celery dlq list``. c/r: crashes and retries.
LIST_COLUMNS = (
    Column("id"),
    Column("died", is_number=True),
    Column("reason"),
    Column("task", folds=True),
    Column("queue", folds=True),
    Column("c/r"),
    Column("error", max_share=1 / 6),
)
#: The columns of the problems in ``celery dlq stats``: how many, what, and how long ago first and last.
PROBLEM_COLUMNS = (
    Column("count", is_number=True),
    Column("problem", folds=True),
    Column("reason"),
    Column("task", folds=True),
    Column("queue", folds=True),
    Column("first", is_number=True),
    Column("last", is_number=True),
)
_ERROR_LENGTH = 80
_INDENT = "  "
#: How wide names stand in a block.
_NAMES = 14


def as_row(entry: Entry, now: datetime, redactor: Redactor) -> tuple[str, ...]:
    """An entry as a row under :data:`LIST_COLUMNS`."""
    return (
        entry.id,
        brief_age((now - entry.died_at).total_seconds()),
        entry.reason,
        entry.task or "(unreadable)",
        entry.queue,
        f"{entry.crashes}/{entry.retries}",
        shortened(one_line(redactor.text(entry.error)), _ERROR_LENGTH),
    )


def as_object(entry: Entry, redactor: Redactor) -> dict[str, Any]:
    """An entry for a program, without its raw message, and with secrets masked."""
    fields = {
        "id": entry.id,
        "died_at": entry.died_at.isoformat(timespec="milliseconds"),
        "reason": entry.reason,
        "task": entry.task,
        "task_id": entry.task_id,
        "queue": entry.queue,
        "list": entry.list_key,
        "message": entry.message,
        "receipt": entry.receipt,
        "worker": entry.worker,
        "crashes": entry.crashes,
        "retries": entry.retries,
        "error": entry.error,
        "traceback": entry.traceback,
        "metadata": entry.metadata,
        "replayed_from": entry.replayed_from,
        "attempts": entry.attempts,
        "fingerprint": entry.fingerprint,
        "at_most_once": entry.is_once,
        "imported_from": entry.imported_from,
    }
    return {name: redactor.value(value) for name, value in fields.items()}


def content_object(entry: Entry, redactor: Redactor) -> dict[str, Any]:
    """The inside of its message for a program: headers, body, and why it cannot be read, with secrets masked."""
    content = read_content(entry.raw)
    inside = {
        "context": read_context(content.headers.get(HEADER)),
        "headers": content.headers,
        "body": content.body,
        "problem": content.problem,
    }
    return {name: redactor.value(value) for name, value in inside.items()}


def raw_fields(entry: Entry, redactor: Redactor) -> dict[str, Any]:
    """The raw message for a program: as text under ``raw``, or, when it is none, under ``raw_base64``.

    With secrets masked it is not raw any more, so there is what can be read of it under ``raw_masked``.
    """
    if redactor.masks:
        content = content_object(entry, redactor)
        if not content["problem"]:
            return {"raw_masked": {name: content[name] for name in ("headers", "body")}}
        return {"raw_masked": redactor.text(entry.raw.decode("utf-8", "backslashreplace"))}
    try:
        return {"raw": entry.raw.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(entry.raw).decode()}


def as_text(entry: Entry, now: datetime, redactor: Redactor) -> Iterator[str]:
    """An entry for people: everything there is, line by line, safe to show, with secrets masked."""
    age = brief_age((now - entry.died_at).total_seconds())
    died_at = f"{entry.died_at.isoformat(timespec='milliseconds')} ({age} ago)"
    shown = as_object(entry, redactor) | {"died_at": died_at}
    blocks = {name: shown.pop(name) for name in ("traceback", "metadata")}
    for name, value in shown.items():
        yield f"{name:<13} {one_line(str(value))}".rstrip()
    content = content_object(entry, redactor)
    if blocks["traceback"]:
        yield from _block("traceback", blocks["traceback"])
    if content["context"]:
        yield "context"
        yield from (f"{_INDENT}{line}" for line in _context_lines(content["context"]))
        content["headers"] = {name: value for name, value in content["headers"].items() if name != HEADER}
    for name, value in (("metadata", blocks["metadata"]), ("headers", content["headers"])):
        if value:
            yield from _block(name, _json(value))
    if content["problem"]:
        yield f"{'body':<13} {one_line(content['problem'])}"
        yield from _block("raw", redactor.text(entry.raw.decode("utf-8", "backslashreplace")))
    else:
        yield from _block("body", _json(content["body"]))


def _context_lines(context: dict[str, Any]) -> Iterator[str]:
    """What was being done when the message was sent, and what had happened until then."""
    said = {name: context[name] for name in ("correlation_id", "operation")} | context["fields"]
    yield from (f"{one_line(name):<{_NAMES}} {_plain(value)}" for name, value in said.items() if value != "")
    for crumb in context["breadcrumbs"]:
        fields = "".join(f" {one_line(name)}={_plain(value)}" for name, value in crumb["fields"].items())
        yield f"- {one_line(crumb['text'])}{fields}"


def _plain(value: object) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _block(name: str, text: str) -> Iterator[str]:
    yield name
    for line in printable(text.strip("\n"), lines=True).split("\n"):
        yield f"{_INDENT}{line}"


def _json(value: object) -> str:
    return value if isinstance(value, str) and value == TOO_DEEP else json.dumps(value, indent=2, ensure_ascii=False)


def problem_row(group: Group, now_ms: int) -> tuple[object, ...]:
    """A group as a row under :data:`PROBLEM_COLUMNS`."""
    named = [
        value if value != ANY else "(others)" for value in (group.fingerprint, group.reason, group.task, group.queue)
    ]
    ages = (brief_age((now_ms - at_ms) / 1000) for at_ms in (group.first_ms, group.last_ms))
    return (group.count, named[0] or "(unknown)", named[1], named[2] or "(unreadable)", named[3], *ages)


def _group_object(group: Group) -> dict[str, Any]:
    return {name: value for name, value in asdict(group).items() if name != "id"}


def stats_object(stats: Stats) -> dict[str, Any]:
    """Statistics for a program."""
    return {
        "total": stats.total,
        "by_reason": stats.by_reason,
        "by_task": stats.by_task,
        "by_queue": stats.by_queue,
        "by_fingerprint": stats.by_fingerprint,
        "groups": [_group_object(group) for group in stats.groups],
        "oldest_ms": stats.oldest_ms,
        "newest_ms": stats.newest_ms,
    }
