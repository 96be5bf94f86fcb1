"""Chains and groups from a coroutine: the same messages, receipts and errors, published by the loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord, group, signals
from celery.backends.asynchronous import AsyncBackendMixin

from hardening import asupervised_send, supervised_send
from hardening.core.errors import NotReplicated, SendManyFailed
from hardening.core.scripts import Script
from hardening.delivery import GroupReceipt, Receipt
from hardening.delivery.async_client import pool_of
from hardening.delivery.fallback import fallback_of
from hardening.transport.producers import Producer
from tests.faults.proxy import Proxy
from tests.integration.acting import WORKER
from tests.integration.coroutines import run, threadless, until
from tests.integration.painting import painted
from tests.integration.spooling import AWAY, app_for, receipts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # Celery's result backend
]


@pytest.fixture
def app(server: EmbeddedRedis, prefix: str, queue: str, stage: Stage) -> Iterator[Celery]:
    """With two tasks and a result backend; a worker is there."""
    stage.join(WORKER)
    yield from painted(server, prefix, queue)


@pytest.fixture
def add(app: Celery) -> Any:
    """Adds two numbers."""
    return app.tasks["add"]


def canvas_of(kind: str, add: Any) -> Any:
    """A canvas, and how many messages it begins with."""
    return {
        "group": (group(add.s(1, n) for n in range(3)), 3),
        "group of chains": (group(add.s(1, 2) | add.s(3), add.s(4, 5)), 2),
        "chain": (chain(add.s(1, 2), add.s(3), add.s(4)), 1),
        "chunks": (add.chunks([(1, 2), (3, 4), (5, 6)], 2), 2),
        "chord": (chord([add.s(1, 2), add.s(3, 4)], add.app.tasks["total"].s()), 2),
        "chain of groups": (chain(group(add.s(1, 2), add.s(3, 4)), add.app.tasks["total"].s()), 2),
    }[kind]


def told(receipt: Receipt) -> tuple[Any, ...]:
    """What a receipt says, without ids."""
    of_group = isinstance(receipt, GroupReceipt) and (len(receipt.results), bool(receipt.body))
    return type(receipt), len(receipt.members), of_group, receipt.status(), {
        key: value for key, value in receipt.members[0].details().items() if key in ("task", "queue", "guarantee")
    }  # fmt: skip


def listening(app: Celery) -> list[str]:
    """The tasks that result backends of an app, of whichever thread, keep results of."""
    gc.collect()
    backends: list[Any] = [one for one in gc.get_objects() if issubclass(type(one), AsyncBackendMixin)]
    return [task for one in backends if one.app is app for waiting in one._pending_results for task in waiting]


@pytest.mark.parametrize("kind", ["group", "group of chains", "chain", "chunks", "chord", "chain of groups"])
def test_a_canvas_is_the_same_from_a_coroutine(kind: str, add: Any, stage: Stage, queue: str) -> None:
    """Each message is told of when it is there, in the loop. A thread only where Celery asks its result backend."""
    canvas, messages = canvas_of(kind, add)
    seen: list[int] = []
    here = threading.get_ident()

    def after(**_: Any) -> None:
        assert threading.get_ident() == here
        seen.append(stage.client.llen(queue))

    first = supervised_send(canvas, on_error="raise")

    async def sends() -> Any:
        await pool_of(add.app)
        if "chord" in kind or "of groups" in kind:
            return await asupervised_send(canvas, on_error="raise")
        with threadless():
            return await asupervised_send(canvas, on_error="raise")

    signals.after_task_publish.connect(after)
    try:
        second = run(sends())
    finally:
        signals.after_task_publish.disconnect(after)
    assert told(second) == told(first)
    assert seen == [messages + n for n in range(1, messages + 1)]
    assert stage.ledger().counters["published"] == 2 * messages
    if isinstance(second, GroupReceipt):
        assert GroupReceipt.load(second.id, app=add.app) == second
    else:
        assert second.details()["last"]


def test_events_are_those_of_their_messages(add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each, after it."""
    add.app.conf.task_send_sent_event = True
    heard: list[str] = []
    monkeypatch.setattr(Producer, "publish", lambda _, body, **__: heard.append(body["uuid"]))
    receipt = run(asupervised_send(group(add.s(1, n) for n in range(3))))
    assert heard == [one.id for one in receipt.members]


