"""Reading dead letters page by page, as many of them as are meant and hardly any more."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from dlq.entry import Entry
from dlq.groups import read_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redis import Redis

    from dlq.group import Group
    from dlq.selection import Selection
    from hardening.core.keys import Keys

__all__ = ["PAGE", "oldest_of", "paired", "read_entries"]

#: Entries read in one call to Redis.
PAGE = 500
#: Ids that are read of a group the first time; with a thousand groups few of them are needed.
_FIRST_CHUNK = 8
_Id = tuple[int, int]


@dataclass(slots=True)
class _Range:
    """Ids from one to another, both included, read in one direction."""

    low: str
    high: str
    newest_first: bool

    def read(self, client: Any, key: str, count: int) -> Any:
        """The next of a stream; on a pipeline, a promise of them."""
        if self.newest_first:
            return client.xrevrange(key, self.high, self.low, count=count)
        return client.xrange(key, self.low, self.high, count=count)

    def beyond(self, last: bytes) -> _Range:
        """What comes after an id."""
        after = f"({last.decode()}"
        return _Range(self.low, after, True) if self.newest_first else _Range(after, self.high, False)  # noqa: FBT003


@dataclass(slots=True)
class _Cursor:
    """How far the ids of one group have been read."""

    key: str
    rest: _Range
    chunk: int
    ids: deque[bytes] = field(default_factory=deque)
    is_over: bool = False

    def take(self, page: list[tuple[bytes, Any]]) -> None:
        """What was read."""
        self.ids.extend(entry_id for entry_id, _ in page)
        self.is_over = len(page) < self.chunk
        if page:
            self.rest = self.rest.beyond(page[-1][0])
        self.chunk = min(PAGE, self.chunk * 4)


def read_entries(
    client: Redis, keys: Keys, selection: Selection, *, newest_first: bool, up_to: str | None
) -> Iterator[Entry]:
    """The entries that are meant, in order; see :meth:`dlq.DeadLetters.select`.

    What is asked for by kind is found through its groups, so that the rest is not read at all.
    """
    high = up_to or ("+" if newest_first else _newest_id(client, keys))
    span = _Range(selection.first_id, high, newest_first)
    size = min(PAGE, selection.limit or PAGE)
    pages = (
        _by_kind(client, keys, selection, span, size) if selection.is_by_kind else _all(client, keys, span, size)
    )  # fmt: skip
    entries = (entry for page in pages for entry in page if selection.matches(entry))
    return islice(entries, selection.limit)


def _newest_id(client: Redis, keys: Keys) -> str:
    newest: Any = client.xrevrange(keys.dlq, count=1)
    return newest[0][0].decode() if newest else "0"


def _all(client: Redis, keys: Keys, span: _Range, size: int) -> Iterator[list[Entry]]:
    while True:
        page = span.read(client, keys.dlq, size)
        yield [Entry.of(entry_id, fields) for entry_id, fields in page]
        if len(page) < size:
            return
        span = span.beyond(page[-1][0])


def _by_kind(client: Redis, keys: Keys, selection: Selection, span: _Range, size: int) -> Iterator[list[Entry]]:
    census = read_groups(client, keys)
    chosen = [group for group in census.groups if selection.may_match(group)]
    if sum(group.count for group in chosen) == census.letters:
        yield from _all(client, keys, span, size)
        return
    cursors = [_Cursor(keys.dlq_group(group.id), span, min(size, _FIRST_CHUNK)) for group in chosen]
    ids = (entry_id for entry_id, _ in _merged(client, cursors, newest_first=span.newest_first))
    while page := list(islice(ids, size)):
        yield _read_ids(client, keys, page)


def oldest_of(client: Redis, keys: Keys, groups: Iterable[Group], limit: int) -> list[tuple[str, str]]:
    """The oldest entries of several groups, at most ``limit``, oldest first, as (entry id, group)."""
    by_key = {keys.dlq_group(group.id): group.id for group in groups}
    chunk = min(limit, _FIRST_CHUNK)
    cursors = [_Cursor(key, _Range("-", "+", newest_first=False), chunk) for key in by_key]
    ids = _merged(client, cursors, newest_first=False)
    return [(entry_id.decode(), by_key[key]) for entry_id, key in islice(ids, limit)]


def _merged(client: Redis, cursors: list[_Cursor], *, newest_first: bool) -> Iterator[tuple[bytes, str]]:
    """The ids of several groups, in order, with the keys they are under."""
    sign = -1 if newest_first else 1
    _fill(client, cursors)
    heads = [(_sorting(cursor.ids[0], sign), at) for at, cursor in enumerate(cursors) if cursor.ids]
    heapq.heapify(heads)
    while heads:
        _, at = heads[0]
        cursor = cursors[at]
        yield cursor.ids.popleft(), cursor.key
        if not cursor.ids and not cursor.is_over:
            _fill(client, [cursor])
        if cursor.ids:
            heapq.heapreplace(heads, (_sorting(cursor.ids[0], sign), at))
        else:
            heapq.heappop(heads)


def _fill(client: Redis, cursors: list[_Cursor]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for cursor in cursors:
            cursor.rest.read(pipe, cursor.key, cursor.chunk)
        for cursor, page in zip(cursors, pipe.execute(), strict=True):
            cursor.take(page)


def _sorting(entry_id: bytes, sign: int) -> _Id:
    ms, _, seq = entry_id.partition(b"-")
    return sign * int(ms), sign * int(seq)


def _read_ids(client: Redis, keys: Keys, ids: Iterable[bytes]) -> list[Entry]:
    """One command for each: a script would turn every field into Lua and back, at three times the cost for Redis."""
    pipe: Any
    with client.pipeline(transaction=False) as pipe:
        for entry_id in ids:
            pipe.execute_command("XRANGE", keys.dlq, entry_id, entry_id)
        return [Entry.of(*page[0]) for page in pipe.execute() if page]


def paired(fields: list[bytes]) -> dict[bytes, bytes]:
    """The fields of an entry, as a script returns them."""
    return dict(zip(fields[::2], fields[1::2], strict=True))
