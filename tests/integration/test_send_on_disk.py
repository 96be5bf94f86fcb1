"""on_disk=True: what is in append-only files, asked of a real server, of one that can tell and of one that cannot."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hardening import asupervised_send, broadcast, supervised_send
from hardening.core.errors import ConfigError
from tests.integration.coroutines import run
from tests.integration.spooling import app_for
from tests.integration.stage import Stage

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server

_NEEDED = r"on_disk=True needs WAITAOF, of Redis 7\.2 or newer with appendonly yes: .*; the message is published"


def _asend(*args: Any, **options: Any) -> Any:
    return run(asupervised_send(*args, **options))


def _first(*args: Any, **options: Any) -> Any:
    return broadcast(args[0], ["q"], **options).outcomes[0].receipt


@pytest.fixture(params=[supervised_send, _asend, _first], ids=["send", "asend", "broadcast"])
def send(request: pytest.FixtureRequest, shop: Celery) -> Any:
    """A send that wants it on disk."""
    return partial(request.param, "add", app=shop, confirm="replicated", on_disk=True, timeout=15)


@pytest.fixture
def shop(master: EmbeddedRedis, prefix: str) -> Celery:
    """An app of the master."""
    return app_for(master.broker_url, prefix)


def _can_tell(client: Redis) -> bool:
    """Whether the server knows what is on disk."""
    asked: Any = client
    return bool(asked.execute_command("COMMAND INFO", "WAITAOF") != [None])


def _write_files(*clients: Redis) -> None:
    for client in clients:
        client.config_set("appendonly", "yes")


def test_what_is_on_disk_is_told_by_a_server_that_can(
    send: Any, master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str
) -> None:
    """First by master and replica alike; then by a replica that keeps no file. Who cannot tell says so each time."""
    with master.client() as asked, replica.client() as copied:
        can_tell = _can_tell(asked)
        _write_files(asked, copied)
        if not can_tell:
            for on_error in ("raise", "log"):
                with pytest.raises(ConfigError, match=_NEEDED):
                    send(on_error=on_error)
        else:
            assert send(on_error="raise").replicas == 1
            copied.config_set("appendonly", "no")
            receipt = send(timeout=0.5)
            assert receipt.replicas == 0
        assert Stage(asked, prefix).ledger().counters == {"published": 2}


def test_a_master_without_a_file_has_nothing_on_disk(send: Any, master: EmbeddedRedis, prefix: str) -> None:
    """And says so, or does not even know the question; the message is published all the same, once."""
    with master.client() as asked:
        with pytest.raises(ConfigError, match=_NEEDED) as raised:
            send(on_error="raise")
        assert ("appendonly is disabled" in str(raised.value)) is _can_tell(asked)
        assert Stage(asked, prefix).ledger().counters == {"published": 1}
