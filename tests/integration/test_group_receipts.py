"""Receipts of groups in other processes, which know nothing but an id, and in event loops."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chord, group

from hardening import asupervised_send
from hardening.core.errors import ConfirmTimeout, MessageDied, ReceiptNotFound
from hardening.core.keys import Keys
from hardening.delivery import GroupReceipt, Receipt
from hardening.delivery.async_client import pool_of
from hardening.delivery.group_record import Returned
from tests.eventually import eventually
from tests.integration.acting import ACTS, WORKER, act
from tests.integration.coroutines import run, threadless
from tests.integration.painting import painted, sent
from tests.integration.spooling import app_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # Celery's result backend
]

_FOLLOWER = """
import sys
from hardening.delivery import GroupReceipt, Receipt
from hardening.delivery.async_client import pool_of
from hardening.delivery.group_record import Returned
from tests.integration.spooling import app_for
receipt = GroupReceipt.load(sys.argv[3], app=app_for(sys.argv[1], sys.argv[2]))
print(len(receipt), dict(receipt.counts())["queued"], *(one.id for one in receipt))
"""


@pytest.fixture
def app(server: EmbeddedRedis, prefix: str, queue: str, stage: Stage) -> Iterator[Celery]:
    """With two tasks and a result backend; a worker is there."""
    stage.join(WORKER)
    yield from painted(server, prefix, queue)


@pytest.fixture
def add(app: Celery) -> Any:
    """Adds two numbers."""
    return app.tasks["add"]


def test_another_process_follows_a_group_by_its_id(server: EmbeddedRedis, prefix: str, add: Any) -> None:
    """All members, in their order."""
    receipt = sent(group(add.s(1, n) for n in range(3)))
    command = [sys.executable, "-c", _FOLLOWER, server.broker_url, prefix, receipt.id]
    told = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split() == ["3", "3", *(one.id for one in receipt)]


def test_what_is_loaded_is_what_was_sent(app: Celery, add: Any, stage: Stage, queue: str) -> None:
    """It is followed, counted, cancelled, and returns the same."""
    receipt = sent(group(add.s(1, 2), add.s(3, 4), group(add.s(5, 6), add.s(7, 8))))
    loaded = GroupReceipt.load(receipt.id, app=app)
    assert (loaded, loaded.results) == (receipt, receipt.results)
    for one, value in zip(loaded, (3, 7, 11, 15), strict=True):
        app.backend.mark_as_done(one.id, value)
        act(stage, queue, one.id, *ACTS)
    assert loaded.wait(timeout=5) == "acked"
    assert loaded.result(timeout=5) == receipt.result(timeout=5) == [3, 7, 11, 15]
    waiting = GroupReceipt.load(sent(group(add.s(1, n) for n in range(2))).id, app=app)
    assert waiting.cancel()
    assert waiting.counts() == {"dead": 2}


def test_a_chord_is_loaded_with_its_body(app: Celery, add: Any) -> None:
    """By the id of its header."""
    receipt = sent(chord([add.s(1, 2), add.s(3, 4)], app.tasks["total"].s()))
    loaded = GroupReceipt.load(receipt.id, app=app)
    assert loaded == receipt
    assert loaded.body


def test_a_group_in_a_group_is_loaded_as_one(app: Celery) -> None:
    """As the results of both are told."""
    results = (Returned("a", "r1"), (Returned("b", ""), (Returned("c", "r2"),)), ())
    receipt = GroupReceipt("g", app, members=(Receipt("r1", app), Receipt("r2", app)), results=results)
    receipt.keep()
    loaded = GroupReceipt.load("g", app=app)
    assert (loaded, loaded.results) == (receipt, results)


def test_a_group_is_kept_as_long_as_a_receipt(app: Celery, add: Any, stage: Stage) -> None:
    """And as long again from when it was loaded; then nobody knows it."""
    receipt = sent(group(add.s(1, n) for n in range(2)))
    key = Keys(stage.prefix).group(receipt.id)
    assert 86_000_000 < stage.client.pttl(key) <= 86_400_000
    stage.client.pexpire(key, 60_000)
    GroupReceipt.load(receipt.id, app=app)
    assert stage.client.pttl(key) > 86_000_000
    stage.client.delete(key)
    with pytest.raises(ReceiptNotFound):
        GroupReceipt.load(receipt.id, app=app)
    receipt.keep()
    receipt.keep()
    assert GroupReceipt.load(receipt.id, app=app) == receipt


@pytest.mark.parametrize("record", [
    b"", b"{", b"[]", b"7", b"\xff", b'{"members": ["a"], "results": [], "body": 1}', b'{"members": [1]}',
    b'{"members": [1], "results": [], "body": ""}', b'{"members": [], "results": [7], "body": ""}',
    b'{"members": [], "results": [{}], "body": ""}', b'{"members": [], "results": ' + b"[" * 99_999,
])  # fmt: skip
def test_what_makes_no_sense_is_no_group(app: Celery, stage: Stage, record: bytes) -> None:
    """Whoever put it there."""
    stage.client.set(Keys(stage.prefix).group("g"), record)
    with pytest.raises(ReceiptNotFound):
        GroupReceipt.load("g", app=app)


@pytest.mark.usefixtures("quiet")
def test_what_was_sent_while_redis_was_away_is_kept_when_it_is_back(own_server: EmbeddedRedis, prefix: str) -> None:
    """By whoever has the receipt: it was returned at once, and nobody else knows of it."""
    app = app_for(own_server.broker_url, prefix)

    @app.task(name="add", shared=False)
    def add(x: int) -> None: ...

    own_server.kill()
    receipt = sent(group(add.s(n) for n in range(2)), retries=0)
    assert [one.status() for one in receipt] == ["spooled", "spooled"]
    own_server.restart()
    with pytest.raises(ReceiptNotFound):
        GroupReceipt.load(receipt.id, app=app)
    receipt.keep()
    assert GroupReceipt.load(receipt.id, app=app).counts() == {"spooled": 2}


def test_a_group_is_waited_for_in_an_event_loop(add: Any, stage: Stage, queue: str) -> None:
    """All of it in one time; one that is dead is told at once, and who it is."""
    app = add.app

    async def waits() -> None:
        receipt: Any = await asupervised_send(group(add.s(1, n) for n in range(3)))
        assert isinstance(receipt, GroupReceipt)
        first, second, third = receipt.members
        await pool_of(app)
        await pool_of(app, listens=True)
        with threadless():
            assert await receipt.await_until("queued", timeout=5) == "queued"
            with pytest.raises(ConfirmTimeout) as late:
                await receipt.await_until("claimed", timeout=0.2)
            assert late.value.receipt_id == first.id
            waiting = asyncio.create_task(receipt.await_until("acked", timeout=30))
            await asyncio.sleep(0)
            act(stage, queue, first.id, *ACTS)
            act(stage, queue, second.id, *ACTS)
            act(stage, queue, third.id, *ACTS)
            assert await waiting == "acked"
        doomed: Any = await asupervised_send(group(add.s(1, n) for n in range(2)))
        stage.take(WORKER, 10, queue)
        stage.bury(WORKER, doomed.members[1].id)
        with pytest.raises(MessageDied) as died:
            await doomed.await_until("acked", timeout=30)
        assert died.value.receipt_id == doomed.members[1].id

    run(waits())
    eventually(lambda: stage.client.info("clients")["blocked_clients"] == 0)


def test_here_is_no_other_process(app: Celery, add: Any) -> None:
    """What ran in this one is not kept, and has ended for who waits."""
    app.conf.task_always_eager = True
    receipt = sent(group(add.s(1, 2), add.s(3, 4)))
    assert run(receipt.await_until(timeout=0)) == "acked"
    with pytest.raises(ReceiptNotFound):
        GroupReceipt.load(receipt.id, app=app)
