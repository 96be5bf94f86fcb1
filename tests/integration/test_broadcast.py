"""broadcast: one task to several recipients, each with a message and a receipt of its own."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import QueueNotFound
from celery.signals import after_task_publish, before_task_publish
from kombu import Exchange, Queue
from kombu.exceptions import EncodeError

from hardening import broadcast, supervised_send
from hardening.core.errors import BroadcastFailed, BroadcastRefused, ConfigError, RecipientRefused
from hardening.core.raw import message_id
from hardening.core.scripts import Script
from hardening.core.scripts.broadcasting import consume
from hardening.delivery import agent, worker
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.integration.adding import add_of
from tests.integration.spooling import app_for
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis


def listening(**_: Any) -> None:
    """Somebody who wants to see each publication."""


def names(stage: Stage, *queues: str) -> list[str]:
    """Queues of the stage."""
    return [stage.list_key(queue) for queue in queues]


def live(stage: Stage, *queues: str) -> None:
    """A consumer takes from these."""
    stage.join("v")
    stage.run(consume(stage.keys, "v", names(stage, *queues)))


def payload(stage: Stage, list_key: str) -> tuple[dict[str, Any], str]:
    """The one message of a list, and its receipt's id."""
    (raw,) = stage.client.lrange(list_key, 0, -1)
    told = json.loads(raw)
    return told, told["headers"]["hardening_receipt"]


def plain(told: tuple[dict[str, Any], str], raw_id: str) -> str:
    """A message with its own ids named."""
    message, receipt = told
    return json.dumps(message, sort_keys=True).replace(receipt, "r").replace(raw_id, "m")


@pytest.mark.parametrize("strategy", ["best_effort", "at_least_one", "all_or_nothing"])
def test_each_recipient_gets_a_message_with_a_receipt(stage: Stage, add: Any, strategy: Any) -> None:
    """One for each queue, whoever is named twice; the result finds it by its recipient."""
    queue_of_agent = agent(f"x{stage.prefix}")
    live(stage, "a", "b")
    stage.run(consume(stage.keys, "v", [*names(stage, "a", "b"), queue_of_agent.queue]))
    a, b = names(stage, "a", "b")
    result = broadcast(add, [a, b, queue_of_agent, a], (1,), {"y": 2}, strategy=strategy)
    assert result.ok
    assert (result.task, result.strategy, result.confirm) == ("add", strategy, "queued")
    assert [(one.recipient.queue, one.status, one.state) for one in result] == [
        (queue, "confirmed", "queued") for queue in (a, b, queue_of_agent.queue)
    ]
    assert result.failed == []
    assert stage.state().queued["a"] == [result[a].receipt.id]
    assert [payload(stage, one.recipient.queue)[1] for one in result] == [one.id for one in result.receipts]
    assert {one.receipt.status() for one in result} == {"queued"}
    expected = {"task": "add", "queue": b, "task_id": result[b].receipt.id, "guarantee": "at_least_once"}
    assert expected.items() <= result[b].receipt.details().items()
    assert stage.ledger().counters == {"published": 3}


@pytest.mark.parametrize("queue", ["a", 'with "quotes" and \\ and \u00fcml\u00e4ut', "declared"])
@pytest.mark.parametrize("options", [{}, {"priority": 6, "headers": {"tenant": "acme"}, "compression": "zlib"}])
def test_a_copy_is_the_message_that_celery_makes(
    shop: Celery, stage: Stage, add: Any, queue: str, options: dict[str, Any]
) -> None:
    """But for its ids: of a template, and by itself, where somebody listens."""
    name = stage.list_key(queue)
    if queue == "declared":
        shop.amqp.queues.add(Queue(name, Exchange("other"), "key"))
    list_key = stage.list_key(queue, options.get("priority", 0))
    told = []
    for way in ("alone", "template", "listened"):
        if way == "alone":
            supervised_send(add, (1,), {"y": 2}, queue=name, metadata={"m": 1}, **options)
        elif way == "template":
            broadcast(add, [name], (1,), {"y": 2}, metadata={"m": 1}, **options)
        else:
            before_task_publish.connect(listening)
            broadcast(add, [name], (1,), {"y": 2}, metadata={"m": 1}, **options)
            before_task_publish.disconnect(listening)
        (raw,) = stage.client.lrange(list_key, 0, -1)
        told.append(plain(payload(stage, list_key), message_id(raw)))
        stage.client.delete(list_key)
    assert told[0] == told[1] == told[2]
    assert '"hardening_metadata": {"m": 1}' in told[0]


