"""Apps that are not hardened yet, and what hardening them says."""

from __future__ import annotations

import warnings
from typing import Any

from celery import Celery

from hardening import harden
from hardening.core.errors import HardeningWarning

__all__ = ["BROKER", "make", "task_of", "told"]

#: Nobody listens there.
BROKER = "redis://127.0.0.1:1/0"


def make(broker: Any = BROKER, **conf: Any) -> Celery:
    """An app that is not hardened yet."""
    app = Celery("shop", broker=broker, set_as_current=False)
    app.conf.update(conf)
    return app


def task_of(app: Celery, **options: Any) -> Any:
    """A task of an app."""

    @app.task(name="t", shared=False, **options)
    def t() -> None:
        pass

    return t


def told(app: Celery) -> list[str]:
    """What hardening warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        harden(app)
    assert {one.category for one in caught} <= {HardeningWarning}
    return [str(one.message) for one in caught]
