"""What we override or use of kombu's and Celery's private halves is still there, and still shaped so.

When one of these fails after an upgrade, read the named place before you widen the pin.
"""

from __future__ import annotations

import inspect
from typing import Any

import celery
import kombu
import pytest
from billiard import pool as billiard_pool
from celery import Celery, signals
from celery.app import backends as celery_backends
from celery.backends import asynchronous, redis
from celery.concurrency import asynpool, prefork
from celery.concurrency import base as celery_pool
from celery.concurrency import thread as celery_thread
from celery.worker import components
from celery.worker import heartbeat as celery_heartbeat
from celery.worker import request as celery_request
from celery.worker import worker as celery_worker
from celery.worker.consumer import consumer as celery_consumer
from kombu import connection as kombu_connection
from kombu.asynchronous.semaphore import LaxBoundedSemaphore
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis import connection as redis_connection
from redis._parsers import hiredis as hiredis_parser

from hardening.delivery.afterwards import KEPT_BACK

#: Their stubs lack what is private.
_ASYNC_RESULTS: Any = asynchronous
_REDIS_RESULTS: Any = redis
#: Members by owner, with the parameters we rely on.
_CONTRACT = {
    kombu_redis.Channel: {
        "_after_fork": ["self"],
        "_basic_cancel": ["self", "consumer_tag"],
        "_create_client": ["self", "asynchronous"],
        "_delete": ["self", "queue", "exchange", "routing_key", "pattern", "args", "kwargs"],
        "_get": ["self", "queue"],
        "_get_pool": ["self", "asynchronous"],
        "_purge": ["self", "queue"],
        "_put": ["self", "queue", "message", "kwargs"],
        "_q_for_pri": ["self", "queue", "pri"],
        "_queue_bind": ["self", "exchange", "routing_key", "pattern", "queue"],
        "_size": ["self", "queue"],
        "_update_queue_cycle": ["self"],
        "basic_consume": ["self", "queue", "args", "kwargs"],
        "close": ["self"],
    },
    virtual.Channel: {
        "_get_message_priority": ["self", "message", "reverse"],
        "_lookup": ["self", "exchange", "routing_key", "default"],
        "basic_get": ["self", "queue", "no_ack", "kwargs"],
    },
    virtual.QoS: {
        "ack": ["self", "delivery_tag"],
        "append": ["self", "message", "delivery_tag"],
        "_flush": ["self"],
    },
    kombu_redis.QoS: {
        "reject": ["self", "delivery_tag", "requeue"],
        "restore_unacked": ["self", "client"],
        "restore_visible": ["self", "start", "num", "interval"],
    },
    kombu_redis.MultiChannelPoller: {
        "_client_registered": ["self", "channel", "client", "cmd"],
        "_register": ["self", "channel", "client", "type"],
        "close": ["self"],
        "get": ["self", "callback", "timeout"],
        "handle_event": ["self", "fileno", "event"],
        "on_poll_start": ["self"],
        "on_readable": ["self", "fileno"],
    },
    kombu_redis.Transport: {"register_with_event_loop": ["self", "connection", "loop"]},
    kombu.Connection: {
        "Pool": ["self", "limit", "kwargs"],
        "_info": ["self", "resolve"],
        "switch": ["self", "conn_str"],
    },
    kombu_connection.ConnectionPool: {"new": ["self"]},
    kombu_connection.PooledConnection: {"__init__": ["self", "pool", "kwargs"]},
    celery_request.Request: {
        "_announce_revoked": ["self", "reason", "terminated", "signum", "expired"],
        "acknowledge": ["self"],
        "on_accepted": ["self", "pid", "time_accepted"],
        "on_failure": ["self", "exc_info", "send_failed_event", "return_ok"],
        "on_timeout": ["self", "soft", "timeout"],
        "reject": ["self", "requeue"],
    },
    celery.Task: {"_get_exec_options": ["self"], "shadow_name": ["self", "args", "kwargs", "options"]},
    kombu.Producer: {"maybe_declare": ["self", "entity", "retry", "retry_policy"]},
    celery_thread.TaskPool: {
        "on_apply": ["self", "target", "args", "kwargs", "callback", "accept_callback", "_"],
    },
    celery_worker.WorkController: {
        "_process_task": ["self", "req"],
        "_process_task_sem": ["self", "req"],
    },
    celery_consumer.Consumer: {
        "on_close": ["self"],
        "on_decode_error": ["self", "message", "exc"],
        "on_invalid_task": ["self", "body", "message", "exc"],
        "on_unknown_message": ["self", "body", "message"],
        "on_unknown_task": ["self", "body", "message", "exc"],
    },
}


