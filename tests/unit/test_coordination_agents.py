"""Votes, auctions and work, with agents that are made up: what each may do, and what becomes of it."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kombu.exceptions import EncodeError
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination import PieceStatus, Vote, auction, consensus, distribute_work, hierarchy
from hardening.agents.coordination.bench import Presence
from hardening.core.errors import CancelFailed, ConfigError, ConfirmTimeout, MailboxFull, MessageDied
from hardening.delivery.receipt import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

here: ContextVar[str] = ContextVar("here", default="nowhere")


class Message:
    """A message to an agent, and its receipt."""

    def __init__(self, agent: str, item: Any, key: str) -> None:
        self.agent, self.item, self.key = agent, item, key
        self.state, self.reason = "queued", ""
        self.id = key
        self.error: Exception | None = None

    def die(self, reason: str) -> None:
        """It is dead."""
        self.state, self.reason = "dead", reason

    def details(self) -> dict[str, str]:
        """As a receipt tells."""
        return {"state": self.state, "reason": self.reason, "queue": f"agent.{self.agent}"}

    def wait(self, state: str, timeout: float) -> None:
        """As a receipt waits, but not as long."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.state == "dead":
            raise MessageDied(self.key, self.reason)
        if self.state != state:
            threading.Event().wait(min(timeout, 0.01))
            raise ConfirmTimeout(self.key, state, DeliveryStatus(self.state), timeout)

    def cancel(self, timeout: float) -> bool:
        """As a receipt."""
        assert 0 < timeout <= 1
        if self.state == "claimed":
            self.state = "queued"  # it has come back, for the next time
            raise CancelFailed(self.key, RedisConnectionError("away"))
        if self.state != "queued":
            return False
        self.die("cancelled")
        return True


class Cast:
    """Agents, by what they do when asked; they work at once, where they work at all."""

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self.asks = answers
        self.sent: list[Message] = []
        self.away: dict[str, Presence] = {}
        self.full: set[str] = set()
        self.works: Callable[[Message], None] = lambda message: setattr(message, "state", "acked")
        self.lengths: Mapping[str, int] = {}
        self.can: dict[str, frozenset[str]] = {}
        self.spreads: list[tuple[Any, ...]] = []

    def ask(self, agent: str, handler: str, *args: Any, timeout: float) -> Any:
        """Asks one."""
        return self.asks[agent](handler, *args, timeout)

    def spread(self, *said: Any) -> Any:
        """Notes it."""
        self.spreads.append(said)
        return SimpleNamespace(failed=[name for name in said[0] if name in self.away])

    announce = spread

    def give(self, agent: str, handler: str, args: tuple[Any, ...], key: str) -> Any:
        """A message, if there is room."""
        if agent in self.full:
            raise MailboxFull(agent, 1)
        known = [message for message in self.sent if message.key == key]
        if known:
            return known[0]
        message = Message(agent, args[0], key)
        self.sent.append(message)
        assert handler == "on_work"
        if agent not in self.away:
            self.works(message)
        return message

    def loads(self, agents: Any) -> Mapping[str, int]:
        """How many wait."""
        return {name: self.lengths.get(name, 0) for name in agents}

    def presence(self, agents: Any) -> Mapping[str, Presence]:
        """Who is there."""
        return {name: self.away.get(name, Presence.THERE) for name in agents}

    def capabilities(self, agents: Any, timeout_s: float) -> Mapping[str, frozenset[str]]:
        """What they can do."""
        assert timeout_s == 5.0
        return {name: self.can.get(name, frozenset()) for name in agents}

    def bury(self, *_: Any) -> str:
        """Not here."""
        raise NotImplementedError


def silent(*_: Any) -> None:
    """Answers too late."""
    threading.Event().wait(5)


def failing(*_: Any) -> None:
    """Raises."""
    raise RuntimeError("no\nidea")


def yes(*_: Any) -> bool:
    """Votes for it."""
    return True


def no(*_: Any) -> bool:
    """Votes against it."""
    return False


# -- votes


def test_each_is_asked_once_all_at_once_in_the_context_of_who_asks() -> None:
    """None waits for another: each answers only when all have been asked."""
    together, heard = threading.Barrier(3), []

    def votes(handler: str, proposal: Any, timeout: float) -> bool:
        together.wait(10)
        heard.append((handler, proposal, timeout, here.get()))
        return True

    here.set("here")
    said = consensus(["a", "b", "c", "a"], {"x": 1}, "unanimous", 20, bench=Cast(a=votes, b=votes, c=votes))
    assert said
    assert heard == [("on_vote", {"x": 1}, 20.0, "here")] * 3
    assert (said.proposal, said.rule, said.reasons, said.announcement) == ({"x": 1}, "unanimous", {}, None)
    here.set("nowhere")


