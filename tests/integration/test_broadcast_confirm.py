"""Broadcasts that wait until their messages have got somewhere: one deadline for all of them."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import broadcast
from hardening.core.deployment import client_of
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import BroadcastFailed, ConfirmTimeout, MessageDied, NotReplicated, ReceiptNotFound
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.broadcasting import consume
from hardening.delivery import confirmations
from tests.eventually import eventually
from tests.integration.acting import WORKER, meanwhile
from tests.integration.spooling import app_for
from tests.integration.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

    from hardening import BroadcastResult

pytestmark = pytest.mark.one_server


@pytest.fixture
def shop(server: EmbeddedRedis, prefix: str) -> Celery:
    """An app on the stage's queue."""
    return app_for(server.broker_url, prefix)


def send(shop: Celery, stage: Stage, *queues: str, **options: Any) -> BroadcastResult:
    """To queues of the stage."""
    return broadcast("add", [stage.list_key(queue) for queue in queues], app=shop, **options)


def held_by(stage: Stage, queue: str) -> str:
    """The task of the one message a consumer of a queue takes."""
    before = set(stage.seqs(WORKER))
    stage.take(WORKER, 1, stage.list_key(queue))
    (task,) = set(stage.seqs(WORKER)) - before
    return task


def playing(*acts: tuple[str, str]) -> Callable[[Stage], None]:
    """A worker that takes a message of each queue in turn and does with it what is said: claim, start, ack or die."""

    def play(stage: Stage) -> None:
        stage.join(WORKER)
        for queue, deed in acts:
            task = held_by(stage, queue)
            if deed in ("start", "ack"):
                stage.begin(WORKER, task)
            if deed == "ack":
                stage.ack(WORKER, task)
            if deed == "die":
                stage.bury(WORKER, task)

    return play


@pytest.mark.parametrize(("confirm", "deed"), [("claimed", "claim"), ("started", "start"), ("acked", "ack")])
def test_a_broadcast_can_wait_for_all_its_messages(
    shop: Celery, server: EmbeddedRedis, stage: Stage, confirm: Any, deed: str
) -> None:
    """And returns when the last of them has got there."""
    began_s = boot_clock_s()
    with meanwhile(server, stage.prefix, playing(("b", deed), ("a", "ack"), ("c", deed))):
        result = send(shop, stage, "a", "b", "c", confirm=confirm, timeout=20, on_error="raise")
    assert result.ok
    assert boot_clock_s() - began_s < 10
    assert {one.status for one in result} == {"confirmed"}
    for one in result:
        assert confirm in [change.state for change in one.receipt.history()]
        assert one.error is None


def test_what_becomes_of_each_is_told(shop: Celery, server: EmbeddedRedis, stage: Stage) -> None:
    """Also with all or nothing: what is published is every message's own affair from there on."""
    stage.join("v")
    stage.run(consume(stage.keys, "v", [stage.list_key(name) for name in "abcd"]))
    began_s = boot_clock_s()
    with meanwhile(server, stage.prefix, playing(("a", "ack"), ("b", "die"), ("c", "start"))):
        result = send(shop, stage, *"abcd", strategy="all_or_nothing", confirm="acked", timeout=1.5)
    assert 1.4 < boot_clock_s() - began_s < 4
    assert not result.ok
    assert [(one.status, one.state) for one in result] == [
        ("confirmed", "acked"), ("dead", "dead"), ("late", "started"), ("late", "queued"),
    ]  # fmt: skip
    errors = [one.error for one in result.failed]
    assert [type(error) for error in errors] == [MessageDied, ConfirmTimeout, ConfirmTimeout]
    assert (errors[0].reason, errors[1].state) == ("failed", "started")  # type: ignore[union-attr]
    assert [one.prospect.partition(":")[0] for one in result.failed] == ["dead", "started", "queued"]
    with pytest.raises(BroadcastFailed, match="is not acked for 3 of them"):
        result.raise_for_failures()


