"""A group of dead letters: what an operator would call one problem."""

from __future__ import annotations

import json
from dataclasses import dataclass

__all__ = ["ANY", "Group", "label_text"]

#: Stands in a group for any value: there are too many, or it is too long.
ANY = "*"


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters that are one problem.

    Attributes:
        id: of the group.
        reason: why they died; :data:`ANY` here and below: of any.
        task: their task; empty: unreadable.
        queue: where they were taken from.
        fingerprint: what failed and where; empty: not known.
        count: how many there are.
        first_ms: when the first of its kind died, ms since the epoch, whether it is still there or not.
        oldest_ms: when the oldest died that is there.
        last_ms: when the last died that is there.
    """

    id: str
    reason: str
    task: str
    queue: str
    fingerprint: str
    count: int
    first_ms: int
    oldest_ms: int
    last_ms: int


def label_text(label: str) -> str:
    """A task's name as it stood in JSON."""
    if "\\" not in label:
        return label
    try:
        return str(json.loads(f'"{label}"', strict=False))
    except ValueError:
        return label
