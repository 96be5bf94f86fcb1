"""Taking from mailboxes: at once when the last message is settled, however long the intake would wait otherwise."""

from __future__ import annotations

import select
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from hardening import supervised_send
from hardening.core.deployment import client_of, scope_of, settings_of
from hardening.core.ledger import read_ledger
from hardening.core.scripts import Death, calls, mailing
from hardening.transport.held import Held
from hardening.transport.suspects import Suspects
from hardening.transport.vacant import Vacant
from tests.eventually import eventually
from tests.integration.spooling import app_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from kombu import Connection

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server

_POLL_S = 60.0


def turn(connection: Connection) -> bool:
    """Waits a little for what comes. Always False, so that another condition can follow."""
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.1)
    return False


class Post:
    """An app whose consumers take from mailboxes, without an event loop, and hardly ever look by themselves."""

    def __init__(self, app: Celery, prefix: str) -> None:
        self.app = app
        self.agents = [f"{prefix}.a", f"{prefix}.b"]
        self.queues = [f"agent.{name}" for name in self.agents]
        self.keys = settings_of(app).keys
        self.scope = scope_of(app)
        self.client: Any = client_of(app)
        for name in self.agents:
            mailing.found(self.keys, name, 0).run(self.client)
        self.seen: list[Any] = []

    def send(self, *names: str, queue: str = "") -> None:
        """Sends to the first mailbox, or elsewhere."""
        for name in names:
            self.app.send_task("t", task_id=name, queue=queue or self.queues[0])

    def names(self) -> list[str]:
        """What was received, in order."""
        return [message.headers["id"] for message in self.seen]

    @contextmanager
    def consuming(self, *queues: str) -> Iterator[Connection]:
        """A consumer of these; its connection is to be drained."""
        with self.app.connection_for_read() as connection:
            listed = [self.app.amqp.queues[queue] for queue in queues or self.queues]
            consumer = self.app.amqp.TaskConsumer(
                connection.default_channel, queues=listed, on_message=self.seen.append
            )
            consumer.consume()
            yield connection

    def drain(self, connection: Connection, number: int) -> None:
        """Until so many messages have been received, in all; well before the next look."""

        def has_enough() -> bool:
            turn(connection)
            return len(self.seen) >= number

        begin_s = time.monotonic()
        eventually(has_enough, _POLL_S / 2)
        assert time.monotonic() - begin_s < _POLL_S / 2

    def listening(self, connection: Connection) -> Any:
        """The intake, when it has heard of all that came and listens again."""
        intake, bells = connection.default_channel.intake, [self.keys.bell(queue) for queue in self.queues]
        eventually(lambda: turn(connection) or not self.client.exists(*bells))
        eventually(lambda: turn(connection) or intake._bell_due_s)
        return intake

    def resume_ms(self) -> int:
        """Until when the first mailbox waits."""
        return int(self.client.hget(self.keys.mailbox(self.queues[0]), "resume_ms") or 0)


@pytest.fixture
def post(server: EmbeddedRedis, prefix: str) -> Iterator[Post]:
    """Two mailboxes."""
    app = app_for(server.broker_url, prefix, hardening_poll_interval_s=_POLL_S, hardening_crash_delay_s=0.2)
    yield Post(app, prefix)
    app.close()


def test_what_another_thread_settles_makes_room_at_once(post: Post) -> None:
    """Though the loop waits for its sockets; as in a worker of green threads."""
    post.send("1", "2", "3")
    with post.consuming() as connection:
        poller = connection.transport.cycle
        for number, settle in ((1, "ack"), (2, "reject"), (3, "ack")):
            post.drain(connection, number)
            eventually(lambda: turn(connection) or not _is_readable(poller))
            thread = threading.Thread(target=getattr(post.seen[-1], settle))
            thread.start()
            thread.join()
            assert _is_readable(poller)
        eventually(lambda: turn(connection) or read_ledger(post.client, post.keys).inflight == 0)
    assert post.names() == ["1", "2", "3"]


