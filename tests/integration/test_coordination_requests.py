"""Requests to agents that answer, or not: what comes of each, and that nothing is handled twice."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination import Reply, RequestManager, RequestsFull
from hardening.agents.errors import AgentHalted, AskFailed, AskTimeout
from hardening.core import telemetry
from hardening.core.errors import CancelFailed, ConfigError, MailboxFull, PublishFailed
from hardening.delivery.receipt import DeliveryStatus
from tests.eventually import eventually
from tests.forked import forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

pytestmark = pytest.mark.one_server


class Receipt:
    """Of one message, in a state of which the test is told."""

    def __init__(self, key: str, state: str, reason: str = "", *before: str) -> None:
        self.id, self.state, self.reason, self.before = key, state, reason, before
        self.error: Exception | None = None

    def cancel(self, timeout: float) -> bool:
        """If nobody has begun it."""
        assert timeout == 5.0
        if self.error:
            raise self.error
        if self.state == "queued":
            self.state, self.reason = "dead", "cancelled"
        return self.reason == "cancelled"

    def details(self) -> dict[str, str]:
        """Where it is."""
        return {"state": self.state, "reason": self.reason}

    def history(self) -> list[Any]:
        """Where it was."""
        return [SimpleNamespace(state=DeliveryStatus(state)) for state in self.before]


class Cast:
    """Agents, by how they answer; what is sent to them, by key."""

    def __init__(self) -> None:
        self.answer: Callable[[str, tuple[Any, ...]], Any] = lambda _, args: args[0]
        self.sent: dict[str, Any] = {}
        self.buried: list[tuple[Any, ...]] = []
        self.asked: list[tuple[str, Any]] = []
        self.is_away = False
        self.mutex = threading.Lock()

    def ask(self, agent: str, handler: str, *args: Any, timeout: float, key: str | None = None) -> Any:
        """Its message is there by then."""
        assert (handler, timeout) == ("do", 0.5)
        with self.mutex:
            self.asked.append((agent, args[0]))
            self.sent.setdefault(str(key), Receipt(str(key), "queued"))
        return self.answer(agent, args)

    def give(self, agent: str, handler: str, args: tuple[Any, ...], key: str) -> Any:
        """The first of a key."""
        assert (agent, handler, args) == ("a", "do", (1,))
        return self.sent.setdefault(key, Receipt(key, "queued"))

    def bury(self, *said: Any) -> str:
        """A dead letter."""
        if self.is_away:
            raise RedisConnectionError("away")
        self.buried.append(said)
        return "7-0"


@pytest.fixture
def cast() -> Cast:
    """Agents that answer."""
    return Cast()


@pytest.fixture
def requests(app: Celery, cast: Cast) -> RequestManager:
    """To them; nobody waits long."""
    return RequestManager(app, timeout=0.5, buffer=3, bench=cast)


@pytest.fixture
def told() -> Iterator[list[telemetry.Event]]:
    """What is emitted."""
    with telemetry.capture("hardening.request") as events:
        yield events


def late(cast: Cast, receipt: Receipt | None = None) -> None:
    """From now on nobody answers; what was asked is in some state."""

    def silent(*_: Any) -> None:
        if receipt is not None:
            cast.sent[receipt.id] = receipt
        raise AskTimeout("a", "do", 0.5, "k")

    cast.answer = silent


def test_what_is_answered_is_answered(requests: RequestManager, cast: Cast, told: list[telemetry.Event]) -> None:
    """In order, for each agent."""
    futures = [requests.submit("a", "do", number) for number in range(3)]
    assert [future.result(10).value for future in futures] == [0, 1, 2]
    reply = requests.ask("b", "do", "x", key="k")
    assert (reply.is_answered, reply.value, reply.receipt, reply.agent) == (True, "x", None, "b")
    assert cast.asked == [("a", 0), ("a", 1), ("a", 2), ("b", "x")]
    assert not told
    eventually(lambda: not requests.waiting("a") and not requests._lines)


def test_what_was_not_begun_in_time_is_cancelled_and_sent(
    requests: RequestManager, cast: Cast, told: list[telemetry.Event]
) -> None:
    """Under a key of its own, for an ask is not handled any more when its time is over; once, however often."""
    late(cast)
    for _ in range(2):
        reply = requests.ask("a", "do", 1, key="k")
        assert (reply.how, reply.receipt) == ("sent", cast.sent["k#sent"])
    assert {key: (one.state, one.reason) for key, one in cast.sent.items()} == {
        "k": ("dead", "cancelled"), "k#sent": ("queued", ""),
    }  # fmt: skip
    assert [(event.receipt, event.agent) for event in told] == [("k#sent", "a")] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("receipt", "how", "key"),
    [
        (Receipt("k", "started"), "begun", "k"),
        (Receipt("k", "acked"), "begun", "k"),
        (Receipt("k", "dead", "expired"), "sent", "k#sent"),
        (Receipt("k", "dead", "expired", "queued", "started"), "unsettled", "k"),
    ],
)
def test_what_was_begun_is_not_sent_again(
    requests: RequestManager, cast: Cast, receipt: Any, how: str, key: str
) -> None:
    """What has expired was not, unless it had been before."""
    late(cast, receipt)
    reply = requests.ask("a", "do", 1, key="k")
    assert (reply.how, reply.receipt) == (how, cast.sent[key])
    assert set(cast.sent) == {"k", key}


def test_what_cannot_be_settled_is_not_sent_again(requests: RequestManager, cast: Cast) -> None:
    """Its receipt follows it."""
    receipt: Any = Receipt("k", "claimed")
    receipt.error = CancelFailed("k", RedisConnectionError("away"))
    late(cast, receipt)
    reply = requests.ask("a", "do", 1, key="k")
    assert (reply.how, reply.receipt, set(cast.sent)) == ("unsettled", receipt, {"k"})


def test_what_failed_has_failed(requests: RequestManager, cast: Cast) -> None:
    """Whether the agent says so, or its receipt."""
    late(cast, Receipt("k", "dead", "failed"))
    with pytest.raises(AskFailed, match="failed to do: failed: the message is dead, see receipt k"):
        requests.ask("a", "do", 1, key="k")
    for error in (AskFailed("a", "do", "ValueError", "x"), MailboxFull("k", "a", 1, 0.0), ConfigError("x")):

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        cast.answer = fail
        with pytest.raises(type(error)) as raised:
            requests.ask("a", "do", 1)
        assert raised.value is error
    assert "k#sent" not in cast.sent


@pytest.mark.parametrize("error", [AgentHalted("a", "parked"), AskFailed("a", "do", "cancelled", "x")])
def test_one_that_takes_no_messages_finds_it_when_it_does_again(
    requests: RequestManager, cast: Cast, error: Exception
) -> None:
    """As does one whose message of that name was cancelled before."""

    def fail(*_: Any) -> None:
        raise error

    cast.answer = fail
    assert requests.ask("a", "do", 1, key="k").receipt is cast.sent["k#sent"]


def test_while_redis_is_away_the_key_is_the_same(requests: RequestManager, cast: Cast) -> None:
    """For the ask may have been published all the same."""

    def fail(*_: Any) -> None:
        raise PublishFailed("k", "t", 1, RedisConnectionError("away"))

    cast.answer = fail
    reply = requests.ask("a", "do", 1, key="k")
    assert (reply.how, reply.receipt, list(cast.sent)) == ("sent", cast.sent["k"], ["k"])


def test_one_that_never_answers_is_not_asked_for_a_while(
    requests: RequestManager, cast: Cast, told: list[telemetry.Event]
) -> None:
    """Its breaker is open, and no other's: requests go to its mailbox at once."""
    late(cast)
    replies: list[Reply] = []

    def is_open() -> bool:  # failures are told to Redis in the background
        replies.append(requests.ask("a", "do", 1, key=f"k{len(replies)}"))
        return "is open" in told[-1].why  # type: ignore[attr-defined]

    eventually(is_open)
    asks = len(replies)
    assert replies[-1].receipt is cast.sent[f"k{asks - 1}"]
    assert cast.sent[f"k{asks - 1}"].state == "queued"
    assert len(cast.asked) == asks - 1
    cast.sent["old"] = Receipt("old", "dead", "expired")
    assert requests.ask("a", "do", 1, key="old").receipt is cast.sent["old#sent"]
    cast.answer = lambda _, args: args[0]
    assert requests.ask("b", "do", 2).value == 2
    assert requests.ask("x@" + "y" * 100, "do", 3).value == 3  # longer than the name of a breaker may be


