"""Every way to reach Redis, and every pool, carries one message there and survives one kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.errors import PublishFailed
from hardening.delivery import supervised_send
from tests.faults.brokers import Papers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.rig import Rig


def _run_and_kill(rig: Rig, pool: str = "threads") -> None:
    """Sends, kills the worker while it works, and expects everything to have run."""
    keys = [f"k{number}" for number in range(30)]
    producer = rig.producer()
    rig.send(producer, "work", keys, 0.05)
    worker = rig.ready(rig.start(pool, 2))
    rig.await_progress(5)
    rig.kill(worker)
    rig.ready(rig.start(pool, 2))
    rig.await_done(keys)
    assert rig.duplicates() <= 2
    counters = rig.settled().counters
    assert (counters["published"], counters["acked"], counters.get("adopted")) == (len(keys), len(keys), None)
    producer.close()


def test_a_unix_socket_carries_messages(unix_url: str, rig_for: Callable[..., Rig]) -> None:
    """``redis+socket://``, as the embedded Redis offers it by default."""
    _run_and_kill(rig_for(unix_url))


def test_tls_carries_messages_and_verifies_certificates(
    tls_url: str, rig_for: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``rediss://`` without further options trusts what the system trusts, and nothing else."""
    rig = rig_for(tls_url)
    _run_and_kill(rig)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(PublishFailed, match="CERTIFICATE_VERIFY_FAILED"):
        supervised_send("tests.faults.tasks.work", ("k",), app=rig.producer(), retries=0, on_error="raise")


def test_sentinel_carries_messages(sentinel_url: str, rig_for: Callable[..., Rig]) -> None:
    """``sentinel://``, with the master's name in the transport options."""
    _run_and_kill(rig_for(sentinel_url))


def test_sentinel_and_its_master_over_tls_carry_messages_and_verify_certificates(
    tls_sentinel_url: str, papers: Papers, rig_for: Callable[..., Rig], tmp_path: Path
) -> None:
    """``broker_use_ssl`` is for the master, ``sentinel_kwargs`` for the Sentinels: both trust one authority alone."""
    rig = rig_for(tls_sentinel_url, authority=papers.authority)
    _run_and_kill(rig)
    app = rig.producer()
    assert supervised_send("tests.faults.tasks.work", ("k",), app=app).wait("acked", 15) == "acked"
    app.close()
    _assert_distrusted(rig, tmp_path)


def _assert_distrusted(rig: Rig, directory: Path) -> None:
    """Whoever trusts another authority sends nothing: neither to the Sentinel nor, knowing the master, to it."""
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    other = Papers(elsewhere).issue().authority
    for name, trusted in (("master", rig.authority), ("Sentinel", other)):
        app = rig.producer()
        app.conf.broker_use_ssl["ssl_ca_certs"] = other
        app.conf.broker_transport_options["sentinel_kwargs"]["ssl_ca_certs"] = trusted
        with pytest.raises(PublishFailed) as raised:
            supervised_send("tests.faults.tasks.work", ("k",), app=app, retries=0, on_error="raise")
        words = "CERTIFICATE_VERIFY_FAILED" if name == "master" else "No master found"
        assert words in str(raised.value), name
        app.close()


def test_gevent_carries_messages(rig: Rig) -> None:
    """A pool without an event loop of Celery's own."""
    _run_and_kill(rig, "gevent")
