"""Running one message of an agent: open, handle, commit. Runs in a worker's pool, one message of an agent at a time.

Guarantees: what a message does to the state, and what goes out with it, is committed once, by one script, or not at
all. A message that comes again after it was committed is only acknowledged. A process that lost the message commits
nothing: whoever has it now runs it.

Does not guarantee: that whatever else a handler does happens once.

Events: ``hardening.agent.restored``, ``.restarted``, ``.halted``, ``.turn_lost``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celery.exceptions import Reject, TaskPredicate

from hardening.agents.errors import AgentError, HandlerUnknown, Refused, StateRefused, TurnLost
from hardening.agents.events import AgentHalting, AgentRestarted, AgentTurnLost
from hardening.agents.handlers import handler_for
from hardening.agents.here import running
from hardening.agents.letters import notice_to
from hardening.agents.outbox import Outbox, failure_of, refusal_of
from hardening.agents.residents import Resident, residents_of
from hardening.agents.restoring import entry_of, restored
from hardening.agents.store import Store, StoreAway
from hardening.core import telemetry
from hardening.core.scripts.agenting import Change, Failing, Opened

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.actor import Agent
    from hardening.agents.handlers import Handler
    from hardening.core.scripts.agenting import Turn

__all__ = ["Message", "run"]

_LINE = 500


class Message(NamedTuple):
    """What an agent is told.

    Attributes:
        handler: its name.
        args: positional arguments.
        kwargs: keyword arguments.
        ask: id of the ask; empty: nobody waits for an answer.
    """

    handler: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    ask: str = ""


def run(app: Celery, cls: type[Agent], turn: Turn, message: Message) -> None:
    """Runs one message of an agent.

    Raises:
        celery.exceptions.Reject: the message goes back, or is somebody else's by now.
        Exception: what the handler raised; the message is then buried.
    """
    _Run(app, cls, turn, message).run()


class _Run:
    """One run of one message."""

    def __init__(self, app: Celery, cls: type[Agent], turn: Turn, message: Message) -> None:
        self._app = app
        self._cls = cls
        self._turn = turn
        self._message = message
        self._store = Store(app, turn)
        self._residents = residents_of(app)

    def run(self) -> None:
        try:
            resident = self._opened()
            if resident is None:
                return
            try:
                outbox = self._handled(resident)
            except Refused as refusal:
                self._refused(resident, refusal)
                return
            self._commit(resident, outbox)
        except StoreAway as error:
            raise Reject(error, requeue=True) from error

    def _opened(self) -> Resident | None:
        """The agent; None: the message was applied before."""
        known = self._residents.take(self._cls.name)
        is_ready = known is not None and known.is_as(self._turn)
        opened = Opened("ready") if is_ready else self._store.open(known.mark if known else "")
        if opened.outcome == "refused":
            raise self._lost()
        if opened.outcome == "applied":
            return None
        if known is not None and opened.outcome == "ready":
            known.agent.outbox = Outbox(self._app, self._message.ask)
            return known
        try:
            fresh = restored(self._app, self._cls, opened)
        except StateRefused as error:
            self._failed(error, "park")
            raise Reject(error, requeue=True) from error
        fresh.agent.outbox = Outbox(self._app, self._message.ask)
        try:
            fresh.agent.on_start()
        except Exception as error:
            self._failed(error)
            raise Reject(error, requeue=True) from error
        return fresh

    def _handled(self, resident: Resident) -> Outbox:
        """What the handler says, when it has done its work."""
        message, agent, handler = self._message, resident.agent, self._handler(resident)
        token = running.set(self._cls.name)
        try:
            value = getattr(agent, handler.attribute)(*message.args, **message.kwargs)
            if message.ask and not agent.outbox.is_deferred:
                agent.outbox.answer(message.ask, value)
        except TaskPredicate as error:
            said = f"raised {type(error).__name__} in {message.handler}, by which no handler can end: return, or raise"
            refused = AgentError(self._cls.name, said)
            self._failed(refused, answers=True)
            raise refused from error
        except Refused:
            raise
        except Exception as error:
            self._failed(error, answers=True)
            raise
        finally:
            running.reset(token)
        return agent.outbox

    def _refused(self, resident: Resident, refusal: Refused) -> None:
        """Answers, and commits nothing else. The instance may have been changed, and is thrown away.

        Raises:
            Refused: nobody asked.
        """
        ask = self._message.ask
        if not ask:
            self._failed(refusal, "none")
            raise refusal
        schema = resident.agent.state.schema_version
        if not self._store.commit(resident.mark, Change("none", b"", schema, ((ask, refusal_of(refusal)),))):
            raise self._lost()

    def _handler(self, resident: Resident) -> Handler:
        message = self._message
        try:
            return handler_for(self._cls, message.handler, message.args, message.kwargs)
        except HandlerUnknown as error:
            self._residents.put(resident)
            self._failed(error, "none", answers=True)
            raise

    def _commit(self, resident: Resident, outbox: Outbox) -> None:
        try:
            change, written = self._change(resident, outbox)
        except ValueError as error:
            refused = StateRefused(self._cls.name, f"has a state that is not JSON: {error}".partition("\n")[0])
            self._failed(refused, answers=True)
            raise refused from error
        mark = self._store.commit(resident.mark, change)
        if not mark:
            raise self._lost()
        entries = resident.entries + 1 if change.kind == "entry" else 0
        self._residents.put(Resident(resident.agent, mark, written, entries))  # "=" is no mark: it is read anew then

    def _change(self, resident: Resident, outbox: Outbox) -> tuple[Change, bytes | None]:
        message, state = self._message, resident.agent.state
        said: dict[str, Any] = {"schema": state.schema_version, "answers": outbox.answers, "letters": outbox.letters}
        if resident.written is not None and resident.entries + 1 < self._cls.snapshot_every:
            entry = entry_of(message.handler, message.args, message.kwargs)
            return Change("entry", entry, **said), resident.written
        written = state.written()
        if written == resident.written and not resident.entries:
            return Change("none", **said), written
        return Change("state", written, **said), written

    def _lost(self) -> Reject:
        telemetry.emit(AgentTurnLost(agent=self._cls.name, handler=self._message.handler, message=self._turn.message))
        return Reject(TurnLost(self._cls.name), requeue=True)

    def _failed(self, error: BaseException, strategy: str = "", *, answers: bool = False) -> None:
        """Has the supervisor decide what follows; whoever asked is answered at once.

        Raises:
            celery.exceptions.Reject: the message is somebody else's by now.
        """
        supervisor, name, message = self._cls.supervisor, self._cls.name, self._message
        rule = supervisor.rule(strategy)
        why = f"{type(error).__name__}: {error}".partition("\n")[0][:_LINE]
        ask = message.ask if answers else ""
        failing = Failing(why, ask, failure_of(error) if ask else "")
        if rule.strategy != "none" and supervisor.owner is not None:
            halt = "stopped" if rule.strategy == "stop" else "parked"
            notice, fields = notice_to(self._app, supervisor.owner, {"agent": name, "halt": halt, "why": why})
            failing = failing._replace(notice=notice, fields=fields)
        failure = self._store.failed(rule, failing)
        if failure.is_refused:
            raise self._lost()
        if rule.strategy != "none":
            pause_s = failure.pause_ms / 1000
            about: dict[str, Any] = {"agent": name, "error": why, "restarts": failure.restarts}
            telemetry.emit(AgentRestarted(**about, handler=message.handler, pause_s=pause_s))
            if failure.halt:
                telemetry.emit(AgentHalting(**about, halt=failure.halt))
