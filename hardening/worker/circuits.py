"""Tasks behind a breaker: ``@app.task(circuit="stripe")``.

The worker's parent process asks the breaker before a message is begun. While it is open the message goes back to the
schedule, uncharged and as it is: nothing fails, no retry is burned, its receipt says ``scheduled``. It comes back by
itself when the breaker may be probed; half open, as many messages as it has probes are let through across all workers.
How the task ended counts in the parent as well, so that a run that was killed, or ran out of time, counts too.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from hardening.breaker import Breaker, CircuitOpen
from hardening.breaker.apps import note_app
from hardening.breaker.circuits import circuits_of
from hardening.breaker.declared import declared_names, declared_rule
from hardening.breaker.rule import rule_of
from hardening.breaker.verdict import Verdict, judge
from hardening.core.breaker_rules import near_to
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

    from hardening.breaker.circuit import Circuit
    from hardening.core.settings import Settings

__all__ = ["count_success", "end_call", "faults_in", "give_circuits", "let_through"]

#: The longest that a message waits before the breaker is asked again, in seconds: somebody may have closed it.
_LONGEST_S = 30.0
#: Over how long messages are spread that are given back together, in seconds at least; and how many of this process may
#: come back in a second once there are many.
_SPREAD_S = 0.2
_PER_SECOND = 100

#: How many messages this process gave back since the breaker last was closed.
_given_back: WeakKeyDictionary[Circuit, int] = WeakKeyDictionary()


def faults_in(app: Any, settings: Settings) -> list[str]:
    """What is wrong with the breakers of tasks that are bound already."""
    faults: list[str] = []
    for task in app.tasks.values() if app.finalized else ():
        try:
            _checked(type(task), app, settings)
        except ConfigError as error:
            faults += error.faults
    return faults


def give_circuits(app: Any, settings: Settings) -> None:
    """Has tasks take the option ``circuit`` when they are bound: None, a breaker, or the name of one.

    What is none of these is refused then, with a ``ConfigError``.
    """
    bind = app.Task.bind.__func__
    app.Task.circuit = None
    note_app(app)

    def bind_with_circuit(cls: Any, to: Celery) -> Any:
        cls.circuit = _checked(cls, to, settings)
        return bind(cls, to)

    app.Task.bind = classmethod(bind_with_circuit)
    if app.finalized:
        for task in app.tasks.values():
            type(task).circuit = _checked(type(task), app, settings)


def _checked(task: Any, app: Celery, settings: Settings) -> str | None:
    """The name of a task's breaker.

    Raises:
        ConfigError: there is no such breaker, or its rule makes no sense.
    """
    given = getattr(task, "circuit", None)
    if given is None:
        return None
    name = given.name if isinstance(given, Breaker) else given
    known = {*declared_names(app), *settings.breakers}
    if not isinstance(name, str) or name not in known:
        hint = near_to(str(name), known)
        raise ConfigError(
            f"task {task.name} has circuit={name!r}, and there is no such breaker, {hint} Declare it before the task, "
            'as in Breaker("stripe"), or in hardening_breakers'
        )
    rule_of(name, declared_rule(name, app), settings.breakers)
    return name


def let_through(requests: Sequence[Any]) -> list[bool]:
    """Asks the breakers of requests that are about to be begun; those they refuse are given back, with delay.

    Returns:
        For each whether it may be begun. The passages of those that may are theirs to end (:func:`end_call`).
    """
    answers = []
    refused: dict[tuple[Any, Circuit], tuple[float, list[Any]]] = {}
    for request in requests:
        held = getattr(request._message, "held", None)
        if request.circuit is None or held is None or held.begun or held.gone:
            answers.append(True)
            continue
        circuit = circuits_of(request.app).get(request.circuit)
        try:
            request.passage = circuit, circuit.enter()
        except CircuitOpen as error:
            _, together = refused.setdefault((request._message.channel.book, circuit), (error.retry_in_s, []))
            together.append(held)
            answers.append(False)
        else:
            if not request.passage[1].probe:
                _given_back.pop(circuit, None)
            answers.append(True)
    for (book, circuit), (retry_in_s, together) in refused.items():
        delay_s = delay_for(circuit, retry_in_s, len(together))
        book.release(together, why="breaker", due_ms=book.now_ms() + int(delay_s * 1000))
    return answers


def delay_for(circuit: Circuit, retry_in_s: float, messages: int) -> float:
    """How long messages wait that a breaker refused, in seconds.

    Until it is worth trying again, and some more, left to chance: the more messages this process has given back, the
    wider they are spread, so that those that are refused once more do not keep the worker busy. At most as wide as
    the breaker stays open.
    """
    count = _given_back[circuit] = _given_back.get(circuit, 0) + messages
    spread_s = min(circuit.rule.open_s, max(_SPREAD_S, count / _PER_SECOND))
    return min(retry_in_s, _LONGEST_S) + spread_s * random.random()  # noqa: S311 - chance, not a secret


def count_success(request: Any) -> None:
    """Has the end of a run count that Celery tells of by ``on_success``, which subclasses cannot override.

    From the beginning, for pools are handed it before they are asked to begin: gevent's begins in its green thread.
    """
    on_success = request.on_success

    def and_count(result: Any, **options: Any) -> Any:
        is_told = False
        try:
            answer = on_success(result, **options)
            is_told = True
        finally:
            end_call(request, None, is_known=is_told)
        return answer

    request.on_success = and_count


def end_call(request: Any, error: BaseException | None, *, is_known: bool = True) -> None:
    """Tells the breaker how a run ended, once.

    Args:
        request: that was let through, or another; one whose task has no breaker has nothing to tell.
        error: what its task raised, or what killed it; None: nothing.
        is_known: False: how it ended says nothing of the service.
    """
    if request.circuit is None:
        return
    vars(request).pop("on_success", None)  # which refers to the request
    if request.passage is not None:
        (circuit, passage), request.passage = request.passage, None
        circuit.leave(passage, judge(error, circuit.rule.counts) if is_known else Verdict.NEITHER)