def _is_readable(poller: Any) -> bool:
    return bool(select.select([poller._nudge[0]], [], [], 0)[0])


def test_what_has_no_consumer_has_no_pipe(post: Post) -> None:
    """Those who wait for replies need no nudges."""
    with post.app.connection_for_read() as connection:
        connection.default_channel.queue_declare(f"{post.queues[0]}.none", passive=False)
        turn(connection)
        assert connection.transport.cycle._nudge is None


def test_a_mailbox_that_was_emptied_is_listened_to_while_the_last_wait_goes_on(post: Post) -> None:
    """What comes to it next is heard, and so is what comes to the other one."""
    with post.consuming() as connection:
        for number, queue in enumerate([*post.queues, *post.queues, post.queues[1]], 1):
            post.send(str(number), queue=queue)
            post.drain(connection, number)
            post.seen[-1].ack()
    assert post.names() == ["1", "2", "3", "4", "5"]


def test_what_crashed_or_was_given_back_is_next(post: Post) -> None:
    """However it is settled, by the book's own methods; what is buried is not."""
    post.send("1", "2", "3")
    with post.consuming() as connection:
        post.drain(connection, 1)
        book = connection.default_channel.book
        book.crash(post.seen[-1].held, Death("crashed"))
        post.drain(connection, 2)
        post.seen[-1].requeue()
        post.drain(connection, 3)
        book.bury(post.seen[-1].held, Death("failed"))
        post.drain(connection, 4)
        post.client.hset(post.keys.crashes, post.seen[-1].held.message_id, 2)
        assert book.crash(post.seen[-1].held, Death("crashed"))
        post.drain(connection, 5)
        post.seen[-1].ack()
    assert post.names() == ["1", "1", "1", "2", "3"]
    assert read_ledger(post.client, post.keys).is_balanced


def test_what_a_breaker_refuses_waits_in_its_place_and_is_taken_when_that_is_over(post: Post) -> None:
    """Nothing overtakes it, and the consumer wakes for it by itself."""
    post.send("1", "2")
    with post.consuming() as connection:
        post.drain(connection, 1)
        book = connection.default_channel.book
        until_ms = book.now_ms() + 300
        book.release([post.seen[-1].held], why="breaker", due_ms=until_ms)
        assert post.resume_ms() == until_ms
        assert read_ledger(post.client, post.keys).scheduled == 0
        post.drain(connection, 2)
        assert book.now_ms() >= until_ms
        post.seen[-1].ack()
        post.drain(connection, 3)
        post.seen[-1].ack()
    assert post.names() == ["1", "1", "2"]


def test_what_is_given_up_because_somebody_cancels_it_makes_room(post: Post) -> None:
    """It was taken, and not begun."""
    receipt = supervised_send("t", queue=post.queues[0], app=post.app)
    post.send("1")
    with post.consuming() as connection:
        post.drain(connection, 1)
        turn(connection)
        asked = threading.Thread(target=receipt.cancel)
        asked.start()
        post.drain(connection, 2)
        post.seen[-1].ack()
        asked.join()
    assert post.names()[1:] == ["1"]
    assert receipt.status() == "dead"


def test_what_is_not_due_leaves_the_mailbox(post: Post) -> None:
    """Its sender wants it later: as a stock producer's, which knows no schedule."""
    post.app.send_task("t", task_id="later", queue=post.queues[0], countdown=3600)
    assert post.scope.detach(10).run(post.client) == 1
    post.send("1")
    with post.consuming() as connection:
        post.drain(connection, 1)
        assert (post.names(), post.resume_ms()) == (["1"], 0)
        post.seen[-1].ack()


def test_a_mailbox_that_was_cancelled_is_not_taken_from_again(post: Post) -> None:
    """Though its last message is settled here."""
    post.send("1", "2")
    with post.consuming() as connection:
        post.drain(connection, 1)
        intake = post.listening(connection)
        intake.remove(post.queues[0])
        post.seen[-1].ack()
        assert read_ledger(post.client, post.keys).queued == 1
        turn(connection)
        post.send("3", queue=post.queues[1])
        post.drain(connection, 2)
        post.seen[-1].ack()
        turn(connection)
    assert post.names() == ["1", "3"]


