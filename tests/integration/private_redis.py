"""What tests of the private Redis share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hardening.core.embedded import EmbeddedRedis

__all__ = ["Make", "is_running", "read", "socket_path", "stat_of", "write"]

#: Makes a Redis of one kind that is stopped when the test ends.
Make = Callable[..., EmbeddedRedis]


def stat_of(pid: int) -> list[str]:
    """State, parent and so on of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_running(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    return stat_of(pid)[:1] not in ([], ["Z"])


def socket_path(url: str) -> Path:
    """Where the socket of such an address is."""
    return Path(url.removeprefix("unix://").removesuffix("?db=0"))


def write(redis: EmbeddedRedis, value: str) -> None:
    """Sets the one key."""
    with redis.client() as client:
        client.set("key", value)


def read(redis: EmbeddedRedis) -> str | None:
    """What the one key has."""
    with redis.client(decode_responses=True) as client:
        answer = client.get("key")
    return None if answer is None else str(answer)
