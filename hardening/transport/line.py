"""A connection on which calls are written now and their replies read later, in order."""

from __future__ import annotations

import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.connection import Connection

    from hardening.core.scripts import Call

__all__ = ["SILENCE_S", "Line"]

#: After how much silence a line is suspected to be dead, in seconds: from then on nothing is begun.
SILENCE_S = 0.02
#: How long it may then take to answer, in seconds.
_PATIENCE_S = 0.5


class Line:
    """One pipelined connection to Redis.

    Any thread may :meth:`send`; only the thread that owns the event loop may :meth:`pump`.

    Args:
        connection: a connected connection that nobody else uses.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mutex = threading.Lock()
        self._waiting: deque[tuple[Call, Callable[[Any], None], float]] = deque()

    def send(self, call: Call, on_reply: Callable[[Any], None]) -> None:
        """Writes a call; its reply is handed to ``on_reply`` by a later :meth:`pump`.

        Raises:
            redis.ConnectionError: the connection is gone. The call may or may not have been run.
        """
        self._write(call, call.command, on_reply)

    def _write(self, call: Call, command: tuple[Any, ...], on_reply: Callable[[Any], None]) -> None:
        packed = pack_command(command)
        with self._mutex:
            self._waiting.append((call, on_reply, boot_clock_s()))
            self._connection.send_packed_command([packed], check_health=False)

    def pump(self) -> None:
        """Reads every reply that is there.

        Raises:
            redis.ConnectionError: the connection is gone, or Redis refused a call. A refusal is an outage to the
                caller: it reconnects and tries again, with the back-off that goes with it.
        """
        while self._waiting and self._connection.can_read(timeout=0):
            self._read_one()

    def drain(self) -> None:
        """Waits for every outstanding reply, each for as long as the socket timeout allows."""
        while self._waiting:
            self._read_one()

    def _read_one(self) -> None:
        try:
            reply = self._connection.read_response(disconnect_on_error=True)
        except NoScriptError:
            call, on_reply, _ = self._waiting.popleft()
            self._write(call, call.full_command, on_reply)
            return
        except ResponseError as error:
            call, *_ = self._waiting.popleft()
            raise RedisConnectionError(f"Redis refused {call.script.name}: {error}") from error
        _, on_reply, _ = self._waiting.popleft()
        on_reply(reply)

    def is_heard(self) -> bool:
        """Whether Redis answers: nothing has been outstanding for long, or an answer comes soon.

        Any thread may ask; nothing is read.
        """
        until_s = boot_clock_s() + _PATIENCE_S
        while self.waited_s >= SILENCE_S:  # the loop may read the answer before this thread sees that it came
            left_s = until_s - boot_clock_s()
            socket: Any = self._connection._sock
            try:
                if select.select([socket], [], [], max(0.0, min(left_s, SILENCE_S)))[0]:
                    return True
            except (OSError, ValueError, TypeError):  # it has just been closed
                return False
            if left_s <= 0:
                return False
        return True

    @property
    def waited_s(self) -> float:
        """How long the oldest outstanding reply has been waited for, in seconds; 0 when idle."""
        try:
            return boot_clock_s() - self._waiting[0][2]
        except IndexError:  # another thread reads
            return 0.0