def test_what_was_sent_when_the_rest_failed_is_told(server: EmbeddedRedis, stage: Stage) -> None:
    """As by the other send: who has it, and what did not get there; nothing more is published."""
    with Proxy(server.broker_url) as proxy:
        app = app_for(proxy.url, stage.prefix)

        @app.task(name="add", shared=False)
        def add(x: int) -> None: ...

        async def sends() -> None:
            await asupervised_send(group(add.s(n) for n in range(3)), retries=0, on_error="raise")

        told: list[str] = []

        def cut(**facts: Any) -> None:
            told.append(facts["headers"]["id"])
            if len(told) == 2:
                proxy.cut_when(Script.load("publish").sha.encode(), after_reply=False)

        signals.after_task_publish.connect(cut)
        try:
            with pytest.raises(SendManyFailed) as raised:
                run(sends())
        finally:
            signals.after_task_publish.disconnect(cut)
    assert raised.value.sent == 2
    assert [one.id for one in raised.value.receipts] == told
    assert stage.ledger().counters == {"published": 2}


def test_a_chord_that_is_cancelled_while_its_backend_hangs_is_not_sent(
    add: Any, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread in which it is made comes to its end, and publishes nothing."""
    asked, answer = threading.Event(), threading.Event()

    def hang(_: Any) -> None:
        asked.set()
        assert answer.wait(30)

    monkeypatch.setattr("hardening.delivery.canvas.Sending._ask_backend", hang)

    async def sends() -> None:
        sending = asyncio.create_task(asupervised_send(canvas_of("chord", add)[0]))
        await until(asked.is_set)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        answer.set()
        await asyncio.get_running_loop().shutdown_default_executor()

    run(sends())
    assert stage.state().queued == {}
    assert listening(add.app) == []


@pytest.mark.parametrize("how", ["thread", "coroutine"])
@pytest.mark.parametrize("kind", ["chord", "chain of groups", "group"])
def test_what_is_not_sent_leaves_no_results_behind(how: str, kind: str, server: EmbeddedRedis, prefix: str) -> None:
    """Celery's backend keeps those of a header for ever, and an outage has many."""
    app = app_for(AWAY, prefix, result_backend=server.broker_url)

    @app.task(name="add", shared=False)
    def add(x: int, y: int) -> None: ...

    @app.task(name="total", shared=False)
    def total(x: int) -> None: ...

    async def sends() -> list[str]:
        for _ in range(2):
            with pytest.raises(SendManyFailed):
                await asupervised_send(canvas_of(kind, add)[0], on_error="raise", retries=0)
        return listening(app)

    if how == "coroutine":
        assert run(sends()) == []
        return
    for _ in range(2):
        with pytest.raises(SendManyFailed):
            supervised_send(canvas_of(kind, add)[0], on_error="raise", retries=0)
    assert listening(app) == []


@pytest.mark.usefixtures("quiet")
def test_while_redis_is_away_a_group_is_spooled(prefix: str) -> None:
    """All of it, and nobody is told that it was published."""
    app = app_for(AWAY, prefix)

    @app.task(name="add", shared=False)
    def add(x: int) -> None: ...

    said: list[str] = []
    signals.after_task_publish.connect(after := lambda **_: said.append("after"))
    try:
        receipt = run(asupervised_send(group(add.s(n) for n in range(3)), retries=0))
        ignored = run(asupervised_send(group(add.s(n) for n in range(2)), retries=0, on_error="ignore"))
    finally:
        signals.after_task_publish.disconnect(after)
    assert receipts(fallback_of(app).spool) == [one.id for one in receipt.members]
    assert said == []
    assert len(ignored) == 2


def test_terms_are_those_of_all_messages(add: Any) -> None:
    """Replicas, which there are not; an idempotency key, which several messages do not have; a worker.

    That the first message waited for replicas all the time there was keeps no other from being published.
    """
    canvas = group(add.s(1, n) for n in range(2))
    with pytest.raises(NotReplicated):
        run(asupervised_send(canvas, confirm="replicated", timeout=0.3, on_error="raise"))
    receipt = run(asupervised_send(canvas, confirm="replicated", timeout=0.3))
    assert [one.replicas for one in receipt.members] == [0, 0]
    with pytest.raises(ValueError, match="which is several messages: an idempotency_key names one"):
        run(asupervised_send(canvas, idempotency_key="k"))
    sent = [run(asupervised_send(add.s(1, 2) | add.s(3), idempotency_key="k")) for _ in range(2)]
    assert sent[0] == sent[1]
    with pytest.raises(Exception, match="not started, after"):
        run(asupervised_send(canvas, confirm="started", timeout=0.2, on_error="raise"))


def test_here_it_runs_at_once(app: Celery, add: Any) -> None:
    """With ``task_always_eager``, as from the other send."""
    app.conf.task_always_eager = True
    receipt = run(asupervised_send(group(add.s(1, 2), add.s(3, 4))))
    assert [one.result(0) for one in receipt.members] == [3, 7]
