"""The tasks of the stack itself."""

from __future__ import annotations

import threading
from typing import Any

from workers.app import app

__all__ = ["echo"]


@app.task(name="workers.echo", shared=False)
def echo(value: Any = None, *, after_s: float = 0.0) -> Any:
    """Returns what it was given: shows that a message goes all the way there and back.

    Args:
        value: JSON.
        after_s: how long it takes, in seconds.
    """
    threading.Event().wait(after_s)
    return value
