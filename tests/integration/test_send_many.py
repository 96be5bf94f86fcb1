"""send_many and stream_many: one task many times, a chunk to a round trip, and each message with its receipt."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from celery.signals import before_task_publish
from kombu.exceptions import EncodeError

from hardening import send_many, stream_many
from hardening.core.errors import ConfigError, PublishFailed, SendManyFailed, SpoolFull
from hardening.core.scripts import Script
from hardening.delivery.fallback import fallback_of
from hardening.delivery.flusher import Report
from tests.faults.proxy import Proxy
from tests.integration.adding import add_of
from tests.integration.spooling import AWAY, app_for, receipts
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


def bodies(stage: Stage, list_key: str) -> list[Any]:
    """The arguments of what is queued, next to be taken first."""
    raws = stage.client.lrange(list_key, 0, -1)[::-1]
    return [json.loads(base64.b64decode(json.loads(raw)["body"]))[:2] for raw in raws]


def test_messages_are_sent_in_order_each_with_its_receipt(stage: Stage, add: Any) -> None:
    """In as few calls as there are chunks; the last may be smaller."""
    before = stage.client.info("commandstats")
    told: list[int] = []
    sent = send_many(add, ((number,) for number in range(25)), chunk=10, on_progress=told.append, kwargs={"y": 7})
    after = stage.client.info("commandstats")
    calls = [sum(stats[f"cmdstat_{name}"]["calls"] for name in ("eval", "evalsha") if f"cmdstat_{name}" in stats)
             for stats in (before, after)]  # fmt: skip
    assert calls[1] - calls[0] <= 4  # one more where the script was not cached yet
    assert told == [10, 20, 25]
    assert stage.state() == State(queued={"q": [receipt.id for receipt in sent]}, rung={"q"})
    assert bodies(stage, stage.list_key()) == [[[number], {"y": 7}] for number in range(25)]
    assert stage.ledger().counters == {"published": 25}
    details = [receipt.details() for receipt in sent]
    assert {one["task_id"] for one in details} == {receipt.id for receipt in sent}
    expected = {"task": "add", "queue": stage.list_key(), "guarantee": "at_least_once", "state": "queued"}
    assert [one for one in details if not expected.items() <= one.items()] == []
    assert [change.state for change in sent[0].history()] == ["queued"]


def test_nothing_is_nothing(stage: Stage, add: Any) -> None:
    """And so is what nobody asks a stream for."""
    told: list[int] = []
    assert send_many(add, [], on_progress=told.append) == []
    stream_many(add, [(1,)])
    assert told == []
    assert stage.state() == State()


def test_options_and_metadata_are_for_all(stage: Stage, add: Any) -> None:
    """As for one."""
    options: dict[str, Any] = {"countdown": 3600, "headers": {"tenant": "acme"}, "priority": 6}
    sent = send_many(add, [(1,), (2,)], metadata={"why": "test"}, **options)
    assert sorted(stage.state().scheduled) == sorted(receipt.id for receipt in sent)
    assert [receipt.status() for receipt in sent] == ["scheduled", "scheduled"]
    entries = list(stage.client.hgetall(stage.keys.scheduled_messages).values())
    payloads = [json.loads(entry[entry.index(b"{") :]) for entry in entries]
    assert {payload["headers"]["tenant"] for payload in payloads} == {"acme"}
    assert [payload["headers"]["hardening_metadata"] for payload in payloads] == [{"why": "test"}] * 2
    assert [payload["properties"]["priority"] for payload in payloads] == [6, 6]
    assert options["headers"] == {"tenant": "acme"}


@pytest.mark.parametrize("how", ["name", "signature", "listened"])
def test_what_no_template_serves_is_sent_one_by_one(shop: Celery, stage: Stage, add: Any, how: str) -> None:
    """By name, as a signature, or where somebody listens to each publication."""
    heard: list[str] = []

    def listener(headers: dict[str, Any], **_: Any) -> None:
        heard.append(headers["id"])

    before_task_publish.connect(listener)
    try:
        if how != "listened":
            before_task_publish.disconnect(listener)
        task = {"name": "add", "signature": add.s(y=3), "listened": add}[how]
        sent = send_many(task, [(1,), (2,), (3,)], chunk=2, app=shop)
    finally:
        before_task_publish.disconnect(listener)
    assert stage.state() == State(queued={"q": [receipt.id for receipt in sent]}, rung={"q"})
    assert [body[0] for body in bodies(stage, stage.list_key())] == [[1], [2], [3]]
    assert heard == ([receipt.id for receipt in sent] if how == "listened" else [])


def test_a_bad_item_is_told_by_itself_and_its_neighbours_are_sent(stage: Stage, add: Any) -> None:
    """Up to the end of its chunk; what comes after it is not tried."""
    items: Any = [(1,), (2, 3, 4), (object(),), "56", (5,), (6,)]
    rest = iter(items)
    with pytest.raises(SendManyFailed) as raised:
        send_many(add, rest, chunk=5)
    failed = raised.value
    assert [(one.index, type(one.error)) for one in failed.failures] == [
        (1, TypeError),
        (2, EncodeError),
        (3, TypeError),
    ]
    assert [one.args for one in failed.failures] == items[1:4]
    assert "an item is a str, expected a tuple or list" in str(failed.failures[2].error)
    assert (failed.sent, len(failed.receipts)) == (2, 2)
    assert str(failed).startswith("3 message(s) of add were not sent, the first at 1: ")
    assert str(failed).endswith("; 2 were")
    assert stage.state() == State(queued={"q": [receipt.id for receipt in failed.receipts]}, rung={"q"})
    assert bodies(stage, stage.list_key()) == [[[1], {}], [[5], {}]]
    assert list(rest) == [(6,)]


def test_a_bad_item_is_told_also_where_each_is_sent_alone(shop: Celery, stage: Stage) -> None:
    """As in a chunk."""
    with pytest.raises(SendManyFailed) as raised:
        send_many("add", [(1,), (object(),), (3,)], app=shop)
    assert [one.index for one in raised.value.failures] == [1]
    assert stage.state().queued == {"q": [receipt.id for receipt in raised.value.receipts]}
    assert raised.value.sent == 2


@pytest.mark.parametrize("chunk", [1, 2, 10])
def test_an_iterable_that_raises_loses_nothing_that_it_gave(stage: Stage, add: Any, chunk: int) -> None:
    """What came before it is sent, and told of."""

    def broken() -> Iterator[tuple[int]]:
        yield from [(1,), (2,), (3,)]
        raise KeyError("no more")

    with pytest.raises(SendManyFailed, match="for the iterable or on_progress raised; 3 were") as raised:
        send_many(add, broken(), chunk=chunk)
    assert isinstance(raised.value.__cause__, KeyError)
    assert stage.state().queued == {"q": [receipt.id for receipt in raised.value.receipts]}
    with pytest.raises(KeyError, match="no more"):
        list(stream_many(add, broken(), chunk=chunk))
    assert stage.ledger().counters == {"published": 6}


def test_progress_that_raises_loses_no_receipt(stage: Stage, add: Any) -> None:
    """Of the chunk of which it was told, and of those before it; the next is not sent."""

    def full(sent: int) -> None:
        if sent == 4:
            raise OSError("no room for the bar")

    with pytest.raises(SendManyFailed) as raised:
        send_many(add, ((number,) for number in range(9)), chunk=2, on_progress=full)
    assert isinstance(raised.value.__cause__, OSError)
    assert (raised.value.sent, raised.value.failures) == (4, ())
    assert stage.state() == State(queued={"q": [receipt.id for receipt in raised.value.receipts]}, rung={"q"})
    assert len(raised.value.receipts) == 4


def test_a_stream_sends_as_it_is_read(stage: Stage, add: Any) -> None:
    """A chunk at a time, and takes no more of its iterable than that."""
    taken: list[int] = []

    def items() -> Iterator[tuple[int]]:
        for number in range(100):
            taken.append(number)
            yield (number,)

    stream = stream_many(add, items(), chunk=10)
    assert taken == []
    first = next(stream)
    assert (len(taken), stage.ledger().counters) == (10, {"published": 10})
    assert stage.state().queued["q"][0] == first.id
    for _ in range(10):
        next(stream)
    assert (len(taken), stage.ledger().counters) == (20, {"published": 20})


@pytest.mark.one_server
def test_a_stream_needs_no_more_memory_for_more_messages(add: Any) -> None:
    """The most that it holds is a chunk."""

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            for _ in stream_many(add, ((number,) for number in range(count)), chunk=50):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(200)
    assert peak(4_000) < 1.5 * peak(400)


def test_large_messages_are_published_in_smaller_calls(stage: Stage, shop: Celery) -> None:
    """So that one call does not hold Redis up for long."""

    @shop.task(name="store", shared=False)
    def store(text: str) -> None:
        pass

    before = stage.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    sent = send_many(store, [("x" * 400_000,)] * 5)
    after = stage.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert 4 <= after - before <= 6
    assert stage.state().queued == {"q": [receipt.id for receipt in sent]}


@pytest.mark.parametrize("after_reply", [True, False], ids=["reply-lost", "call-lost"])
def test_a_chunk_that_is_cut_off_is_sent_once(server: EmbeddedRedis, stage: Stage, *, after_reply: bool) -> None:
    """Each message of it: the receipts tell the repeat apart."""
    with Proxy(server.broker_url) as proxy:
        task = add_of(app_for(proxy.url, stage.prefix))
        warm = send_many(task, [(0,)])
        proxy.cut_when(Script.load("publish_many").sha.encode(), after_reply=after_reply)
        sent = send_many(task, [(1,), (2,), (3,)], on_error="raise")
    assert stage.state() == State(queued={"q": [receipt.id for receipt in warm + sent]}, rung={"q"})
    assert stage.ledger().counters == {"published": 4}


@pytest.mark.usefixtures("quiet")
def test_what_redis_is_not_there_to_take_is_spooled(server: EmbeddedRedis, stage: Stage) -> None:
    """Message by message, and is one message each after the flush."""
    app = app_for(AWAY, stage.prefix)
    sent = send_many(add_of(app), [(1,), (2,), (3,)], chunk=2, retries=1)
    assert [receipt.status() for receipt in sent] == ["spooled"] * 3
    assert receipts(fallback_of(app).spool) == [receipt.id for receipt in sent]
    back = app_for(server.broker_url, stage.prefix)
    fallback_of(back).spool.adopt()
    assert fallback_of(back).flusher.run_once() == Report(flushed=3)
    assert stage.state() == State(queued={"q": [receipt.id for receipt in sent]}, rung={"q"})
    assert bodies(stage, stage.list_key()) == [[[1], {}], [[2], {}], [[3], {}]]


@pytest.mark.usefixtures("quiet")
def test_a_chunk_that_may_have_been_taken_is_spooled_as_uncertain(server: EmbeddedRedis, stage: Stage) -> None:
    """The flush must know, once receipts have expired; here they have not, and tell the repeats."""
    with Proxy(server.broker_url) as proxy:
        app = app_for(proxy.url, stage.prefix)
        send_many(add_of(app), [(0,)])
        proxy.cut_when(Script.load("publish_many").sha.encode(), after_reply=True)
        send_many(app.tasks["add"], [(1,), (2,)], retries=0)
        assert [one.is_uncertain for one in fallback_of(app).spool.batch()] == [True, True]
        assert fallback_of(app).flusher.run_once() == Report(flushed=2, repeated=2)
    assert stage.ledger().counters == {"published": 3}


@pytest.mark.usefixtures("quiet")
def test_what_the_spool_has_no_room_for_is_told(prefix: str) -> None:
    """By message; those before it are safe."""
    app = app_for(AWAY, prefix, hardening_spool_max_messages=2)
    with pytest.raises(SendManyFailed) as raised:
        send_many(add_of(app), [(1,), (2,), (3,), (4,)], retries=0)
    assert [(one.index, type(one.error.__cause__)) for one in raised.value.failures] == [(2, SpoolFull), (3, SpoolFull)]
    assert [receipt.status() for receipt in raised.value.receipts] == ["spooled", "spooled"]
    assert raised.value.sent == 2


@pytest.mark.parametrize("on_error", ["dead_letter", "raise", "log", "ignore"])
def test_what_redis_refuses_is_told_as_was_asked(
    stage: Stage, add: Any, on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Of each message; nothing of the chunk is left behind."""
    stage.client.set(stage.list_key(), "a string")
    told: list[int] = []
    if on_error in ("log", "ignore"):
        sent = send_many(add, [(1,), (2,)], on_error=on_error, on_progress=told.append)
        assert [receipt.status() for receipt in sent] == ["unknown", "unknown"]
    else:
        with pytest.raises(SendManyFailed) as raised:
            send_many(add, [(1,), (2,)], on_error=on_error, on_progress=told.append)
        assert [(one.index, type(one.error)) for one in raised.value.failures] == [
            (0, PublishFailed),
            (1, PublishFailed),
        ]
        assert "WRONGTYPE" in str(raised.value)
        assert raised.value.receipts == []
    assert told == [0]
    assert ["was not published" in text for text in caplog.messages] == [True, True] * (on_error == "log")
    assert stage.client.keys(f"{stage.prefix}*") == [stage.list_key().encode()]


@pytest.mark.parametrize("chunk", [0, -1, 1001])
def test_a_chunk_that_makes_no_sense_is_refused(add: Any, chunk: int) -> None:
    """Before anything is sent, also by a stream that nobody reads."""
    with pytest.raises(ValueError, match=f"chunk is {chunk}, expected 1 to 1000"):
        stream_many(add, [(1,)], chunk=chunk)


@pytest.mark.parametrize("option", ["idempotency_key", "idempotency_window", "task_id", "confirm"])
def test_what_is_for_one_message_is_refused(add: Any, option: str) -> None:
    """It would make all of them the same."""
    options: dict[str, Any] = {option: "x"}
    with pytest.raises(TypeError, match=f"{option} is for one message"):
        stream_many(add, [(1,)], **options)


def test_an_app_that_is_not_hardened_sends_none(add: Any) -> None:
    """As it sends not one."""
    from celery import Celery  # noqa: PLC0415

    plain = Celery("plain", set_as_current=False)
    with pytest.raises(ConfigError, match="is not hardened"):
        send_many("add", [(1,)], app=plain)
    assert add.app is not plain