@pytest.mark.parametrize("on_error", ["raise", "log", "ignore", "dead_letter"])
def test_what_is_late_is_told_as_was_asked(
    shop: Celery, stage: Stage, on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is safe: an error only to whoever asked for one."""
    if on_error == "raise":
        with pytest.raises(BroadcastFailed) as raised:
            send(shop, stage, "a", "b", confirm="acked", timeout=0.1, on_error=on_error)
        result = raised.value.result
    else:
        result = send(shop, stage, "a", "b", confirm="acked", timeout=0.1, on_error=on_error)
    assert {one.status for one in result} == {"late"}
    assert ["is not acked for 2 of them" in text for text in caplog.messages] == [True] * (on_error == "log")


def test_at_least_one_is_over_with_the_first(shop: Celery, server: EmbeddedRedis, stage: Stage) -> None:
    """Whoever it is; those that nobody waited for have not failed, the dead have."""
    began_s = boot_clock_s()
    with meanwhile(server, stage.prefix, playing(("a", "die"), ("b", "start"), ("d", "ack"))):
        result = send(shop, stage, *"abcd", strategy="at_least_one", confirm="acked", timeout=20)
    assert boot_clock_s() - began_s < 10
    assert result.ok
    told = [one.status for one in result]
    assert (told[1:], told[0] in ("dead", "pending")) == (["pending", "pending", "confirmed"], True)
    assert [one.recipient.queue for one in result.confirmed] == [stage.list_key("d")]


def test_at_least_one_fails_when_there_is_none(shop: Celery, server: EmbeddedRedis, stage: Stage) -> None:
    """As soon as all are dead, or when the time is over."""
    began_s = boot_clock_s()
    with (
        meanwhile(server, stage.prefix, playing(("a", "die"), ("b", "die"))),
        pytest.raises(BroadcastFailed, match="at_least_one, is not acked for 2 of them") as raised,
    ):
        send(shop, stage, "a", "b", strategy="at_least_one", confirm="acked", timeout=20)
    assert boot_clock_s() - began_s < 10
    assert [one.status for one in raised.value.result] == ["dead", "dead"]
    with pytest.raises(BroadcastFailed):
        send(shop, stage, "a", "b", strategy="at_least_one", confirm="acked", timeout=0.1)


@pytest.mark.parametrize("strategy", ["best_effort", "at_least_one"])
def test_a_thousand_recipients_share_one_deadline(shop: Celery, stage: Stage, strategy: Any) -> None:
    """It does not add up: that would be 2,000 s."""
    many = [f"q{number}" for number in range(1000)]
    send(shop, stage, "warm", confirm="acked", timeout=0.1)
    began_s = boot_clock_s()
    result = send(shop, stage, *many, strategy=strategy, confirm="acked", timeout=2.0, on_error="ignore")
    assert 1.9 < boot_clock_s() - began_s < 30
    assert {one.status for one in result} == {"late"}


def test_a_thousand_confirmations_are_few_looks(
    shop: Celery, server: EmbeddedRedis, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read when it changes, and news of many are read at once."""
    many = [f"q{number}" for number in range(300)]
    looks: list[int] = []
    look = confirmations.Confirmations._look

    def counted(self: confirmations.Confirmations, receipts: Any) -> None:
        asked = list(receipts)
        looks.append(len(asked))
        look(self, asked)

    monkeypatch.setattr(confirmations.Confirmations, "_look", counted)
    with meanwhile(server, stage.prefix, playing(*((name, "ack") for name in many))):
        result = send(shop, stage, *many, confirm="acked", timeout=60)
    assert result.ok
    assert looks[0] == 300
    assert sum(looks[1:]) < 300 * 8


def test_a_change_is_looked_at_once(
    shop: Celery, server: EmbeddedRedis, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a waiter would turn in circles after the first."""
    looks: list[list[str]] = []
    look = confirmations.Confirmations._look

    def counted(self: confirmations.Confirmations, receipts: Any) -> None:
        asked = list(receipts)
        looks.append(asked)
        look(self, asked)

    monkeypatch.setattr(confirmations.Confirmations, "_look", counted)
    with meanwhile(server, stage.prefix, playing(("a", "start"))):
        result = send(shop, stage, "a", "b", confirm="acked", timeout=1.0)
    assert [one.state for one in result] == ["started", "queued"]
    assert 2 <= len([asked for asked in looks if asked]) <= 4  # all, then the changes of one


def test_a_state_that_was_passed_is_reached(shop: Celery, server: EmbeddedRedis, stage: Stage) -> None:
    """A worker that gave the message back had claimed it."""

    def play(played: Stage) -> None:
        played.join(WORKER)
        played.release(WORKER, held_by(played, "a"))

    with meanwhile(server, stage.prefix, play):
        result = send(shop, stage, "a", confirm="claimed", timeout=20)
    assert (result.ok, result.outcomes[0].receipt.status()) == (True, "queued")


def test_a_receipt_that_is_gone_cannot_be_followed(server: EmbeddedRedis, stage: Stage) -> None:
    """Redis has lost it, or nobody changed it for longer than it is kept."""

    def lose(played: Stage) -> None:
        for key in played.client.scan_iter(f"{stage.prefix}:delivery:*", count=10_000):
            played.client.delete(key)

    shop = app_for(server.broker_url, stage.prefix, hardening_socket_timeout_s=0.5)
    with meanwhile(server, stage.prefix, lose):
        result = send(shop, stage, "a", confirm="acked", timeout=1.5)
    (one,) = result
    assert (one.status, one.state, type(one.error)) == ("late", "unknown", ReceiptNotFound)


def test_a_waiter_looks_again_before_nobody_tells_it_any_more(
    server: EmbeddedRedis, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes are told of for as long as a socket may take; all are looked at twice in that time."""
    shop = app_for(server.broker_url, stage.prefix, hardening_socket_timeout_s=0.5)
    looks: list[float] = []
    look = confirmations.Confirmations._look

    def counted(self: confirmations.Confirmations, receipts: Any) -> None:
        asked = list(receipts)
        if len(asked) == 2:
            looks.append(boot_clock_s())
        look(self, asked)

    monkeypatch.setattr(confirmations.Confirmations, "_look", counted)
    send(shop, stage, "a", "b", confirm="acked", timeout=2.0)
    assert 4 <= len(looks) <= 20


def test_a_waiter_survives_a_restart(binary: str, prefix: str, tmp_path: Any) -> None:
    """It goes on when Redis is back."""
    with EmbeddedRedis(server=binary, port=0, directory=tmp_path, config={"appendfsync": "always"}) as own:
        shop = app_for(own.broker_url, prefix)

        def play() -> None:
            with own.client() as client:
                eventually(lambda: client.info("clients")["blocked_clients"] >= 1)
            own.kill()
            own.restart()
            with own.client() as client:
                playing(("a", "ack"), ("b", "ack"))(Stage(client, prefix))

        thread = threading.Thread(target=play)
        thread.start()
        with own.client() as client:
            result = send(shop, Stage(client, prefix), "a", "b", confirm="acked", timeout=30)
        thread.join(20)
    assert result.ok


def test_a_redis_that_hangs_keeps_nobody_longer_than_was_asked(own_server: EmbeddedRedis, prefix: str) -> None:
    """Whatever the sockets' own timeout. What was last known of each is told."""
    shop = app_for(own_server.broker_url, prefix)

    def freeze(_: Stage) -> None:
        os.kill(own_server.pid, signal.SIGSTOP)

    began_s = boot_clock_s()
    try:
        with own_server.client() as client, meanwhile(own_server, prefix, freeze):
            result = send(shop, Stage(client, prefix), "a", "b", confirm="acked", timeout=1.2)
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    assert 1.1 < boot_clock_s() - began_s < 3
    assert [(one.status, one.state) for one in result] == [("late", "queued")] * 2


def test_time_that_is_up_is_one_look(shop: Celery, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And Redis being away by then is no error."""
    receipts = {one.id: one for one in send(shop, stage, "a").receipts}
    states = {receipt: one.status() for receipt, one in receipts.items()}
    late = confirmations.Confirmations(shop, states, "queued", boot_clock_s() - 1, is_one_enough=False)
    late.run()
    assert [one.is_reached for one in late.seen.values()] == [True]

    def gone(*_: Any, **__: Any) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(type(client_of(shop)), "pipeline", gone)
    away = confirmations.Confirmations(shop, states, "acked", boot_clock_s() - 1, is_one_enough=False)
    away.run()
    assert [one.is_over for one in away.seen.values()] == [False]


@pytest.fixture
def replicated(binary: str) -> Iterator[tuple[EmbeddedRedis, EmbeddedRedis]]:
    """A Redis and its replica, in step."""
    with (
        EmbeddedRedis(server=binary, port=0, config={"repl-diskless-sync-delay": "0"}) as master,
        EmbeddedRedis(server=binary, port=0) as replica,
        replica.client() as client,
        master.client() as asked,
    ):
        client.execute_command("REPLICAOF", *master.broker_url.split("//")[1].split("/")[0].split(":"))
        eventually(lambda: asked.execute_command("WAIT", 1, 100) == 1, 30)
        yield master, replica
        os.kill(replica.pid, signal.SIGCONT)


@pytest.mark.parametrize("strategy", ["best_effort", "all_or_nothing"])
def test_one_wait_is_for_all(replicated: tuple[EmbeddedRedis, EmbeddedRedis], prefix: str, strategy: Any) -> None:
    """The replica has every message, however many calls they took."""
    master, replica = replicated
    shop = app_for(master.broker_url, prefix)
    with master.client() as client, replica.client() as copy:
        stage = Stage(client, prefix)
        many = [f"q{number}" for number in range(1000 if strategy == "all_or_nothing" else 1200)]
        stage.join("v")
        stage.run(consume(stage.keys, "v", [stage.list_key(name) for name in many]))
        waits = client.info("commandstats")["cmdstat_wait"]["calls"]
        result = send(shop, stage, *many, strategy=strategy, confirm="replicated", on_error="raise", timeout=20)
        assert client.info("commandstats")["cmdstat_wait"]["calls"] == waits + 1
        assert {(one.status, one.receipt.replicas) for one in result} == {("confirmed", 1)}
        assert [copy.llen(stage.list_key(name)) for name in many] == [1] * len(many)
        os.kill(replica.pid, signal.SIGSTOP)
        late = send(shop, stage, "q1", "q2", strategy=strategy, confirm="replicated", timeout=0.5)
        assert [(one.status, one.state, one.receipt.replicas) for one in late] == [("late", "queued", 0)] * 2
        assert {type(one.error) for one in late} == {NotReplicated}
        assert stage.ledger().counters == {"published": len(many) + 2}