def test_who_does_not_vote_has_abstained() -> None:
    """For whatever reason, which is told in a line."""
    cast = Cast(a=yes, b=silent, c=failing, d=lambda *_: "yes", e=no)
    said = consensus(["a", "b", "c", "d", "e"], 1, "quorum", 0.3, quorum=2, bench=cast)
    assert not said
    assert said.votes == {"a": "yes", "b": "abstained", "c": "abstained", "d": "abstained", "e": "no"}
    assert said.reasons == {
        "b": "it did not vote within 0.3 s",
        "c": "RuntimeError: no",
        "d": "it answered 'yes', which is neither true nor false",
    }
    assert said.who(Vote.ABSTAINED) == ("b", "c", "d")


def test_what_is_certain_is_not_waited_for() -> None:
    """A vote that is still out is told as such, and nobody knows how it would have been."""
    said = consensus(
        list("abc"), 1, "weighted", 30, weights={"a": 3, "b": 1, "c": 1}, bench=Cast(a=yes, b=silent, c=silent)
    )
    assert (said.is_accepted, said.votes) == (True, {"a": "yes", "b": "pending", "c": "pending"})


def test_all_are_told_what_was_decided_if_that_is_asked_for() -> None:
    """Also those who did not vote."""
    cast = Cast(a=no, b=no, c=silent)
    said = consensus(["a", "b", "c"], "p", announce=True, announce_timeout=7, bench=cast)
    assert cast.spreads == [(("a", "b", "c"), "on_decision", ("p", False), 7)]
    assert said.announcement is not None


@pytest.mark.parametrize("fault", [EncodeError("x"), ConfigError("x"), TypeError("x")])
def test_what_is_wrong_with_the_question_is_raised(fault: Exception) -> None:
    """It is nobody's abstention."""

    def refused(*_: Any) -> None:
        raise fault

    with pytest.raises(type(fault)):
        consensus(["a", "b"], object(), bench=Cast(a=refused, b=yes))


@pytest.mark.parametrize("names", ["ab", [], [str(number) for number in range(257)]])
def test_who_is_to_be_asked_must_make_sense(names: Any) -> None:
    """Several names, and not too many."""
    if names == "ab":
        assert consensus(list(names), 1, bench=Cast(a=yes, b=yes))
        with pytest.raises(ValueError, match="agents is 'ab', expected the names of 1 to 256 agents"):
            distribute_work([], names, bench=Cast())
        return
    with pytest.raises(ValueError, match=r"bidders is .*, expected the names of 1 to 256 agents"):
        auction(1, names, bench=Cast())


# -- auctions


def test_bids_that_are_none_do_not_count() -> None:
    """Why is told; the reserve is the price of a single one."""
    bids: dict[str, Any] = {"a": 2, "b": None, "c": True, "d": float("nan"), "e": "9", "f": 1.5}
    cast = Cast(**{name: (lambda *_, bid=bid: bid) for name, bid in bids.items()}, g=failing, h=silent)
    said = auction("t", [*bids, "g", "h"], 0.3, reserve=1.75, bench=cast)
    assert (said.winner, said.price, said.bids) == ("a", 1.75, {"a": 2})
    assert said.silent == {
        "b": "it does not bid",
        "c": "it bid 'True', which is no number",
        "d": "it bid 'nan', which is no number",
        "e": "it bid '9', which is no number",
        "f": "it bid 1.5, below the reserve of 1.75",
        "g": "RuntimeError: no",
        "h": "it did not bid within 0.3 s",
    }
    assert not auction("t", ["g"], bench=Cast(g=failing))
    for wrong in (-1, True, float("nan")):
        with pytest.raises(ValueError, match=r"reserve is .*, expected a number of 0 or more"):
            auction("t", ["a"], reserve=wrong, bench=cast)


# -- trees


def test_a_level_is_told_when_the_one_above_has_been() -> None:
    """Also when some of that could not be."""
    cast = Cast()
    cast.away["b"] = Presence.ABSENT
    told: Any = hierarchy({"a": ["b", "c"]}).broadcast("h", 1, 2, confirm="acked", timeout=3, bench=cast)
    assert cast.spreads == [(("a",), "h", (1, 2), "acked", 3.0), (("b", "c"), "h", (1, 2), "acked", 3.0)]
    assert (told.ok, len(told), told[1].failed, [bool(level.failed) for level in told]) == (
        False, 2, ["b"], [False, True],
    )  # fmt: skip


# -- work


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
    assert "which is all its mailbox holds" in report.pieces[0].why
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
