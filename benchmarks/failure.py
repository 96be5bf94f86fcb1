"""The one way in which a measure fails."""

from __future__ import annotations

__all__ = ["MeasureFailed"]


class MeasureFailed(Exception):
    """A measure could not be taken; the message is one line."""
