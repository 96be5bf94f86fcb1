"""What the tests about time share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dlq import DeadLetters
from hardening.core.deployment import client_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery.result import AsyncResult

    from dlq import Entry
    from tests.faults.rig import Rig

__all__ = ["dead", "shop_of"]


@contextmanager
def shop_of(rig: Rig) -> Iterator[Callable[..., AsyncResult[Any]]]:
    """A producer whose results are kept; sends a task of the tests by its short name."""
    producer = rig.producer()
    producer.conf.update(result_backend=rig.broker, task_ignore_result=False)

    def send(name: str, *args: object, module: str = "tests.faults.timeout_tasks", **options: Any) -> AsyncResult[Any]:
        return producer.send_task(f"{module}.{name}", args, **options)

    yield send
    producer.close()


def dead(rig: Rig) -> list[Entry]:
    """The dead letters."""
    producer = rig.producer()
    settings = settings_of(producer)
    try:
        letters = DeadLetters(client_of(producer), settings.keys, receipt_ttl_ms=settings.receipt_ttl_ms)
        return list(letters.select())
    finally:
        producer.close()
