"""What one message makes an agent say: kept until its commit publishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.utils.json import dumps

from hardening.agents.letters import letter_to, task_letter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from hardening.agents.errors import Refused
    from hardening.core.scripts.agenting import Letter

__all__ = ["Outbox", "answer_of", "failure_of", "refusal_of"]

_LONGEST = 1000


def answer_of(value: Any) -> str:
    """The answer that is a value.

    Raises:
        TypeError: it is not JSON.
    """
    return str(dumps({"value": value}))


def failure_of(error: BaseException) -> str:
    """The answer that tells what was raised."""
    return str(dumps({"type": type(error).__name__, "error": str(error)[:_LONGEST]}))


def refusal_of(refusal: Refused) -> str:
    """The answer that tells why a handler will not."""
    return str(dumps({"type": type(refusal).__name__, "error": refusal.why[:_LONGEST]}))


class Outbox:
    """What goes out with one commit.

    Args:
        app: who sends.
        ask: id of the ask that is to be answered; empty: nobody asked.
        is_mute: nothing goes out: a message is run again that was committed before.
    """

    def __init__(self, app: Celery, ask: str = "", *, is_mute: bool = False) -> None:
        self._app = app
        self._is_mute = is_mute
        self._letters: list[Letter] = []
        self._answers: list[tuple[str, str]] = []
        self.ask = ask
        self.is_deferred = False

    def tell(
        self, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, delay_s: float = 0.0,
        receipt: str = "",
    ) -> None:  # fmt: skip
        """Has a message go out; with a receipt, if that has an id."""
        if not self._is_mute:
            self._letters.append(letter_to(self._app, agent, handler, args, kwargs, delay_s=delay_s, receipt=receipt))

    def send(
        self, task: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any], receipt: str
    ) -> None:
        """Has a task go out, with a receipt of that id."""
        if not self._is_mute:
            self._letters.append(task_letter(self._app, task, args, kwargs, options, receipt))

    def answer(self, ask: str, value: Any) -> None:
        """Has an answer go out, if there was somebody who asked."""
        if ask and not self._is_mute:
            self._answers.append((ask, answer_of(value)))

    @property
    def letters(self) -> tuple[Letter, ...]:
        """The messages."""
        return tuple(self._letters)

    @property
    def answers(self) -> tuple[tuple[str, str], ...]:
        """The answers."""
        return tuple(self._answers)
