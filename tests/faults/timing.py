"""What the tests about time share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dlq import DeadLetters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery.result import AsyncResult

    from dlq import Entry
    from tests.faults.rig import Rig

__all__ = ["Shop", "dead", "shop_of"]


class Shop:
    """A producer whose results are kept.

    Attributes:
        app: its app.
    """

    def __init__(self, rig: Rig) -> None:
        self.app = rig.producer()
        self.app.conf.update(result_backend=rig.broker, task_ignore_result=False)

    def __call__(
        self, name: str, *args: object, module: str = "tests.faults.timeout_tasks", **options: Any
    ) -> AsyncResult[Any]:
        """Sends a task of the tests by its short name."""
        return self.app.send_task(f"{module}.{name}", args, **options)

    @property
    def letters(self) -> DeadLetters:
        """Its dead letters."""
        return DeadLetters.of(self.app)


@contextmanager
def shop_of(rig: Rig) -> Iterator[Shop]:
    """A producer, which is closed in the end."""
    shop = Shop(rig)
    yield shop
    shop.app.close()


def dead(rig: Rig) -> list[Entry]:
    """The dead letters."""
    producer = rig.producer()
    try:
        return list(DeadLetters.of(producer).select())
    finally:
        producer.close()
