"""Requests to many agents, of which some are slow, halted or dead.

    requests = RequestManager(app)
    reply = requests.submit("inventory", "reserve", "x", 1, key="order-17").result(timeout=30)
    reply.value if reply.is_answered else reply.receipt

Requests to one agent are asked one after the other, in order, by a thread of its own; agents do not hold each other up.
What is not answered in time is not lost: it goes to the agent's mailbox to be handled whenever that is back, and the
reply is its receipt. After some such failures a breaker, which all processes share, has requests go there at once.

Guarantees: a request is handled once where it is not cut short, and never because it was asked *and* then sent: what
was asked and not begun is cancelled, which is certain, before it is sent; what was begun, or done, is not sent again.

Does not guarantee: the order between what is asked and what went to the mailbox before. When it is not certain what
became of an ask, for Redis was away, nothing is sent twice: the ask runs, or is a dead letter (``expired``).

Events: ``hardening.request.deferred``, ``.buried``; those of :mod:`hardening.breaker`.
"""

from __future__ import annotations

import contextvars
import hashlib
import os
import re
import threading
import uuid
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from celery._state import get_current_app
from redis.exceptions import RedisError

from hardening.agents.coordination.bench import AgentBench
from hardening.agents.coordination.errors import RequestsFull
from hardening.agents.coordination.events import RequestBuried, RequestDeferred
from hardening.agents.coordination.names import checked_name, checked_s
from hardening.agents.errors import AgentHalted, AskFailed, AskTimeout
from hardening.breaker import Breaker, CircuitOpen
from hardening.core import telemetry
from hardening.core.errors import DeliveryError, PublishFailed
from hardening.core.forked import forked_lock
from hardening.delivery.receipt_state import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from hardening.delivery import Receipt

__all__ = ["Reply", "RequestManager"]

#: When the breaker of an agent opens, and for how long.
_RULE = {"minimum_calls": 3, "failure_rate": 0.5, "window_s": 60.0, "open_s": 10.0, "probes": 1}
_BREAKER_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
#: How long a cancellation may take, in seconds.
_CANCEL_S = 5.0
_MOST_WAITING = 1_000_000
#: Ways to die without having run.
_UNBEGUN = ("cancelled", "expired")

_mutex = forked_lock()

_Job = tuple["Future[Reply]", contextvars.Context, "Callable[[], Reply]"]