def test_room_that_cannot_be_used_at_once_is_used_later(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """When what was taken has been handed on, say; and the bells are listened to once, all along."""
    post.send("1", "2")
    with post.consuming() as connection:
        post.drain(connection, 1)
        intake = post.listening(connection)
        until_s = intake._bell_due_s
        with monkeypatch.context() as patch:
            patch.setattr(intake, "_wants_more", lambda: False)
            post.seen[-1].ack()
            turn(connection)
        post.drain(connection, 2)
        post.seen[-1].ack()
        eventually(lambda: turn(connection) or not (intake._is_taking or intake._book.vacant._queues))
        turn(connection)
        assert intake._bell_due_s == until_s


def test_a_suspect_waits_in_its_place_while_another_one_runs(post: Post) -> None:
    """The message behind it, which is none, waits as well."""
    other = f"{post.queues[0]}.other".removeprefix("agent.")
    post.send("suspect", queue=other)
    post.send("1", "2")
    with post.consuming(other) as connection:
        self_id = [post.client.lindex(queue, -1)[15:51] for queue in (other, post.queues[0])]
        post.client.hset(post.keys.crashes, mapping=dict.fromkeys(self_id, 2))
        post.drain(connection, 1)
        assert post.names() == ["suspect"]
        post.app.amqp.TaskConsumer(
            connection.default_channel, queues=[post.app.amqp.queues[post.queues[0]]], on_message=post.seen.append
        ).consume()
        with pytest.raises(AssertionError):
            eventually(lambda: turn(connection) or len(post.seen) > 1, 0.5)
        assert post.resume_ms() > 0
        post.seen[0].ack()
        post.drain(connection, 2)
        post.seen[-1].ack()
        post.drain(connection, 3)
        post.seen[-1].ack()
    assert post.names() == ["suspect", "1", "2"]


def test_a_mailbox_of_another_consumer_is_not_listened_to(post: Post) -> None:
    """Nor does a consumer with no other queue spin: it waits where nobody rings."""
    queue = post.queues[0]
    calls.renew(post.keys, "other", 600_000, join=True, about="{}").run(post.client)
    post.client.hset(post.keys.mailbox(queue), mapping={"holder": "other", "seq": 1})
    post.client.sadd(post.keys.consuming("other"), queue)
    with post.consuming(queue) as connection:
        turn(connection)
        eventually(lambda: turn(connection) or "brpop" in _commands(post))
        bell = post.keys.bell(queue)
        post.client.lpush(bell, "1")
        for _ in range(3):
            turn(connection)
        assert post.client.llen(bell) == 1


def _commands(post: Post) -> set[str]:
    return {client["cmd"] for client in post.client.client_list()}


def test_only_mailboxes_are_noted_as_vacant() -> None:
    """And once each; what could not be used is put back."""
    woken: list[int] = []
    vacant = Vacant(lambda: woken.append(1))
    vacant.note([Held("c", "q", 1, 0, b"")])
    assert (vacant.pop(), woken) == ([], [])
    vacant.note([Held("c", "agent.a\x06\x163", 2, 0, b""), Held("c", "agent.a", 3, 0, b"")])
    assert (vacant.pop(), vacant.pop(), woken) == (["agent.a"], [], [1])
    vacant.put_back(["agent.a"])
    assert vacant.pop() == ["agent.a"]


def test_one_suspect_runs_at_a_time() -> None:
    """What is no suspect, always."""
    suspects = Suspects(3)
    one, two, innocent = (Held("c", "q", seq, crashes, b"") for seq, crashes in ((1, 2), (2, 2), (3, 1)))
    assert [suspects.may_run(held) for held in (one, one, two, innocent)] == [True, True, False, True]
    suspects.let_go(two)
    assert not suspects.may_run(two)
    suspects.let_go(one)
    assert suspects.may_run(two)
