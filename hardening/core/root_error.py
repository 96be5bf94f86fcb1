"""The root of the tree of errors that :mod:`hardening.core.errors` draws."""

from __future__ import annotations

from typing import Any

__all__ = ["HardeningError"]


class HardeningError(Exception):
    """Root of everything this library raises on purpose. Survives pickling, so also the way out of a pool's child."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (type(self), self.args, vars(self)))


def _restored(kind: type[HardeningError], args: tuple[Any, ...], attributes: dict[str, Any]) -> HardeningError:
    """An error as it was, without building its message from its message."""
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error
