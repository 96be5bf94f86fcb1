"""Tasks on a canvas, with a result backend whose connections are closed in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery

from hardening import harden, supervised_send
from hardening.delivery import GroupReceipt
from tests.closing import close_with_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis

__all__ = ["painted", "sent"]


def painted(server: EmbeddedRedis, prefix: str, queue: str) -> Iterator[Celery]:
    """An app with the tasks ``add`` and ``total``, for a fixture."""
    app = Celery("app", broker=server.broker_url, backend=server.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=queue, hardening_prefix=prefix)
    harden(app)

    @app.task(name="add", shared=False)
    def add(left: int, right: int) -> int:
        return left + right

    @app.task(name="total", shared=False)
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    yield app
    close_with_results(app)


def sent(canvas: Any, **options: Any) -> GroupReceipt:
    """Sends several messages."""
    receipt = supervised_send(canvas, **options)
    assert isinstance(receipt, GroupReceipt)
    return receipt
