"""Loading a Lua script and running it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from hardening.core.scripts.lending import give_back, lend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

__all__ = ["Call", "Pending", "Script"]

_USES = re.compile(r"^-- uses: (.+)$", re.MULTILINE)

_REFUSED = re.compile(r"@user_script: \d+: -(OOM|READONLY) ")
_REFUSALS: dict[str, type[ResponseError]] = {"OOM": OutOfMemoryError, "READONLY": ReadOnlyError}

Argument = str | bytes | int | float


def _read(path: str) -> str:
    return resources.files("hardening.core.scripts").joinpath(path).read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script with the library pieces it uses, as Redis will know it.

    The text runs unchanged on Redis 6.2, 7 and Valkey: it has no shebang line. What must work on a
    full Redis writes something that only frees memory first, after which every write is allowed.

    Attributes:
        name: the file's name without ``.lua``.
        source: what is sent to Redis.
        sha: its SHA-1, hex, by which Redis caches it.
    """

    name: str
    source: str
    sha: str

    @staticmethod
    @cache
    def load(name: str) -> Script:
        """Reads a script from this package. Cached for the life of the process."""
        body = _read(f"{name}.lua")
        uses = _USES.search(body)
        pieces = [_read(f"lib/{piece}.lua") for piece in uses.group(1).split()] if uses else []
        source = "\n".join([*pieces, body])
        return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())

    def cache(self, client: Redis) -> None:
        """Has Redis cache it, for callers that write calls without waiting for the reply.

        Raises:
            redis.RedisError: as the client raises it.
        """
        client.script_load(self.source)


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments: ready to run, or to be written to a pipeline."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]

    @property
    def command(self) -> tuple[Argument, ...]:
        """The command as Redis takes it; fails with ``NOSCRIPT`` where the script is not cached."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)

    @property
    def full_command(self) -> tuple[Argument, ...]:
        """The same with the script's text, which also caches it."""
        return ("EVAL", self.script.source, len(self.keys), *self.keys, *self.args)

    def run(self, client: Redis) -> Any:
        """Runs it and waits for the reply.

        Args:
            client: decides on timeouts; replies must not be decoded.

        Returns:
            The reply as the wrapper in :mod:`~hardening.core.scripts.calls` describes it.

        Raises:
            redis.RedisError: as the client raises it; what a command inside was refused for has its own type
                on every Redis.
        """
        pool: Any = client.connection_pool
        connection = lend(pool)
        try:
            return self.run_on(connection)
        finally:
            give_back(pool, connection)

    def run_on(self, connection: Any) -> Any:
        """The same over one connection, which stays the caller's.

        A connection on which anything goes wrong is closed by redis-py itself, so no reply is ever read by the wrong
        caller; one to a Redis that is no master any more is closed here, as connecting anew may find who is.
        """
        try:
            return self._execute(connection)
        except ResponseError as error:
            told = _told(self, error, connection)
            if told is error:
                raise
            raise told from error

    def begin(self, client: Redis) -> Pending:
        """Sends it and does not wait: the caller works while Redis does, then asks for the reply.

        A connection on which anything goes wrong is closed by redis-py itself, as with :meth:`run`.

        Args:
            client: as for :meth:`run`.

        Raises:
            redis.RedisError: it could not be sent.
        """
        pool: Any = client.connection_pool
        connection = lend(pool)
        try:
            connection.send_packed_command([pack_command(self.command)], check_health=False)  # type: ignore[arg-type]
        except BaseException:
            give_back(pool, connection)
            raise
        return Pending(self, client, connection)

    @staticmethod
    def told(error: ResponseError) -> ResponseError:
        """A refusal by its own type: Redis 6.2 reports it in the middle of a sentence, so that redis-py misses it."""
        refused = _REFUSED.search(str(error))
        return error if refused is None else _REFUSALS[refused[1]](str(error))

    def _execute(self, connection: Any) -> Any:
        try:
            return _round_trip(connection, self.command)
        except NoScriptError:
            return _round_trip(connection, self.full_command)


class Pending:
    """A call that was sent, whose reply must be asked for, once.

    Args:
        call: what was sent.
        client: over whose connection.
        connection: on which the reply comes.
    """

    def __init__(self, call: Call, client: Redis, connection: Any) -> None:
        self._call = call
        self._client = client
        self._connection: Any = connection

    def reply(self) -> Any:
        """Waits for the reply.

        Returns:
            As :meth:`Call.run`.

        Raises:
            redis.RedisError: as :meth:`Call.run`.
        """
        connection, self._connection = self._connection, None
        try:
            return connection.read_response(disconnect_on_error=True)
        except NoScriptError:
            pass  # sent again below, when the connection has been given back: there may be no other
        except ResponseError as error:
            told = _told(self._call, error, connection)
            if told is error:
                raise
            raise told from error
        finally:
            give_back(self._client.connection_pool, connection)
        return self._call.run(self._client)


def _round_trip(connection: Any, command: tuple[Argument, ...]) -> Any:
    """One command over a connection, at a third of what ``execute_command`` costs.

    What that does besides (retries, callbacks, client-side caches, metrics) scripts do not use. A connection to what
    Sentinels watch over must be told to close when a reply does not come: by itself it would not.
    """
    connection.send_packed_command([pack_command(command)], check_health=False)  # type: ignore[arg-type]
    return connection.read_response(disconnect_on_error=True)


def _told(call: Call, error: ResponseError, connection: Any) -> ResponseError:
    told = call.told(error)
    if isinstance(told, ReadOnlyError):
        connection.disconnect()
    return told
