"""Spooling what goes through an exchange: where that leads is known without Redis, if the app declares it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Exchange, Queue

from hardening import asupervised_send, supervised_send
from hardening.core.errors import ConfigError, PublishFailed
from hardening.delivery.fallback import fallback_of
from tests.integration.coroutines import run
from tests.integration.spooling import AWAY, app_for

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

pytestmark = [pytest.mark.one_server, pytest.mark.usefixtures("quiet")]


def _queues(prefix: str) -> list[Queue]:
    topic, direct = Exchange(f"{prefix}.topic", type="topic"), Exchange(f"{prefix}.direct", type="direct")
    return [
        Queue(f"{prefix}.a", topic, routing_key="a.#"), Queue(f"{prefix}.b", topic, routing_key="*.b"),
        Queue(f"{prefix}.c", direct, routing_key="c"), Queue(f"{prefix}.d", direct, routing_key="d"),
        Queue(f"{prefix}.e", direct, routing_key="d"),
    ]  # fmt: skip


@pytest.mark.parametrize(("exchange", "key", "queue"), [
    ("topic", "a.x.y", "a"), ("topic", "x.b", "b"), ("direct", "c", "c"),
    ("topic", "a.b", ""), ("direct", "d", ""), ("direct", "x", ""), ("other", "a.x", ""),
])  # fmt: skip
def test_where_an_exchange_leads_is_found_without_redis_as_with_it(
    own_server: EmbeddedRedis, prefix: str, exchange: str, key: str, queue: str
) -> None:
    """By what the app declares. What leads to no queue, or to several, is refused by both, and told."""
    app = app_for(own_server.broker_url, prefix, task_queues=_queues(prefix))
    where: dict[str, Any] = {"exchange": f"{prefix}.{exchange}", "routing_key": key}
    with pytest.raises(ConfigError, match=r"leads to [02] queues") if not queue else nullcontext():
        assert supervised_send("add", app=app, **where).details()["queue"] == f"{prefix}.{queue}"
    with pytest.raises(ConfigError, match=r"leads to [02] queues") if not queue else nullcontext():
        assert run(asupervised_send("add", app=app, **where)).details()["queue"] == f"{prefix}.{queue}"
    own_server.kill()
    if not queue:
        words = f"where the exchange '{prefix}.{exchange}' leads only Redis knows: this app declares"
        with pytest.raises(PublishFailed, match=words):
            supervised_send("add", app=app, retries=0, **where)
        with pytest.raises(PublishFailed) as raised:
            supervised_send("add", app=app, retries=0, on_error="raise", **where)
        assert "spooled" not in str(raised.value)
        assert not fallback_of(app).spool.path.exists()
        return
    assert supervised_send("add", app=app, retries=0, **where).status() == "spooled"
    (spooled,) = fallback_of(app).spool.messages()
    assert (spooled.publication.queue, spooled.publication.list_key) == (f"{prefix}.{queue}", f"{prefix}.{queue}")


def test_a_queue_of_a_direct_exchange_needs_no_redis_to_be_found(prefix: str) -> None:
    """As the error for the others says."""
    app = app_for(AWAY, prefix, task_queues=[Queue(f"{prefix}.a", Exchange(f"{prefix}.x", type="direct"), "k")])
    assert supervised_send("add", app=app, retries=0, queue=f"{prefix}.a").status() == "spooled"
    (spooled,) = fallback_of(app).spool.messages()
    assert spooled.publication.queue == f"{prefix}.a"
