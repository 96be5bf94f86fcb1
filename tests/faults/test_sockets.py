"""What the settings say of sockets is so of the very sockets that a worker and its tasks open."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hardening.transport.stock import CLIENT_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.brokers import Papers
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server

_TIMEOUT_S = 3.0


def _sockets(rig: Rig) -> list[dict[str, Any]]:
    """The sockets of a worker that consumes, beats, and has published with and without a receipt.

    The solo pool runs a task in the loop's own thread: no socket is just being asked whether it can be read.
    """
    rig.ready(rig.start("solo", 1, faults_socket_s=str(_TIMEOUT_S)))
    producer = rig.producer()
    rig.send(producer, "sockets", ["look"])
    rig.await_done(["look", "look plain", "look supervised"])
    rig.settled()
    producer.close()
    told: Any = rig.ledger.hget(f"{rig.prefix}:sockets", "look")
    return list(json.loads(told))


def _assert_sound(sockets: list[dict[str, Any]], *, family: str = "AF_INET", is_tls: bool = False) -> None:
    """All of them: the line, the bell, the lease, kombu's own, and those that publish."""
    assert len(sockets) >= 6
    assert {(one["family"], one["is_tls"]) for one in sockets} == {(family, is_tls)}
    for one in sockets:
        assert one["timeout_s"] is not None, one
        assert 0 < one["timeout_s"] <= _TIMEOUT_S, one
        assert one["health_check_s"] == 25, one
        assert one["name"] == CLIENT_NAME, one
        if family == "AF_INET":
            assert one["is_kept_alive"], one
            assert 0 < one["connect_timeout_s"] <= _TIMEOUT_S, one


def test_sockets_over_tcp_are_bounded_and_kept_alive(own_broker: EmbeddedRedis, rig_for: Callable[..., Rig]) -> None:
    """``redis://``."""
    _assert_sound(_sockets(rig_for(own_broker.broker_url)))


def test_unix_sockets_are_bounded(unix_url: str, rig_for: Callable[..., Rig]) -> None:
    """``redis+socket://``, where there is nothing to keep alive."""
    _assert_sound(_sockets(rig_for(unix_url)), family="AF_UNIX")


def test_sockets_over_tls_are_bounded_and_kept_alive(tls_url: str, rig_for: Callable[..., Rig]) -> None:
    """``rediss://``."""
    _assert_sound(_sockets(rig_for(tls_url)), is_tls=True)


def test_sockets_to_a_master_that_sentinels_named_are_bounded_and_kept_alive(
    sentinel_url: str, rig_for: Callable[..., Rig]
) -> None:
    """``sentinel://``: those to the Sentinels as well."""
    _assert_sound_with_sentinels(_sockets(rig_for(sentinel_url)), is_tls=False)


def test_sockets_to_sentinels_with_options_of_their_own_are_bounded_and_kept_alive(
    tls_sentinel_url: str, papers: Papers, rig_for: Callable[..., Rig]
) -> None:
    """``sentinel_kwargs`` say how to reach the Sentinels, not for how long to wait for them."""
    _assert_sound_with_sentinels(_sockets(rig_for(tls_sentinel_url, authority=papers.authority)), is_tls=True)


def _assert_sound_with_sentinels(sockets: list[dict[str, Any]], *, is_tls: bool) -> None:
    to_sentinels = [one for one in sockets if one["name"] != CLIENT_NAME]
    assert to_sentinels
    for one in to_sentinels:
        assert one["timeout_s"] is not None, one
        assert 0 < one["timeout_s"] <= _TIMEOUT_S, one
        assert 0 < one["connect_timeout_s"] <= _TIMEOUT_S, one
        assert one["is_kept_alive"], one
    _assert_sound([one for one in sockets if one not in to_sentinels], is_tls=is_tls)