@pytest.mark.parametrize(
    ("owner", "member", "parameters"),
    [(owner, *item) for owner, members in _CONTRACT.items() for item in members.items()],
    ids=lambda value: getattr(value, "__qualname__", str(value)) if not isinstance(value, list) else "",
)
def test_a_member_we_build_on_is_shaped_as_we_know_it(owner: type, member: str, parameters: list[str]) -> None:
    """Each private member takes what we give it."""
    assert list(inspect.signature(getattr(owner, member)).parameters) == parameters


def test_the_pins_are_the_versions_this_contract_was_read_from() -> None:
    """The dependency ranges allow no other minor version."""
    assert celery.__version__.startswith("5.7.")
    assert kombu.__version__.startswith("5.7.")


def test_the_marks_of_a_poller_are_where_we_look_for_them() -> None:
    """State that kombu keeps in attributes we read."""
    poller = kombu_redis.MultiChannelPoller()
    assert poller._fd_to_chan == {}
    assert poller._channels == set()
    poller.close()


def test_stock_kombu_still_needs_an_encoder_for_every_message() -> None:
    """We keep one encoder; when kombu does too, ours can go."""
    assert "cls=" in inspect.getsource(kombu.utils.json.dumps)


def test_stock_kombu_still_takes_the_transport_from_an_alternate_url() -> None:
    """Worked round in ``hardening.transport.transport.Connection``; when this fails, that can go."""
    connection = kombu.Connection("redis://a:1/0", transport="hardening.transport:Transport")
    connection.switch("redis://b:2/0")
    assert connection.transport_cls == "redis"


def test_stock_kombu_still_pools_connections_of_its_own_kind() -> None:
    """Worked round in ``Connection.Pool`` there; when this fails, that can go."""
    source = inspect.getsource(kombu_connection.ConnectionPool.new)
    assert "return PooledConnection(self, **dict(self.connection._info(resolve=False)))" in source


def test_stock_celery_still_looks_only_once_for_a_child_that_exits() -> None:
    """``hardening.worker.children`` looks again; when Celery does too, that can go."""
    source = inspect.getsource(asynpool.AsynPool._event_process_exit)
    assert source.count("self.maintain_pool()") == 1
    assert "call_later" not in source
    assert "_sentinel_poll = None" in inspect.getsource(asynpool.AsynPool._untrack_child_process)


def test_stock_celery_still_flushes_the_pool_when_a_connection_breaks() -> None:
    """``BookStep`` keeps what the pool was handed; when Celery does too, that can go."""
    assert "job.discard()" in inspect.getsource(asynpool.AsynPool.flush)
    assert "self.pool.flush()" in inspect.getsource(celery_consumer.Consumer.on_close)


def test_stock_billiard_still_gives_back_a_seat_for_each_child_that_exits() -> None:
    """``hardening.worker.seats`` gives back one for each task that ends; when billiard does too, that can go."""
    source = inspect.getsource(billiard_pool.Pool._maintain_pool)
    assert "for i in range(len(joined)):" in source
    assert "self._putlock.release()" in source
    assert inspect.getsource(billiard_pool.ResultHandler._make_methods).count("putlock.release()") == 1


