"""Connections of event loops: whose they are, and what becomes of them."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING
from weakref import ref

import pytest
from redis.exceptions import ResponseError

from hardening import asupervised_send
from hardening.delivery.async_client import pool_of, round_trip
from hardening.delivery.async_follower import states_of
from tests.eventually import eventually
from tests.integration.coroutines import run
from tests.integration.spooling import app_for

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

pytestmark = pytest.mark.one_server


def test_apps_that_come_and_go_in_one_loop_send_to_their_own_redis(server: EmbeddedRedis, prefix: str) -> None:
    """Also one that Python would put where another has been: that stays until its connections go, with the loop."""
    brokers = [f"{server.broker_url.removesuffix('/0')}/{number}" for number in (0, 1)]

    async def sends() -> list[ref[Celery]]:
        made = []
        for number in range(10):
            app = app_for(brokers[number % 2], prefix)
            made.append(ref(app))
            await asupervised_send("add", app=app)
            app.close()
            del app
            gc.collect()
        assert None not in [one() for one in made]
        return made

    made = run(sends())
    gc.collect()
    assert [one() for one in made] == [None] * 10
    with server.client(db=0) as here, server.client(db=1) as there:
        assert [client.llen(f"{prefix}.q") for client in (here, there)] == [5, 5]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # they were closed by halves, and Python says so
def test_loops_that_were_closed_by_halves_do_not_pile_up(server: EmbeddedRedis, client: Redis, prefix: str) -> None:
    """Without an end of their generators, as by ``loop.close()`` alone: at most the last one's connection stays."""
    app = app_for(server.broker_url, prefix)
    before = int(client.info("clients")["connected_clients"])
    for _ in range(6):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(asupervised_send("add", app=app))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    del loop
    run(asupervised_send("add", app=app))

    def left() -> int:
        gc.collect()
        return int(client.info("clients")["connected_clients"]) - before

    eventually(lambda: left() <= 0)


def test_a_refusal_leaves_no_answers_to_the_next(server: EmbeddedRedis, client: Redis, prefix: str, keys: Keys) -> None:
    """Of many questions in one breath one is refused; those after it have answers, too."""
    app = app_for(server.broker_url, prefix)
    client.set(keys.delivery("odd"), "no hash")

    async def asks() -> None:
        receipt = await asupervised_send("add", app=app)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await states_of(app, ["odd", *[receipt.id] * 3])
        pool = await pool_of(app)
        (connection,) = pool._available_connections
        assert connection.is_connected
        assert await round_trip(connection, ("ECHO", "mine")) == b"mine"
        assert await states_of(app, [receipt.id, "none"]) == [b"queued", None]

    run(asks())
