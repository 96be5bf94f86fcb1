"""A naive workflow: it keeps all that ever happened, and looks everything up in that."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Model"]


@dataclass
class Model:
    """What should have become of a workflow.

    Attributes:
        after: of each step, those before it.
        most: how many attempts each step has.
        happened: what counted, in order: ``(what, step, attempt)``.
        is_paused: whether it is.
        ended: how it ended.
    """

    after: dict[str, set[str]]
    most: dict[str, int]
    happened: list[tuple[str, str, int]] = field(default_factory=list)
    is_paused: bool = False
    ended: str = ""

    def _of(self, step: str, *what: str) -> list[int]:
        return [number for kind, name, number in self.happened if name == step and kind in what]

    def is_done(self, step: str) -> bool:
        """Whether it was."""
        return bool(self._of(step, "done"))

    def is_held(self, step: str) -> bool:
        """Whether its last attempt is still out."""
        given = self._of(step, "give")
        return (
            bool(given)
            and not self.is_done(step)
            and given[-1] not in self._of(step, "failed", "lost", "stalled", "done")
        )

    def ready(self) -> set[str]:
        """What may be given out."""
        if self.ended or self.is_paused:
            return set()
        return {
            step
            for step in self.after
            if not self.is_done(step) and not self.is_held(step) and all(map(self.is_done, self.after[step]))
        }

    def open(self) -> set[tuple[str, int]]:
        """Attempts that may run."""
        return {
            (step, number)
            for step in self.after
            for number in self._of(step, "give")
            if number not in self._of(step, "failed", "lost", "done")
        }

    def give(self, step: str) -> int:
        """Gives it out."""
        assert step in self.ready()
        number = len(self._of(step, "give")) + 1
        assert number <= self.most[step]
        self.happened.append(("give", step, number))
        return number

    def done(self, step: str, number: int) -> bool:
        """The first that is heard of counts."""
        if self.ended or self.is_done(step) or number not in self._of(step, "give"):
            return False
        self.happened.append(("done", step, number))
        if all(map(self.is_done, self.after)):
            self.ended = "completed"
        return True

    def failed(self, step: str, number: int, how: str, *, is_final: bool) -> bool:
        """Counts of the attempt that is out."""
        if self.ended or not self.is_held(step) or self._of(step, "give")[-1:] != [number]:
            if (step, number) in self.open() and how == "failed" and not self.ended:
                self.happened.append((how, step, number))  # it stalled before
            return False
        self.happened.append((how, step, number))
        if is_final or number == self.most[step]:
            self.ended = "failed"
        return True