def test_a_stock_semaphore_still_lets_a_pool_that_grows_hold_too_much() -> None:
    """``hardening.worker.seats.Seats`` does not; when kombu's does not either, its ``grow`` can go."""
    stock, handed = LaxBoundedSemaphore(1), list[str]()
    for name in "abcd":
        stock.acquire(handed.append, name)
    stock.grow()
    stock.acquire(handed.append, "e")
    assert handed == ["a", "b", "e"]


def test_stock_celery_still_subscribes_to_a_result_before_it_sends_the_task() -> None:
    """``hardening.delivery.result_backend`` does not, and who waits does it; when Celery's is the same, that can go."""
    assert "self.result_consumer.consume_from(task_id)" in inspect.getsource(_REDIS_RESULTS.RedisBackend.on_task_call)
    waiting = inspect.getsource(_ASYNC_RESULTS.AsyncBackendMixin._add_pending_result)
    assert "self.result_consumer.consume_from(task_id)" in waiting
    assert "result._iter_meta(" in inspect.getsource(_REDIS_RESULTS.ResultConsumer.on_wait_for_pending)
    assert {"redis", "rediss", "sentinel"} == {
        name for name, home in celery_backends.BACKEND_ALIASES.items() if home.startswith("celery.backends.redis:")
    }


def test_the_pools_seats_are_where_we_put_ours() -> None:
    """What ``hardening.worker.seats`` builds on: who makes the semaphore, who is handed it, and how a job ends."""
    made = inspect.getsource(components.Pool.create)
    assert "w._quick_acquire = w.semaphore.acquire" in made
    assert "w._quick_release = w.semaphore.release" in made
    assert "semaphore=semaphore," in made
    assert "self.on_apply = P.apply_async" in inspect.getsource(prefork.TaskPool.on_start)
    assert "**self.options)" in inspect.getsource(prefork.TaskPool.on_start)
    assert "return self.on_apply(target, args, kwargs," in inspect.getsource(celery_pool.BasePool.apply_async)
    assert list(inspect.signature(billiard_pool.ApplyResult._set).parameters) == ["self", "i", "obj"]
    ended = inspect.getsource(billiard_pool.ApplyResult._set)
    assert "if self._callback and self._success:" in ended
    assert "self._error_callback and not self._success" in ended


def test_celery_says_what_we_keep_back_by_these_names() -> None:
    """``hardening.delivery.afterwards`` puts its own into these variables of Celery's sender, which nobody else has."""
    app = Celery("contract", set_as_current=False)
    send = type(app.amqp)._create_task_sender(app.amqp)  # type: ignore[attr-defined]
    said = dict(zip(send.__code__.co_freevars, send.__closure__, strict=True))
    assert said[KEPT_BACK[0]].cell_contents == signals.after_task_publish.send
    assert said[KEPT_BACK[1]].cell_contents == signals.task_sent.send
    source = inspect.getsource(send)
    assert source.index("ret = producer.publish(body") < source.index("send_after_publish(\n")
    assert source.index("send_after_publish(\n") < source.index("evd.publish('task-sent'")


def test_celery_still_has_heartbeats_tried_again_for_ever() -> None:
    """What ``hardening.worker.dispatcher`` is there for; when this fails it may be superfluous."""
    send = inspect.signature(celery_heartbeat.Heart._send).parameters
    assert send["retry"].default is True
    assert "retry_policy" not in send
    assert inspect.signature(kombu.Connection.ensure).parameters["max_retries"].default is None


def test_what_comes_unasked_is_where_we_look_for_it() -> None:
    """``hardening.core.scripts.lending`` asks the socket and the parser's buffer, not redis-py."""
    look = inspect.getsource(hiredis_parser._HiredisParser.can_read)
    assert "if self._reader.has_data():" in look
    assert "_socket_can_read(self._sock, timeout)" in look
    is_connected: Any = redis_connection.AbstractConnection.is_connected
    assert "self._sock" in inspect.getsource(is_connected.fget)