class _Reached(Protocol):
    """Of :class:`AgentBench`, what a manager needs."""

    def ask(self, agent: str, handler: str, *args: Any, timeout: float, key: str | None = None) -> Any: ...

    def give(self, agent: str, handler: str, args: tuple[Any, ...], key: str) -> Receipt: ...

    def bury(self, agent: str, handler: str, args: tuple[Any, ...], error: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Attributes:
        agent: who was asked.
        how: ``answered``. ``sent``: it is in the mailbox. ``begun``: it was too late to send it, for the agent had
            begun it, or done it. ``unsettled``: it could not be found out in time; the receipt follows it.
        value: the answer.
        receipt: of the message that is, or was, handled; None: it was answered.
    """

    agent: str
    how: Literal["answered", "sent", "begun", "unsettled"]
    value: Any = None
    receipt: Receipt | None = None

    @property
    def is_answered(self) -> bool:
        """Whether there is a value."""
        return self.how == "answered"


class _Line:
    """The requests to one agent that wait in this process, and the thread that asks while there are any."""

    def __init__(self) -> None:
        self.waiting: deque[_Job] = deque()
        self.is_running = False


class RequestManager:
    """Sends requests to agents. Any thread may call any method; a forked child begins with none waiting.

    Args:
        app: a hardened app; default: the current one.
        timeout: how long an agent may take to answer, in seconds.
        buffer: how many requests to one agent may wait here. One more is a dead letter, of reason ``mailbox_full``.
        bench: how agents are reached; default: as those of the app.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
    """

    def __init__(
        self, app: Celery | None = None, *, timeout: float = 5.0, buffer: int = 100, bench: _Reached | None = None
    ) -> None:
        if isinstance(buffer, bool) or not isinstance(buffer, int) or not 1 <= buffer <= _MOST_WAITING:
            raise ValueError(f"buffer is {buffer!r}, expected how many requests may wait, from 1 to {_MOST_WAITING}")
        self._app: Celery = app or get_current_app()
        self._timeout_s = checked_s(timeout, "timeout", least=0.001)
        self._buffer = buffer
        self._bench: _Reached = bench or AgentBench(self._app)
        self._start_anew()

    def _start_anew(self) -> None:
        self._mutex = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._breakers: dict[str, Breaker] = {}
        self._pid = os.getpid()

    def _leave_parent(self) -> None:
        """In a forked child: the parent's lock may be held for ever there, and its threads are not here."""
        with _mutex:
            if os.getpid() != self._pid:
                self._start_anew()

    def submit(self, agent: str, handler: str, /, *args: Any, key: str | None = None) -> Future[Reply]:
        """Has an agent asked, behind what waits for it here.

        Args:
            agent: its name.
            handler: what it is asked.
            *args: for it, JSON.
            key: a name for the request: of all with the same, from whichever process, one is handled. Default: one that
                no other has.

        Returns:
            What comes of it. Its errors: ``AskFailed``: the handler raised, or the message died. ``MailboxFull``,
            ``PublishFailed``: it is nowhere. ``ConfigError``, ``EncodeError``: what is wrong with the request.

        Raises:
            RequestsFull: too many wait; it has the dead letter.
            ValueError: a name that is none.
        """
        checked_name(agent, "agent")
        named = key if key is not None else uuid.uuid4().hex
        self._leave_parent()
        future: Future[Reply] = Future()
        job = future, contextvars.copy_context(), lambda: self._request(agent, handler, args, named)
        with self._mutex:
            line = self._lines.setdefault(agent, _Line())
            is_full = len(line.waiting) >= self._buffer
            if not line.is_running:
                # A machine that has no thread left raises here: nothing may wait then for one that never runs.
                threading.Thread(target=self._run, args=(agent, line), name="hardening-requests", daemon=True).start()
                line.is_running = True
            if not is_full:
                line.waiting.append(job)
        if is_full:
            raise self._buried(agent, handler, args)
        return future

    def ask(self, agent: str, handler: str, /, *args: Any, key: str | None = None) -> Reply:
        """The same, and waits for it: as long as everything before it, and it itself, may take.

        Raises:
            RequestsFull: as for :meth:`submit`.
            AskFailed: likewise, and whatever else is told there.
        """
        return self.submit(agent, handler, *args, key=key).result()

    def waiting(self, agent: str) -> int:
        """How many requests to an agent wait here, without the one that is being asked."""
        self._leave_parent()
        with self._mutex:
            return len(self._lines[agent].waiting) if agent in self._lines else 0

    def _buried(self, agent: str, handler: str, args: tuple[Any, ...]) -> RequestsFull:
        try:
            letter = self._bench.bury(agent, handler, args, f"{self._buffer} requests to agent {agent} waited already")
        except (RedisError, OSError):
            letter = ""
        telemetry.emit(RequestBuried(agent=agent, handler=handler, letter=letter))
        return RequestsFull(agent, self._buffer, letter)

    # -- the thread of one line

    def _run(self, agent: str, line: _Line) -> None:
        while True:
            with self._mutex:
                if not line.waiting:
                    line.is_running = False
                    del self._lines[agent]
                    return
                future, context, request = line.waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(context.run(request))
            except BaseException as error:  # noqa: BLE001 - the edge: it is for whoever asked
                future.set_exception(error)

    def _request(self, agent: str, handler: str, args: tuple[Any, ...], key: str) -> Reply:
        try:
            with self._breaker(agent):
                value = self._bench.ask(agent, handler, *args, timeout=self._timeout_s, key=key)
            return Reply(agent, "answered", value)
        except CircuitOpen as error:
            reply = self._passed_on(agent, handler, args, key)
            why = str(error)
        except (AskTimeout, AgentHalted, AskFailed) as error:
            if isinstance(error, AskFailed) and error.error_type not in _UNBEGUN:  # of an earlier request with this key
                raise
            reply = self._passed_on(agent, handler, args, key, is_asked=True)
            why = str(error)
        except PublishFailed as error:  # the ask may be there all the same, and is then what the key names
            reply = Reply(agent, "sent", receipt=self._bench.give(agent, handler, args, key))
            why = str(error)
        receipt = reply.receipt.id if reply.receipt is not None else ""
        telemetry.emit(RequestDeferred(agent=agent, handler=handler, receipt=receipt, why=why))
        return reply

    def _passed_on(self, agent: str, handler: str, args: tuple[Any, ...], key: str, *, is_asked: bool = False) -> Reply:
        """Sends it, unless what was asked before may have been begun; the key names that, or else this.

        An ask is not handled any more when its time is over. So it is cancelled, and sent anew.
        """
        receipt = self._bench.give(agent, handler, args, key)
        if is_asked and not self._is_settled(receipt):
            return Reply(agent, "unsettled", receipt=receipt)
        said = receipt.details()
        if said.get("state") == DeliveryStatus.DEAD.value:
            if said.get("reason") not in _UNBEGUN:
                raise AskFailed(
                    agent, handler, said.get("reason", ""), f"the message is dead, see receipt {receipt.id}"
                )
            if any(seen.state is DeliveryStatus.STARTED for seen in receipt.history()):
                return Reply(agent, "unsettled", receipt=receipt)  # begun, and cut short: it may have been committed
            return Reply(agent, "sent", receipt=self._bench.give(agent, handler, args, f"{key}#sent"))
        is_begun = said.get("state") in (DeliveryStatus.STARTED.value, DeliveryStatus.ACKED.value)
        return Reply(agent, "begun" if is_begun else "sent", receipt=receipt)

    def _is_settled(self, receipt: Receipt) -> bool:
        """Whether it is certain that it will not be begun, or too late."""
        try:
            receipt.cancel(timeout=_CANCEL_S)
        except DeliveryError:
            return False
        return True

    def _breaker(self, agent: str) -> Breaker:
        """The breaker of an agent: closed as long as it answers, whatever it says."""
        if agent not in self._breakers:
            name = f"agent.{agent}"
            if not _BREAKER_NAME.fullmatch(name):
                name = f"agent.{hashlib.sha256(agent.encode()).hexdigest()[:32]}"
            rule: dict[str, Any] = {**_RULE, "counts": (AskTimeout, AgentHalted)}
            self._breakers[agent] = Breaker(name, app=self._app, **rule)
        return self._breakers[agent]
