"""Beginning several requests at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hardening.worker.request import begin_all


class _Book:
    """Lets run what it is told to."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.begun: list[list[str]] = []

    def begin(self, many: list[Any]) -> list[bool]:
        """In one write."""
        self.begun.append([held.name for held in many])
        return [held.name not in self.refused for held in many]


class _Held:
    def __init__(self, name: str) -> None:
        self.name = name


def _request(name: str, book: _Book | None, *, is_late: bool = False) -> Any:
    message = (
        SimpleNamespace() if book is None else SimpleNamespace(held=_Held(name), channel=SimpleNamespace(book=book))
    )
    return SimpleNamespace(_message=message, begun=lambda may_run: may_run, bury_if_late=lambda: is_late)


def test_the_requests_of_one_book_begin_in_one_write() -> None:
    """Each is told for itself whether it may run."""
    book = _Book("b")
    assert begin_all([_request(name, book) for name in "abc"]) == [True, False, True]
    assert book.begun == [["a", "b", "c"]]


def test_each_request_begins_in_its_own_book() -> None:
    """After a failover some are of the broker before, and a number there is another message here."""
    before, after = _Book("a"), _Book("d")
    requests = [_request("a", before), _request("b", after), _request("c", before), _request("d", after)]
    assert begin_all(requests) == [False, True, True, False]
    assert (before.begun, after.begun) == ([["a", "c"]], [["b", "d"]])


def test_what_no_book_holds_may_run() -> None:
    """It was consumed without acknowledgement, or made by hand."""
    book = _Book("a")
    assert begin_all([_request("x", None), _request("a", book)]) == [True, False]


def test_what_came_too_late_is_not_begun() -> None:
    """It has been buried by then; its neighbours begin."""
    book = _Book()
    assert begin_all([_request("a", book, is_late=True), _request("b", book)]) == [False, True]
    assert book.begun == [["b"]]
