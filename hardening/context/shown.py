"""An error context where people see it: on exceptions, on spans, in a line of a log. Secrets are masked."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hardening.core.deployment import redactor_here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_note_to", "annotate_span", "as_line", "masked"]

_NOTE = "error context: "
_WORD = re.compile(r"[\w.:@/+\-*]+", re.ASCII)

_Packed = dict[str, Any]


def masked(packed: _Packed) -> _Packed:
    """A context with its secrets masked."""
    shown: _Packed = redactor_here().value(packed)
    return shown


def as_line(shown: _Packed) -> str:
    """A context as one line: ``correlation_id=... operation=... order=17``."""
    said = {"correlation_id": shown["correlation_id"], "operation": shown["operation"], **shown["fields"]}
    return " ".join(f"{_word(name)}={_word(value)}" for name, value in said.items() if value != "")


def add_note_to(error: Exception, pack: Callable[[], _Packed]) -> None:
    """Notes a context on an exception, unless one is noted: the innermost knows most."""
    with suppress(
        Exception
    ):  # of some nothing can be asked, to some nothing can be added: they are raised all the same
        notes = getattr(error, "__notes__", ())
        if not any(isinstance(note, str) and note.startswith(_NOTE) for note in notes):
            error.add_note(_note(masked(pack())))


def _note(shown: _Packed) -> str:
    lines = [f"{_NOTE}{as_line(shown)}"]
    for crumb in shown["breadcrumbs"]:
        said = "".join(f" {_word(name)}={_word(value)}" for name, value in crumb["fields"].items())
        lines.append(f"  - {_text(crumb['text'])}{said}")
    return "\n".join(lines)


def annotate_span(pack: Callable[[], _Packed]) -> None:
    """Puts a context on OpenTelemetry's current span, where one is recorded."""
    span = sys.modules["opentelemetry.trace"].get_current_span()
    if not span.is_recording():
        return
    shown = masked(pack())
    attributes = {"hardening.correlation_id": shown["correlation_id"], "hardening.operation": shown["operation"]}
    attributes |= {f"hardening.context.{name}": _attribute(value) for name, value in shown["fields"].items()}
    span.set_attributes({name: value for name, value in attributes.items() if value not in ("", None)})


def _attribute(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float) else json.dumps(value)


def _word(value: Any) -> str:
    """A value that is not taken for more than one, nor for more than one line."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return json.dumps(value)


def _text(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)