def test_celery_need_not_remember_the_queues(shop: Celery, stage: Stage, add: Any) -> None:
    """A service that sends to a queue for each customer would never forget one."""
    for task in (add, "add"):
        assert broadcast(task, names(stage, "a", "b"), (1,), app=shop).ok
    assert stage.list_key("a") not in shop.amqp.queues


def test_a_queue_whose_exchange_only_redis_knows_is_looked_up(shop: Celery, stage: Stage, add: Any) -> None:
    """Before anything is published: one that leads nowhere has nobody get anything."""
    topic = stage.list_key("topic")
    shop.amqp.queues.add(Queue(topic, Exchange(topic, "topic"), "key.#"))
    result = broadcast(add, names(stage, "a", "topic"), (1,))
    assert result.ok
    assert stage.state().queued == {"a": [result.receipts[0].id], "topic": [result.receipts[1].id]}
    fan = stage.list_key("fan")
    shop.amqp.queues.add(Queue(fan, Exchange(fan, "topic"), "other.key", bindings=()))
    shop.amqp.queues.add(Queue(f"{fan}2", Exchange(fan, "topic"), "other.key"))
    with pytest.raises(ConfigError, match="leads to 2 queues"):
        broadcast(add, names(stage, "b", "fan"), (1,))
    assert set(stage.state().queued) == {"a", "topic"}


def test_a_message_that_would_go_elsewhere_is_not_sent(shop: Celery, stage: Stage) -> None:
    """Celery lets the exchange that a route names win over the queue that a sender names."""
    elsewhere = Queue(stage.list_key("elsewhere"), Exchange(stage.list_key("x"), "direct"), "key")
    shop.amqp.queues.add(elsewhere)

    shop.conf.task_routes = {"stubborn": {"exchange": elsewhere.exchange.name, "routing_key": "key"}}

    @shop.task(name="stubborn", shared=False)
    def stubborn() -> None: ...

    @shop.task(name="silent", shared=False)
    def silent() -> None: ...

    vars(silent)["apply_async"] = lambda *_, **__: None
    with pytest.raises(
        ConfigError, match=r"the message for queue .*\.a goes to queue .*\.elsewhere: its route has an ex"
    ):
        broadcast(stubborn, names(stage, "a", "b"))
    with pytest.raises(ConfigError, match="goes to nowhere: its route has an exchange"):
        broadcast(silent, names(stage, "a", "b"))
    assert stage.state() == State()


def test_whatever_is_wrong_with_the_message_is_raised_before_anything_is_sent(
    shop: Celery, stage: Stage, add: Any
) -> None:
    """As a single send raises it."""
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        broadcast(add, names(stage, "a"))
    with pytest.raises(EncodeError):
        broadcast(add, names(stage, "a"), (object(),))
    shop.conf.task_create_missing_queues = False
    declared: Any = shop.amqp.queues
    declared.create_missing = False
    with pytest.raises(QueueNotFound):
        broadcast(add, names(stage, "q", "undeclared"), (1,))
    assert stage.state() == State()


