"""Work for agents that are made up: who does it, and who does it when they are gone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination import PieceStatus, distribute_work
from hardening.agents.coordination.bench import Presence
from tests.unit.coordinated import Cast, Message


def test_all_is_done_and_told_by_whom() -> None:
    """Each piece by one, once."""
    cast = Cast()
    report = distribute_work("vwxyz", ["a", "b"], bench=cast)
    assert report
    assert report.by_agent() == {"a": 3, "b": 2}
    assert [(message.agent, message.item) for message in cast.sent] == list(zip("ababa", "vwxyz", strict=True))
    assert {message.key for message in cast.sent} == {f"work:{report.job}:{number}:0" for number in range(5)}


def test_by_load_and_by_what_they_can() -> None:
    """As the mailboxes are, and as the agents say."""
    cast = Cast()
    cast.lengths = {"a": 2, "b": 0}
    assert distribute_work("xyz", ["a", "b"], "least_loaded", bench=cast).by_agent() == {"b": 2, "a": 1}
    cast.can = {"a": frozenset({"x"}), "b": frozenset("xy")}
    report = distribute_work("xyxz", ["a", "b"], "capability", needs=lambda item: item, timeout=60, bench=cast)
    assert [(piece.agent, piece.status.value) for piece in report.pieces] == [
        ("a", "done"), ("b", "done"), ("a", "done"), ("", "unfit"),
    ]  # fmt: skip
    assert report.pieces[3].why == "no agent can do what it needs: z"
    assert not report


@pytest.mark.parametrize("how", [Presence.HALTED, Presence.ABSENT])
def test_what_one_that_is_gone_has_not_begun_another_does(how: Presence) -> None:
    """At once if it is halted; else when it has been away for long enough. What cannot be taken back is left to it."""
    cast, sent = Cast(), threading.Event()

    def work(message: Message) -> None:
        if message.agent == "b":
            message.state = {"w": "queued", "y": "claimed", "z": "started"}[message.item]
            sent.set()
        else:
            message.state = "acked"
        if message.agent == "a" and message.item == "y":
            cast.sent[5].state = "acked"  # it was begun where it was, and done

    def leave() -> None:
        sent.wait(10)
        cast.away["b"] = how

    cast.works = work
    threading.Thread(target=leave).start()
    report = distribute_work("vwxyuz", ["a", "b"], timeout=20, patience=0.1, bench=cast)
    told = [(piece.agent, piece.status, piece.earlier) for piece in report.pieces]
    done: Any = ("a", PieceStatus.DONE, [])
    assert told == [
        done, ("a", PieceStatus.DONE, ["b"]), done, ("a", PieceStatus.DONE, ["b"]), done, ("b", PieceStatus.DONE, []),
    ]  # fmt: skip
    taken_back = [message for message in cast.sent if message.agent == "b" and message.item in "wy"]
    assert {message.reason for message in taken_back} == {"cancelled"}
    assert [message.key.rpartition(":")[2] for message in cast.sent] == list("00000011")


def test_who_is_not_there_is_given_nothing_and_who_has_no_room_is_asked_again() -> None:
    """What nobody has room for waits here."""
    cast = Cast()
    cast.away["a"], cast.full = Presence.ABSENT, {"b"}

    def make_room() -> None:
        threading.Event().wait(0.2)
        cast.full.clear()

    threading.Thread(target=make_room).start()
    report = distribute_work("xy", ["a", "b"], timeout=20, bench=cast)
    assert report.by_agent() == {"b": 2}
    cast.full = {"b"}
    report = distribute_work("x", ["a", "b"], timeout=0, bench=cast)
    assert "the mailbox of agent b has no room: 1 messages wait" in report.pieces[0].why
    assert report.of(PieceStatus.UNPLACED) == list(report.pieces)


def test_one_that_is_away_for_a_moment_keeps_its_work() -> None:
    """Shorter than anybody's patience."""
    cast = Cast()
    cast.works = lambda _: cast.away.update(a=Presence.ABSENT)

    def come_back() -> None:
        threading.Event().wait(1.2)
        cast.away.clear()
        threading.Event().wait(0.8)
        cast.sent[0].state = "acked"

    threading.Thread(target=come_back).start()
    report = distribute_work("x", ["a", "b"], timeout=20, patience=30, bench=cast)
    assert [(piece.agent, piece.earlier) for piece in report.pieces] == [("a", [])]
    assert report


def test_a_piece_that_dies_is_told_of_and_not_given_to_another() -> None:
    """It would die there too; a moment without Redis is none."""
    cast = Cast()

    def work(message: Message) -> None:
        message.error = RedisConnectionError("away")
        message.die("failed")

    cast.works = work
    report = distribute_work("x", ["a", "b"], timeout=20, bench=cast)
    assert [(piece.status, piece.why, piece.agent) for piece in report.pieces] == [(PieceStatus.DEAD, "failed", "a")]
    assert len(cast.sent) == 1


def test_one_that_lasts_hides_nothing_of_what_became_of_the_others() -> None:
    """The time is over while the first is waited for; what Redis does not tell then stays open."""
    cast = Cast()

    def work(message: Message) -> None:
        message.state = {"v": "started", "w": "acked", "x": "dead", "y": "started"}[message.item]
        message.reason = "failed" if message.item == "x" else ""

    cast.works = work
    report = distribute_work("vwxy", ["a"], timeout=0.2, bench=cast)
    told = [(piece.status.value, piece.why) for piece in report.pieces]
    assert told == [("open", ""), ("done", ""), ("dead", "failed"), ("open", "")]

    def away() -> dict[str, str]:
        raise RedisConnectionError("away")

    def work_out_of_sight(message: Message) -> None:
        work(message)
        message.details = away  # type: ignore[method-assign]

    cast.works = work_out_of_sight
    report = distribute_work("vw", ["a"], timeout=0.2, bench=cast)
    assert [piece.status.value for piece in report.pieces] == ["open", "open"]


def test_a_job_is_taken_up_where_it_was() -> None:
    """What was sent is not sent again, also what was given to another by then."""
    cast = Cast()
    first = Message("a", "x", "work:j:0:0")
    first.die("cancelled")
    second, third = Message("b", "x", "work:j:0:1"), Message("b", "y", "work:j:1:0")
    second.state = third.state = "acked"
    cast.sent = [first, second, third]
    report = distribute_work("xyz", ["a", "b"], job="j", timeout=20, bench=cast)
    assert report.job == "j"
    assert [(piece.agent, piece.earlier) for piece in report.pieces] == [("b", ["a"]), ("b", []), ("a", [])]
    assert len(cast.sent) == 4


def test_work_that_makes_no_sense_is_refused() -> None:
    """In one line."""
    needs: Any = {"needs": lambda _: ()}
    for said in ({"strategy": "capability"}, needs):
        with pytest.raises(ValueError, match="needs is for capability, which cannot do without"):
            distribute_work([], ["a"], bench=Cast(), **said)
    with pytest.raises(ValueError, match="patience is -1, expected seconds"):
        distribute_work([], ["a"], patience=-1, bench=Cast())
    with pytest.raises(ValueError, match="job is '', expected a name"):
        distribute_work([], ["a"], job="", bench=Cast())
