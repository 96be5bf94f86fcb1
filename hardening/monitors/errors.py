"""Errors about monitors; a branch of the tree that :mod:`hardening.core.errors` draws.

::

    MonitorError               something about monitors
    └── MonitorFailed          a monitor could not be set
"""

from __future__ import annotations

from hardening.core.root_error import HardeningError

__all__ = ["MonitorError", "MonitorFailed"]


class MonitorError(HardeningError):
    """Something about monitors."""


class MonitorFailed(MonitorError):
    """A monitor could not be set, and there is none.

    Attributes:
        target: what was to be monitored.
    """

    def __init__(self, target: str, cause: BaseException, *, is_durable: bool = False) -> None:
        self.target = target
        why = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        hint = "set it again: it is the same one" if is_durable else 'with when="later" it is set when Redis is back'
        if "OutOfMemory" in why:
            hint = "free memory or raise maxmemory"
        super().__init__(f"{target} is not monitored, Redis did not take it: {why}; {hint}")
