"""Redis is killed in the middle of a write: half a transaction is at the end of its file."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from hardening.core.embedded import EmbeddedRedis
from hardening.core.guard import GUARD

if TYPE_CHECKING:
    from redis import Redis

    from tests.integration.private_redis import Make

#: With ``everysec``, what was answered may not have been written where the disk is busy.
ALWAYS = {"appendfsync": "always"}
_COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
#: Takes one from a queue, and does something large after that.
_MOVE = "redis.call('SET', 'taken', redis.call('LPOP', KEYS[1])) redis.call('SET', 'more', string.rep('x', 1000))"
#: What is seen where it did not happen, or where the half of it did that came first.
UNTOUCHED = ([b"1", b"2", b"3"], None, None)
HALF = ([b"2", b"3"], b"1", None)


def aof_of(directory: Path) -> Path:
    """The file to which is written."""
    (aof,) = [path for path in directory.rglob("*.aof") if path.stat().st_size]
    return aof


def tear(redis: EmbeddedRedis, directory: Path, torn: int) -> None:
    """Ends a server so that so many bytes of its last transaction are missing."""
    with redis, redis.client() as client:
        client.rpush("queue", 1, 2, 3)
        client.eval(_MOVE, 1, "queue")
        redis.kill()
    aof = aof_of(directory)
    os.truncate(aof, aof.stat().st_size - torn)


def seen(client: Redis) -> Any:
    """What there is of it."""
    return client.lrange("queue", 0, -1), client.get("taken"), client.get("more")


@pytest.mark.parametrize("torn", [1, 500, 1_090])
def test_of_a_transaction_that_a_killed_server_wrote_in_part_nothing_is_ever_run(
    make: Make, tmp_path: Path, torn: int
) -> None:
    """Redis would cut off the torn command alone, and run what is before it at the start after the next."""
    redis = make(directory=tmp_path, config=ALWAYS)
    tear(redis, tmp_path, torn)
    with redis, redis.client() as client:
        for start in range(3):
            assert seen(client) == UNTOUCHED
            assert client.incr("starts") == start + 1
            redis.restart()
        client.lpop("queue")
        redis.kill()
        redis.restart()
        assert client.lrange("queue", 0, -1) == [b"2", b"3"]


def test_a_file_that_holds_a_transaction_in_another_is_left_as_it_is(make: Make, tmp_path: Path) -> None:
    """Whoever had that before keeps what came after it: Redis reads on, and its check would cut all of it off."""
    redis = make(directory=tmp_path, config=ALWAYS)
    with redis, redis.client() as client:
        client.set("before", 1)
        redis.kill()
        with aof_of(tmp_path).open("ab") as file:
            file.write(b"*1\r\n$5\r\nMULTI\r\n" * 2 + b"*1\r\n$4\r\nEXEC\r\n")
            file.write(b"*3\r\n$3\r\nSET\r\n$5\r\nafter\r\n$1\r\n1\r\n")
        redis.restart()
        assert client.mget("before", "after") == [b"1", b"1"]


def test_redis_itself_still_runs_half_of_it_at_the_start_after_the_next(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the guard is there for; when this fails, the server that was tested has mended it."""
    monkeypatch.setattr("hardening.core.embedded.GUARD", GUARD.replace('check("--fix")', "pass"))
    redis = make(directory=tmp_path, config=ALWAYS)
    tear(redis, tmp_path, 500)
    with redis, redis.client() as client:
        assert seen(client) == UNTOUCHED
        client.eval("redis.call('INCR', KEYS[1]) redis.call('INCR', KEYS[2])", 2, "a", "b")
        redis.restart()
        assert seen(client) == HALF


def test_the_stack_has_it_cut_off_too(tmp_path: Path) -> None:
    """Its Redis begins with a check of the file, and does without where there is none."""
    redis = EmbeddedRedis(directory=tmp_path / "data", config=ALWAYS)
    (script,) = re.findall(
        r"^  redis:(?:\n    .*)*\n    command:\n      - \|\n((?:        .*\n)+)", _COMPOSE.read_text(), re.MULTILINE
    )
    for ours, theirs in {"$$": "$", "/data": f"{tmp_path}/data", "/secrets": f"{tmp_path}"}.items():
        script = script.replace(ours, theirs)
    names = tmp_path / "bin"
    names.mkdir()
    (names / "redis-check-aof").symlink_to(redis._server)
    (names / "redis-server").symlink_to("/bin/true")
    (tmp_path / "redis.conf").write_text("requirepass x")

    def begin() -> None:
        path = f"{names}:{os.environ['PATH']}"
        subprocess.run(["sh", "-ec", dedent(script)], env={"PATH": path}, check=True, timeout=60, capture_output=True)

    begin()
    tear(redis, tmp_path, 500)
    if redis.version < (7,):
        pytest.skip("this Redis keeps its file elsewhere than the stack's does")
    begin()
    assert b"MULTI" not in aof_of(tmp_path).read_bytes()
    begin()
    assert b"queue" in aof_of(tmp_path).read_bytes()
