"""What leaves a boundary: one kind of error, whatever library failed behind it."""

from __future__ import annotations

from hardening.core.errors import HardeningError

__all__ = ["BoundaryError", "IsolationError"]

_TEXT = 500


class BoundaryError(HardeningError):
    """Something that was to be expected of the other side went wrong there.

    Attributes:
        category: of which kind the boundary is: ``network``, ``database``, ``json``, ``redis``, ``isolation``.
        retryable: whether it may be over in a moment: the infrastructure failed, not the request.
        retry_after_s: how long the other side asked to be left alone, in seconds; None: it said nothing.
    """

    def __init__(
        self, category: str, cause: BaseException, *, retryable: bool, retry_after_s: float | None = None
    ) -> None:
        self.category = category
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.__cause__ = cause
        super().__init__(f"{category}: {type(cause).__name__}: {cause}"[:_TEXT])

    @property
    def cause(self) -> BaseException | None:
        """What the library raised; None once the error has been sent to another process."""
        return self.__cause__


class IsolationError(BoundaryError):
    """A function that ran in a process of its own has no result.

    Attributes:
        function: which, as ``module:name``.
        why: ``timeout``, ``died`` (with a signal or an exit code), ``raised`` or ``refused``.
        remote: what it raised there, with its traceback, as text; empty: nothing.
    """

    def __init__(self, function: str, why: str, text: str, remote: str = "") -> None:
        self.function = function
        self.why = why
        self.remote = remote
        self.category = "isolation"
        self.retryable = False
        self.retry_after_s = None
        HardeningError.__init__(self, f"{function} has no result: {text}"[:_TEXT])
