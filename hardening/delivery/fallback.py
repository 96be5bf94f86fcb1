"""What one app in one process falls back on while Redis is away: a breaker, a spool and its flusher."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hardening.core import telemetry
from hardening.core.deployment import settings_of
from hardening.core.errors import SpoolError
from hardening.core.forked import forked_lock
from hardening.core.outage import MessageSpooled, SpoolFailed
from hardening.delivery.breaker import Breaker
from hardening.delivery.flusher import Flusher
from hardening.delivery.spool import Spool

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.settings import Settings
    from hardening.delivery.publication import Publication

__all__ = ["Fallback", "fallback_of", "has_fallback"]

_FALLBACK = "_hardening_fallback"
_mutex = forked_lock()


class Fallback:
    """The breaker, the spool and the flusher of one app in one process.

    Whoever makes it calls :meth:`resume`.

    Args:
        app: a hardened app.

    Attributes:
        breaker: of its sends.
        spool: of its broker.
        flusher: of that spool.
    """

    def __init__(self, app: Celery) -> None:
        settings = settings_of(app)
        self.pid = os.getpid()
        self.breaker = Breaker(settings.publish_breaker_failures)
        self.spool = Spool(
            _path(settings),
            _broker(app),
            max_messages=settings.spool_max_messages,
            max_bytes=settings.spool_max_bytes,
        )
        self.flusher = Flusher(app, self.spool, self.breaker.heard)

    def resume(self) -> None:
        """Starts the flusher if something waits in the spool. A spool that cannot be read is told, and no more."""
        try:
            if self.spool.totals().waiting:
                self.flusher.start()
        except SpoolError as error:
            telemetry.emit(SpoolFailed(error=repr(error)))

    def keep(self, publication: Publication, *, is_uncertain: bool, why: str) -> str:
        """Spools a message that Redis is not there to take, and sees to it that it is flushed.

        Args:
            publication: what is to be published.
            is_uncertain: an attempt may have succeeded without the sender's knowing.
            why: what Redis, or the way to it, answered.

        Returns:
            The id of the receipt that follows it: that of another, if one with its idempotency key waits already.

        Raises:
            SpoolFull: there is no room.
            SpoolError: the file cannot be written.
        """
        receipt = self.spool.put(publication, is_uncertain=is_uncertain)
        telemetry.emit(MessageSpooled(receipt=receipt, task=publication.task, queue=publication.queue, why=why))
        self.flusher.start()
        return receipt


def has_fallback(app: Celery) -> bool:
    """Whether :func:`fallback_of` has made it in this process, and so need not look at a disk."""
    fallback: Fallback | None = getattr(app, _FALLBACK, None)
    return fallback is not None and fallback.pid == os.getpid()


def fallback_of(app: Celery) -> Fallback:
    """The fallback of an app in this process. After a fork the child gets one of its own.

    Raises:
        ConfigError: the app is not hardened.
    """
    fallback: Fallback | None = getattr(app, _FALLBACK, None)
    if fallback is not None and fallback.pid == os.getpid():
        return fallback
    with _mutex:
        made: Fallback | None = getattr(app, _FALLBACK, None)
        if made is not None and made.pid == os.getpid():
            return made
        made = Fallback(app)
        setattr(app, _FALLBACK, made)
    made.resume()  # by whoever made it, alone; others need not wait for the disk, nor what it tells for the lock
    return made


def _path(settings: Settings) -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    home = state if state.startswith("/") else "~/.local/state"
    path = settings.spool_path or f"{home}/celery-hardening/{settings.prefix}.spool"
    # Whoever has no home must be able to send all the same: the spool then says where it cannot be made.
    return Path("/", os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises


def _broker(app: Celery) -> str:
    """The broker's addresses without what is secret in them."""
    urls: Any = app.conf.broker_write_url or app.conf.broker_url
    split = [urlsplit(url) for url in (urls.split(";") if isinstance(urls, str) else urls)]
    return ";".join(f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}" for url in split)
