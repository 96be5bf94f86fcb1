"""For which app a breaker works that was declared without one."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from celery._state import get_current_app

from hardening.core.deployment import is_hardened
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["app_for", "note_app"]

_hardened: weakref.WeakSet[Celery] = weakref.WeakSet()


def note_app(app: Celery) -> None:
    """Remembers that an app was hardened."""
    _hardened.add(app)


def app_for(given: Celery | None) -> Celery:
    """The app that was given; else the current one, if it is hardened; else the only hardened one there is.

    Threads that Celery did not start have no current app of their own.

    Raises:
        ConfigError: there is none, or more than one.
    """
    if given is not None:
        return given
    current: Celery = get_current_app()
    if is_hardened(current):
        return current
    if len(_hardened) == 1:
        return next(iter(_hardened))
    found = "none is" if not _hardened else f"{len(_hardened)} are"
    raise ConfigError(f"a breaker needs a hardened app, and {found} here: call harden(app), or give it app=")