def test_one_more_than_there_is_room_for_is_a_dead_letter(
    requests: RequestManager, cast: Cast, told: list[telemetry.Event]
) -> None:
    """Those that wait are asked all the same, but for one that is cancelled here. Others have room of their own."""
    gate = threading.Event()
    cast.answer = lambda agent, args: (gate.wait(10) if agent == "a" else None, args[0])[1]
    first = requests.submit("a", "do", 0)
    eventually(lambda: cast.asked == [("a", 0)])
    waiting = [requests.submit("a", "do", number) for number in (1, 2, 3)]
    with pytest.raises(
        RequestsFull, match="3 requests to agent a wait here already; this one is dead letter 7-0"
    ) as full:
        requests.submit("a", "do", 4)
    assert (full.value.agent, full.value.bound, full.value.letter) == ("a", 3, "7-0")
    cast.is_away = True
    with pytest.raises(RequestsFull, match="this one is nowhere, for Redis did not take it"):
        requests.submit("a", "do", 5)
    assert cast.buried == [("a", "do", (4,), "3 requests to agent a waited already")]
    assert [event.letter for event in told] == ["7-0", ""]  # type: ignore[attr-defined]
    assert requests.waiting("a") == 3
    assert waiting[1].cancel()
    assert requests.ask("b", "do", 9).value == 9
    gate.set()
    assert [future.result(10).value for future in (first, waiting[0], waiting[2])] == [0, 1, 3]
    assert ("a", 2) not in cast.asked


