"""Publishing so that replicas have it too: ``WAIT``, or ``WAITAOF`` where it must be on their disks.

Both wait for the last write of *their own connection*, so publication and wait share one. After a repeat, which
writes nothing, something is written first; or they would tell of replicas that have never seen the message.

Guarantees: what is told to be on so many replicas was, at that moment.

Does not guarantee: that a failover promotes one of them. ``min-replicas-to-write`` and Sentinel's choice are
Redis's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.exceptions import ResponseError

from hardening.core.errors import ConfigError
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.calls import count_repeat
from hardening.delivery.async_client import round_trip, run_on
from hardening.delivery.attempts import TRANSIENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from hardening.core.keys import Keys
    from hardening.core.scripts import Call

__all__ = ["Replication"]


@dataclass(frozen=True, slots=True)
class Replication:
    """What is asked of the replicas of one publication.

    Args:
        replicas: how many must have it.
        on_disk: whether they and the master must have it on disk.
        until_s: by when, by the boot clock, in seconds.
        keys: the deployment's.
    """

    replicas: int
    on_disk: bool
    until_s: float
    keys: Keys

    def run(
        self, call: Call, client: Redis, wrote: Callable[[Any], bool] = lambda reply: reply == 1
    ) -> tuple[Any, int]:
        """Publishes, and waits.

        Args:
            call: the publication.
            client: over one of whose connections.
            wrote: tells by the reply whether it was no repeat.

        Returns:
            The reply of the call, and how many replicas have it.

        Raises:
            redis.RedisError: the publication's.
            ConfigError: the server cannot tell what is on disk.
        """
        pool: Any = client.connection_pool
        connection = pool.get_connection()
        try:
            reply = call.run_on(connection)
            try:
                if not wrote(reply):
                    count_repeat(self.keys).run_on(connection)
                return reply, self.reached(connection)
            except TRANSIENT:
                return reply, 0
        finally:
            pool.release(connection)

    def reached(self, connection: Any) -> int:
        """How many replicas have what this connection wrote last: at least as many as are asked for, or time is up."""
        while True:
            wait_ms, is_last = self._patience(connection)
            connection.send_packed_command([pack_command(self._question(wait_ms))], check_health=False)
            try:
                reached = self._answer(connection.read_response(disconnect_on_error=True))
            except ResponseError as error:
                self._refused(error)
                raise
            if reached >= self.replicas or is_last:
                return reached

    async def reached_async(self, connection: Any, *, wrote: bool) -> int:
        """The same over a connection of an event loop, which goes on meanwhile.

        Args:
            connection: that of the publication; nobody else may use it until this returns.
            wrote: whether the publication was no repeat.

        Raises:
            ConfigError: the server cannot tell what is on disk.
        """
        try:
            if not wrote:
                await run_on(count_repeat(self.keys), connection)
            while True:
                wait_ms, is_last = self._patience(connection)
                reached = self._answer(await round_trip(connection, self._question(wait_ms)))
                if reached >= self.replicas or is_last:
                    return reached
        except ResponseError as error:
            self._refused(error)
            raise
        except TRANSIENT:
            return 0

    def _patience(self, connection: Any) -> tuple[int, bool]:
        """For how long to ask now, in ms, and whether time is up then: a socket must not give up first."""
        longest_s, left_s = (connection.socket_timeout or 1.0) / 2, self.until_s - boot_clock_s()
        return max(1, int(min(left_s, longest_s) * 1000)), left_s <= longest_s

    def _question(self, wait_ms: int) -> Any:
        return (*(("WAITAOF", 1) if self.on_disk else ("WAIT",)), self.replicas, wait_ms)

    def _answer(self, reply: Any) -> int:
        if not self.on_disk:
            return int(reply)
        on_master, on_replicas = map(int, reply)
        return on_replicas if on_master else 0

    def _refused(self, error: ResponseError) -> None:
        if self.on_disk:
            raise ConfigError(
                "on_disk=True needs WAITAOF, of Redis 7.2 or newer with appendonly yes: "
                f"{error}; the message is published"
            ) from error