@pytest.mark.parametrize("on_error", ["dead_letter", "raise", "log", "ignore"])
def test_nobody_gets_what_one_cannot_have(
    stage: Stage, add: Any, on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """All or nothing: who cannot is named, and it is told as was asked."""
    live(stage, "a", "c")
    before = stage.state()
    abc = names(stage, "a", "b", "c")
    if on_error in ("log", "ignore"):
        result = broadcast(add, abc, (1,), strategy="all_or_nothing", on_error=on_error)
    else:
        with pytest.raises(BroadcastRefused, match=f"no live consumer takes from {abc[1]}") as raised:
            broadcast(add, abc, (1,), strategy="all_or_nothing", on_error=on_error)
        result = raised.value.result
    assert [one.status for one in result] == ["withheld", "refused", "withheld"]
    error = result[abc[1]].error
    assert isinstance(error, RecipientRefused)
    assert (error.recipient, error.reason) == (f"queue {abc[1]}", "no_consumer")
    assert [one.receipt.status() for one in result] == ["unknown"] * 3
    assert stage.state() == before
    assert ["nothing of add was published" in text for text in caplog.messages] == [True] * (on_error == "log")


def test_a_key_that_is_no_queue_is_told(stage: Stage, add: Any) -> None:
    """The others get theirs."""
    stage.client.set(stage.list_key("b"), "text")
    result = broadcast(add, names(stage, "a", "b", "c"), (1,))
    assert [one.status for one in result] == ["confirmed", "refused", "confirmed"]
    assert str(result.failed[0]).startswith(
        f"queue {stage.list_key('b')} cannot have its message: the key '{stage.list_key('b')}' in Redis is no list"
    )
    stage.client.delete(stage.list_key("b"))
    assert set(stage.state().queued) == {"a", "c"}


def test_a_worker_must_take_from_its_direct_queue(stage: Stage, add: Any) -> None:
    """Whatever the strategy: what nobody will ever take is not sent."""
    there, gone = worker(f"w@{stage.prefix}"), worker(f"x@{stage.prefix}")
    stage.join("v")
    stage.run(consume(stage.keys, "v", [there.queue]))
    result = broadcast(add, [there, gone, stage.list_key("a")], (1,))
    assert [one.status for one in result] == ["confirmed", "refused", "confirmed"]
    assert f"celery control add_consumer {gone.queue} -d x@{stage.prefix}" in str(result[gone].error)
    assert stage.client.llen(there.queue) == 1
    with pytest.raises(BroadcastFailed, match="does not take from its direct queue"):
        broadcast(add, [gone], (1,), strategy="at_least_one")


@pytest.mark.parametrize("after_reply", [True, False], ids=["reply-lost", "call-lost"])
@pytest.mark.parametrize("can", [True, False])
@pytest.mark.parametrize("strategy", ["best_effort", "all_or_nothing"])
def test_a_broadcast_that_is_cut_is_one_broadcast(
    server: EmbeddedRedis, stage: Stage, strategy: Any, can: bool, after_reply: bool
) -> None:
    """The sender cannot know whether Redis has it, and tries again: it is told what it would have been told."""
    live(stage, "a", *["b"] * can)
    with Proxy(server.broker_url) as proxy:
        add = add_of(app_for(proxy.url, stage.prefix))
        broadcast(add, names(stage, "warm"), (1,))
        proxy.cut_when(Script.load("broadcast").sha.encode(), after_reply=after_reply)
        result = broadcast(add, names(stage, "a", "b"), (1,), strategy=strategy, on_error="ignore")
        assert proxy.cuts == 1
    is_sent = can or strategy == "best_effort"
    assert [one.status for one in result] == (["confirmed"] * 2 if is_sent else ["withheld", "refused"])
    del stage.state().queued["warm"]
    queued = {name: ids for name, ids in stage.state().queued.items() if name != "warm"}
    assert queued == ({"a": [result.receipts[0].id], "b": [result.receipts[1].id]} if is_sent else {})
    assert stage.ledger().counters == {"published": 3 if is_sent else 1}


def test_celerys_signals_and_events_tell_of_each_message(shop: Celery, stage: Stage, add: Any) -> None:
    """Once; the events that monitors read only of what was published."""
    shop.conf.task_send_sent_event = True
    heard: list[str] = []
    told: list[str] = []

    def before(headers: dict[str, Any], **_: Any) -> None:
        heard.append(headers["id"])

    def after(headers: dict[str, Any], **_: Any) -> None:
        told.append(headers["id"])

    sent: list[str] = []

    def listen() -> None:
        def hear(event: dict[str, Any]) -> None:
            sent.append(event["uuid"])
            receiver.should_stop = event["uuid"] == "the-last"

        with shop.connection_for_read() as connection:
            receiver = shop.events.Receiver(connection, handlers={"task-sent": hear})
            receiver.capture(limit=None, timeout=20, wakeup=False)

    listeners = stage.client.pubsub_numpat()
    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: stage.client.pubsub_numpat() > listeners)
    before_task_publish.connect(before)
    after_task_publish.connect(after)
    try:
        result = broadcast(add, names(stage, "a", "b"), (1,))
        with pytest.raises(BroadcastRefused):
            broadcast(add, names(stage, "a", "b"), (1,), strategy="all_or_nothing")
    finally:
        before_task_publish.disconnect(before)
        after_task_publish.disconnect(after)
    supervised_send(add, (1,), task_id="the-last")
    thread.join(20)
    ids = [one.id for one in result.receipts]
    assert sent == [*ids, "the-last"]
    assert (heard[:2], told[:2], len(heard), len(told)) == (ids, ids, 4, 4)


def test_a_thousand_recipients_are_four_calls(stage: Stage, add: Any) -> None:
    """And large messages a call for each mebibyte."""
    many = [stage.list_key(f"q{number}") for number in range(1000)]
    broadcast(add, many[:1], (1,))  # caches the script

    def calls(recipients: list[str], arg: Any) -> int:
        before = stage.client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert broadcast(add, recipients, (arg,)).ok
        return int(stage.client.info("commandstats")["cmdstat_evalsha"]["calls"] - before)

    assert calls(many, 1) == 4
    assert calls(many[:8], "x" * 300_000) == 4
    assert [stage.client.llen(one) for one in many[8:]] == [1] * 992
