"""What is asked of replicas, of a server that is not there: WAIT, and WAITAOF as Redis 7.2 has it."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from hardening.core.errors import ConfigError
from hardening.core.keys import Keys
from hardening.core.membership import boot_clock_s
from hardening.delivery.replication import Replication


class Connection:
    """Answers as it was told to, and keeps what it was asked."""

    socket_timeout = 2.0

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.asked: list[bytes] = []

    def send_packed_command(self, command: list[bytes], *, check_health: bool) -> None:
        """Keeps it."""
        assert not check_health
        self.asked += command

    def read_response(self, *, disconnect_on_error: bool) -> Any:
        """The next answer."""
        assert disconnect_on_error
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def words(command: bytes) -> list[bytes]:
    """The words of a packed command."""
    return command.split(b"\r\n")[2::2]


def replication(*, on_disk: bool, left_s: float = 0.5, replicas: int = 1) -> Replication:
    """Asked with so much time left."""
    return Replication(replicas, on_disk, boot_clock_s() + left_s, Keys("p"))


@pytest.mark.parametrize(("on_disk", "reply", "reached"), [
    (False, 3, 3), (False, 0, 0), (True, [1, 2], 2), (True, [0, 2], 0), (True, [1, 0], 0),
])  # fmt: skip
def test_the_answer_is_how_many_replicas_have_it(*, on_disk: bool, reply: Any, reached: int) -> None:
    """On disk, none counts while the master has it not."""
    connection = Connection(reply)
    assert replication(on_disk=on_disk, left_s=0.5).reached(connection) == reached
    (command,) = map(words, connection.asked)
    assert command[:-1] == ([b"WAITAOF", b"1", b"1"] if on_disk else [b"WAIT", b"1"])
    assert 300 < int(command[-1]) <= 500


def test_it_is_asked_again_until_time_is_up() -> None:
    """Never for longer than half of what the socket waits, and never for ever, which 0 would be."""
    connection = Connection(0, 0, 2)
    assert replication(on_disk=False, left_s=60, replicas=2).reached(connection) == 2
    assert [words(command) for command in connection.asked] == [[b"WAIT", b"2", b"1000"]] * 3
    late = Connection(1)
    assert replication(on_disk=False, left_s=-5, replicas=2).reached(late) == 1
    assert words(late.asked[0]) == [b"WAIT", b"2", b"1"]


@pytest.mark.parametrize(
    "text", ["unknown command 'WAITAOF'", "WAITAOF cannot be used when numlocal is set but appendonly is disabled."]
)
def test_a_server_that_cannot_tell_says_what_to_do(text: str) -> None:
    """It is too old, or keeps no file."""
    with pytest.raises(ConfigError, match=r"Redis 7\.2 or newer with appendonly yes") as raised:
        replication(on_disk=True).reached(Connection(ResponseError(text)))
    assert text in str(raised.value)
    with pytest.raises(ResponseError):
        replication(on_disk=False).reached(Connection(ResponseError("no")))
