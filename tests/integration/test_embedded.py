"""The private Redis: it starts, is reached, and keeps what it should."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import kombu
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.core import embedded
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import EmbeddedRedisError
from tests.integration.private_redis import Make, is_running, read, socket_path, write

if TYPE_CHECKING:
    from collections.abc import Callable


def _free_port() -> int:
    return embedded._free_port(range(15_000, 20_000))


def test_by_default_it_answers_on_a_private_socket_only(make: Make) -> None:
    """No port, nothing evicted, nothing saved, and nobody else may open the socket."""
    with make() as redis, redis.client(decode_responses=True) as client:
        config = client.config_get()
        assert {name: config[name] for name in ("port", "maxmemory-policy", "save", "appendonly")} == {
            "port": "0",
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "no",
        }
        path = socket_path(redis.url)
        assert [one.stat().st_mode & 0o777 for one in (path, path.parent)] == [0o700, 0o700]
        assert client.info("server")["process_id"] == redis.pid
        assert ".".join(map(str, redis.version)) == client.info("server")["redis_version"]


@pytest.mark.parametrize("chosen", [_free_port, lambda: 0], ids=["chosen", "free"])
def test_on_a_port_only_this_machine_reaches_it(make: Make, chosen: Callable[[], int]) -> None:
    """A port of the caller's, or a free one below the ephemeral range."""
    port = chosen()
    with make(port=port) as redis, redis.client(decode_responses=True) as client:
        assert redis.url == redis.broker_url == f"redis://127.0.0.1:{client.config_get()['port']}/0"
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.config_get("protected-mode") == {"protected-mode": "yes"}
        assert port == 0 or redis.url.endswith(f":{port}/0")


@pytest.mark.parametrize("port", [None, 0])
def test_celery_and_kombu_can_use_it(make: Make, tmp_path: Path, port: int | None) -> None:
    """Also when the directory has a name that needs quoting everywhere."""
    with make(directory=tmp_path / 'it\'s a%20 "dir" é', port=port) as redis:
        assert read(redis) is None
        with kombu.Connection(redis.broker_url) as connection:
            queue = connection.SimpleQueue("q")
            queue.put({"n": 1})
            assert queue.get(timeout=5).payload == {"n": 1}
            queue.close()


def test_further_directives_are_written_as_in_redis_conf(make: Make) -> None:
    """One word, several words, or none."""
    config = {
        "maxmemory": "64mb",
        "client-output-buffer-limit": "normal 1mb 0 0",
        "notify-keyspace-events": "",
    }
    with make(config=config) as redis, redis.client(decode_responses=True) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(64 * 1024 * 1024)}
        assert "normal 1048576 0 0" in client.config_get("client-output*")["client-output-buffer-limit"]
        assert client.config_get("notify-keyspace-events") == {"notify-keyspace-events": ""}


def test_starting_and_stopping_are_idempotent(make: Make) -> None:
    """Twice is as good as once, also before and after; nothing is left behind."""
    redis = make()
    redis.stop()
    redis.kill()
    redis.start()
    pid = redis.pid
    redis.start()
    assert redis.pid == pid
    redis.stop()
    assert not is_running(pid)
    assert not socket_path(redis.url).parent.exists()
    redis.stop()
    with pytest.raises(EmbeddedRedisError, match=r"not running: call start\(\) first"):
        _ = redis.pid


@pytest.mark.parametrize("port", [None, 0])
@pytest.mark.parametrize("end", [lambda _: None, EmbeddedRedis.stop, EmbeddedRedis.kill])
def test_with_a_directory_a_restart_keeps_data_and_address(
    make: Make, tmp_path: Path, port: int | None, end: Callable[[EmbeddedRedis], None]
) -> None:
    """Whether it ran, was stopped or was killed right after it answered; and clients reconnect."""
    redis = make(directory=tmp_path / "new" / "data", port=port, config={"appendfsync": "always"})
    redis.start()
    url, pid, client = redis.url, redis.pid, redis.client()
    assert client.set("key", "kept")
    end(redis)
    redis.restart()
    assert (redis.url, client.get("key")) == (url, b"kept")
    assert redis.pid != pid
    client.close()
    redis.stop()
    assert (tmp_path / "new" / "data" / "redis.log").exists()


def test_without_a_directory_a_restart_keeps_only_the_address(make: Make) -> None:
    """That is what no persistence means."""
    with make() as redis:
        write(redis, "lost")
        url = redis.url
        redis.restart()
        assert (redis.url, read(redis)) == (url, None)


def test_killing_takes_the_server_at_once_and_starting_brings_it_back(make: Make) -> None:
    """No matter how often it is killed."""
    with make() as redis:
        pid = redis.pid
        redis.kill()
        redis.kill()
        assert not is_running(pid)
        with redis.client() as client, pytest.raises(RedisConnectionError):
            client.ping()
        redis.start()
        assert is_running(redis.pid)


def test_two_servers_never_share_a_directory(make: Make, tmp_path: Path) -> None:
    """The second is refused, and the first does not notice."""
    second = make(directory=tmp_path, start_timeout_s=0.2)
    with make(directory=tmp_path) as first:
        with pytest.raises(EmbeddedRedisError, match=f"another server holds {tmp_path}"):
            second.start()
        write(first, "unharmed")
        assert read(first) == "unharmed"


def test_a_server_waits_for_the_directory_of_one_that_is_stopping(make: Make, tmp_path: Path) -> None:
    """So that an owner that crashed can be started again at once."""
    first, second = make(directory=tmp_path), make(directory=tmp_path)
    first.start()
    write(first, "kept")
    waiting = threading.Thread(target=second.start)
    waiting.start()
    first.stop()
    waiting.join(10)
    assert read(second) == "kept"


def test_a_long_path_gets_a_socket_elsewhere(make: Make, tmp_path: Path) -> None:
    """Sockets have short names only; the data stays where it was asked for."""
    directory = tmp_path / ("long" * 30)
    redis = make(directory=directory)
    with redis:
        write(redis, "kept")
        path = socket_path(redis.url)
        assert len(os.fsencode(path)) < 104
        assert path.parent != directory
    assert not path.parent.exists()
    with redis:
        assert (socket_path(redis.url), read(redis)) == (path, "kept")


def test_a_long_temporary_directory_is_replaced(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, or under a build system's ``TMPDIR``."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    with make() as redis, redis.client() as client:
        assert socket_path(redis.url).parents[1] == Path("/tmp")  # noqa: S108 - the fallback
        assert client.ping()
