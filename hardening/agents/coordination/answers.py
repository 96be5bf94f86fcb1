"""Asking many agents the same thing, all at once."""

from __future__ import annotations

import contextvars
import queue
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kombu.exceptions import EncodeError

from hardening.core.errors import ConfigError
from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Answer", "Asker", "answers", "asked"]

#: How many are asked at a time: each has a thread, for as long as the timeout at most.
_MOST = 256
#: What is wrong with the question, and not with one who is asked.
_FAULTS = (ConfigError, EncodeError, TypeError)


class Asker(Protocol):
    """Whoever can ask agents; of an app: :class:`hardening.agents.coordination.bench.AgentBench`."""

    def ask(self, agent: str, handler: str, *args: Any, timeout: float) -> Any:
        """Asks one agent and returns what it answers, within a timeout in seconds."""


class Answer(NamedTuple):
    """What came of asking one agent.

    Attributes:
        agent: its name.
        value: what it answered.
        error: why there is no answer; empty: there is one.
    """

    agent: str
    value: Any = None
    error: str = ""


def asked(names: Iterable[str], what: str) -> tuple[str, ...]:
    """The names of agents, each once.

    Raises:
        ValueError: there are none, or too many.
    """
    listed = tuple(dict.fromkeys(names))
    if isinstance(names, str) or not 1 <= len(listed) <= _MOST:
        raise ValueError(f"{what} is {names!r}, expected the names of 1 to {_MOST} agents")
    return listed


def answers(
    asker: Asker, agents: Sequence[str], handler: str, args: tuple[Any, ...], timeout_s: float
) -> Iterator[Answer]:
    """Asks all of them at once, and yields answers as they come; those that do not come in time are left out.

    Whoever needs no more of them stops iterating: nobody waits for the rest.

    Args:
        asker: asks them; called in one daemon thread for each, in the context of the caller.
        agents: their names.
        handler: what they are asked.
        args: for it.
        timeout_s: for all of it, in seconds.

    Raises:
        ConfigError: the app cannot ask agents.
        TypeError: an argument is not JSON.
        kombu.exceptions.EncodeError: likewise.
    """
    came: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
    until_s = boot_clock_s() + timeout_s

    def ask_one(agent: str) -> None:
        try:
            came.put(Answer(agent, asker.ask(agent, handler, *args, timeout=timeout_s)))
        except _FAULTS as error:
            came.put(error)
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is, there is no answer
            came.put(Answer(agent, error=f"{type(error).__name__}: {error}".partition("\n")[0]))

    for agent in agents:
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(ask_one, agent), name="hardening-ask", daemon=True).start()
    for _ in agents:
        try:
            answer = came.get(timeout=max(0.001, until_s - boot_clock_s()))
        except queue.Empty:
            return
        if isinstance(answer, BaseException):
            raise answer
        yield answer