def test_a_machine_without_threads_leaves_nothing_waiting(
    requests: RequestManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be asked is told; the next is asked when there are threads again."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            requests.submit("a", "do", 1)
    assert requests.waiting("a") == 0
    assert requests.submit("a", "do", 2).result(10).value == 2


def test_a_child_begins_with_none_waiting(requests: RequestManager, cast: Cast) -> None:
    """Its parent's are its parent's; it asks by threads of its own."""
    gate = threading.Event()
    cast.answer = lambda _, args: (gate.wait(20), args[0])[1]
    mine = [requests.submit("a", "do", number) for number in range(2)]

    def child() -> bool:
        cast.mutex = threading.Lock()
        cast.answer = lambda _, args: args[0]
        return requests.waiting("a") == 0 and bool(requests.submit("a", "do", 7).result(10).value == 7)

    with requests._mutex:  # as a thread of the parent may
        assert forked(child, timeout_s=20) == 0
    gate.set()
    assert [future.result(10).value for future in mine] == [0, 1]


def test_what_makes_no_sense_is_refused(app: Celery, requests: RequestManager) -> None:
    """In one line."""
    for wrong in (0, True, "3"):
        with pytest.raises(ValueError, match=r"buffer is .*, expected how many requests may wait"):
            RequestManager(app, buffer=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"timeout is 0, expected seconds, from 0\.001"):
        RequestManager(app, timeout=0)
    with pytest.raises(ValueError, match="agent is '', expected a name"):
        requests.submit("", "do")
