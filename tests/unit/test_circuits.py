"""Messages behind a breaker, in a worker: whom it asks, how long they wait, and what is told of their end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hardening.breaker import CircuitOpen
from hardening.breaker.passage import Passage
from hardening.breaker.verdict import Verdict
from hardening.worker import circuits
from hardening.worker.circuits import delay_for, end_call, let_through


class _Circuit:
    """Answers as it is told to."""

    def __init__(self, *, open_s: float = 30.0) -> None:
        self.rule: Any = SimpleNamespace(open_s=open_s, counts=None)
        self.answer: Passage | CircuitOpen = Passage(0, 0.0)
        self.asked = 0
        self.left: list[tuple[Passage, Verdict]] = []

    def enter(self) -> Passage:
        self.asked += 1
        if isinstance(self.answer, CircuitOpen):
            raise self.answer
        return self.answer

    def leave(self, passage: Passage, verdict: Verdict) -> None:
        self.left.append((passage, verdict))


class _Book:
    def __init__(self) -> None:
        self.released: list[tuple[list[Any], int]] = []

    def now_ms(self) -> int:
        return 1_000_000

    def release(self, many: list[Any], *, why: str, due_ms: int) -> None:
        assert why == "breaker"
        self.released.append((many, due_ms))


@pytest.fixture
def circuit(monkeypatch: pytest.MonkeyPatch) -> _Circuit:
    """The breaker of every request here."""
    circuit: Any = _Circuit()
    monkeypatch.setattr(circuits, "circuits_of", lambda _: {"stripe": circuit})
    return circuit  # type: ignore[no-any-return]


def _request(book: _Book, *, begun: bool = False, gone: bool = False, circuit: str | None = "stripe") -> Any:
    held = SimpleNamespace(begun=begun, gone=gone)
    message = SimpleNamespace(held=held, channel=SimpleNamespace(book=book))
    return SimpleNamespace(app=None, circuit=circuit, passage=None, _message=message)


def _delays(circuit: Any, retry_in_s: float, count: int) -> list[float]:
    return [delay_for(circuit, retry_in_s, 0 if number else count) for number in range(200)]


def test_messages_wait_until_it_is_worth_trying_and_then_some() -> None:
    """What is added is left to chance."""
    found = _delays(_Circuit(), 5.0, 1)
    assert 5.0 <= min(found) < 5.05
    assert 5.15 < max(found) <= 5.2


def test_none_waits_for_longer_than_half_a_minute_before_the_breaker_is_asked_again() -> None:
    """Somebody may have closed it by hand."""
    assert min(_delays(_Circuit(), 3600.0, 1)) >= 30.0
    assert max(_delays(_Circuit(), 3600.0, 1)) <= 30.2


def test_the_more_there_are_the_wider_they_are_spread() -> None:
    """A hundred come back in a second; but none later than the breaker stays open."""
    assert 1.5 < max(_delays(_Circuit(), 0.0, 200)) <= 2.0
    assert 4.0 < max(_delays(_Circuit(open_s=5.0), 0.0, 10_000)) <= 5.0


def test_a_closed_breaker_ends_the_spread_and_a_probe_does_not(circuit: Any) -> None:
    """While it is probed others still wait."""
    book = _Book()
    delay_for(circuit, 0.0, 1000)
    circuit.answer = Passage(1, 0.0, "probe")
    assert let_through([_request(book)]) == [True]
    assert max(_delays(circuit, 0.0, 0)) > 1.0
    circuit.answer = Passage(2, 0.0)
    assert let_through([_request(book)]) == [True]
    assert max(_delays(circuit, 0.0, 1)) <= 0.2


def test_those_that_are_refused_together_are_given_back_together(circuit: Any) -> None:
    """Those that have no breaker, or are not this process's to begin, are let through without asking."""
    book = _Book()
    circuit.answer = CircuitOpen("stripe", 5.0)
    one, two = _request(book), _request(book)
    others = [_request(book, circuit=None), _request(book, begun=True), _request(book, gone=True)]
    assert let_through([one, *others, two]) == [False, True, True, True, False]
    assert circuit.asked == 2
    ((many, due_ms),) = book.released
    assert many == [one._message.held, two._message.held]
    assert 1_005_000 <= due_ms <= 1_005_200


def test_the_end_of_a_run_is_told_once(circuit: Any) -> None:
    """Of one that says nothing of the service, as that."""
    circuit.answer = passage = Passage(3, 0.0)
    for error, is_known, verdict in (
        (None, True, Verdict.SUCCEEDED), (ConnectionError(), True, Verdict.FAILED),
        (ConnectionError(), False, Verdict.NEITHER),
    ):  # fmt: skip
        request = _request(_Book())
        end_call(request, error)
        assert circuit.left == []  # it was not let through by any
        let_through([request])
        end_call(request, error, is_known=is_known)
        end_call(request, None)
        assert circuit.left == [(passage, verdict)]
        circuit.left.clear()
