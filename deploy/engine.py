"""The container engine of this machine, and one stack that runs on it. Every call has a timeout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["CallFailed", "Container", "Engine", "NoEngine", "Stack", "find_engine"]

_ROOT = Path(__file__).parents[1]
_INSTALL = "no container engine: install Docker with its compose plugin and start it, or podman and podman-compose"


class NoEngine(Exception):
    """There is nothing on this machine that could run containers; says in one line what to install."""

    def __init__(self) -> None:
        super().__init__(_INSTALL)


class CallFailed(Exception):
    """The engine, or what was called in a container, failed or took too long.

    Attributes:
        code: its exit code; None: it took too long.
        output: all that it said.
    """

    def __init__(self, command: tuple[str, ...], code: int | None, output: str, timeout_s: float) -> None:
        self.code, self.output = code, output
        what = f"took longer than {timeout_s:g} s" if code is None else f"ended with {code}"
        tail = "".join(f"\n  | {line}" for line in output.splitlines()[-30:])
        super().__init__(f"{' '.join(command)[:200]} {what}{tail}")


@dataclass(frozen=True)
class Engine:
    """What runs containers.

    Attributes:
        binary: ``docker`` or ``podman``.
        compose: the command that reads compose files.
    """

    binary: str
    compose: tuple[str, ...]


class Container(NamedTuple):
    """One container, whose host name is the beginning of its id."""

    id: str
    is_running: bool


def find_engine() -> Engine:
    """The first engine that answers.

    Raises:
        NoEngine: none does.
    """
    for engine in (Engine("docker", ("docker", "compose")), Engine("podman", ("podman-compose",))):
        if shutil.which(engine.binary) is None or shutil.which(engine.compose[0]) is None:
            continue
        try:
            call((*engine.compose, "version"), timeout_s=30)
            call((engine.binary, "info"), timeout_s=30)
        except CallFailed:
            continue
        return engine
    raise NoEngine


def call(command: tuple[str, ...], *, timeout_s: float, given: str = "", env: dict[str, str] | None = None) -> str:
    """Calls a command and returns what it printed; it ends with all that it started.

    Args:
        command: with its arguments.
        timeout_s: how long it may take, in seconds.
        given: its standard input.
        env: variables besides those of this process.

    Raises:
        CallFailed: it failed, or took too long.
    """
    with subprocess.Popen(
        command, cwd=_ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(given, timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise CallFailed(command, None, out + err, timeout_s) from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise CallFailed(command, process.returncode, out + err, timeout_s)
    return out


@dataclass
class Stack:
    """One stack of the compose file, under a project name of its own.

    Attributes:
        engine: runs it.
        project: tells it from others on this machine.
        env: what the compose file is told.
    """

    engine: Engine
    project: str
    env: dict[str, str] = field(default_factory=dict)

    def compose(self, *args: str, timeout_s: float) -> str:
        """Calls compose for this project."""
        return call((*self.engine.compose, "-p", self.project, *args), timeout_s=timeout_s, env=self.env)

    def containers(self, service: str) -> list[Container]:
        """The containers of a service, those that have ended too."""
        labels = {"project": self.project, "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        shown = self._engine("ps", "--all", "--no-trunc", "--format={{.ID}} {{.Status}}", *filters)
        rows = [line.split(" ", 1) for line in shown.splitlines()]
        return [Container(id_, status.startswith("Up")) for id_, status in rows]

    def running(self, service: str) -> list[str]:
        """The ids of the containers of a service that run."""
        return [one.id for one in self.containers(service) if one.is_running]

    def execute(self, container: str, *command: str, given: str = "", timeout_s: float = 60.0) -> str:
        """Runs a command in a container and returns what it printed."""
        return call((self.engine.binary, "exec", "-i", container, *command), timeout_s=timeout_s, given=given)

    def kill(self, container: str) -> None:
        """SIGKILL for a container's first process, and so for all of them."""
        self._engine("kill", "--signal=KILL", container)

    def stop(self, container: str, *, timeout_s: float) -> int:
        """SIGTERM, SIGKILL after a while; returns the exit code."""
        self._engine("stop", f"--time={timeout_s:.0f}", container, timeout_s=timeout_s + 30)
        return int(self._engine("inspect", "--format={{.State.ExitCode}}", container))

    def logs(self, container: str) -> str:
        """All that a container has written."""
        return call(("sh", "-c", 'exec "$@" 2>&1', "sh", self.engine.binary, "logs", container), timeout_s=60)

    def down(self) -> None:
        """Removes the stack with its volumes, however it is; podman-compose alone would forget what was scaled."""
        label = f"--filter=label=com.docker.compose.project={self.project}"
        ids = self._engine("ps", "--all", "--quiet", label).split()
        for id_ in ids:
            with suppress(CallFailed):  # it has ended already
                self.kill(id_)
        for id_ in ids + ids:
            with suppress(CallFailed):  # podman removes none on which another one depends: so twice
                self._engine("rm", "--force", id_)
        self.compose("down", "--volumes", timeout_s=180)
        for volume in self._engine("volume", "ls", "--quiet", label).split():
            self._engine("volume", "rm", volume)

    def left(self) -> list[str]:
        """What of the stack is still there."""
        label = f"--filter=label=com.docker.compose.project={self.project}"
        kinds = (("ps", "--all", "--quiet"), ("volume", "ls", "--quiet"), ("network", "ls", "--quiet"))
        return [name for kind in kinds for name in self._engine(*kind, label).split()]

    def _engine(self, *args: str, timeout_s: float = 60.0) -> str:
        return call((self.engine.binary, *args), timeout_s=timeout_s)
