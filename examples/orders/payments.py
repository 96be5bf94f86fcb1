"""Payments: a task that calls somebody else's service, which is slow, flaky and sometimes sick."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus

import httpx

from examples.orders.app import GATEWAY, app
from hardening import emit

__all__ = ["pay"]

_ANSWER_S = 2.0


# Expected failures of the network are retried, as often as the budget of retries allows; what will not be over in a
# moment is a dead letter. While the breaker is open the message waits in Redis, uncharged.
@app.task(name="orders.pay", boundary="network", circuit="gateway", max_retries=4)
def pay(order: int, cents: int) -> None:
    """Charges an order. May run twice, as any task; the gateway charges once for one idempotency key."""
    answer = _client().post(
        f"{GATEWAY}/charges", json={"order": order, "cents": cents}, headers={"Idempotency-Key": f"order-{order}"}
    )
    if answer.status_code == HTTPStatus.PAYMENT_REQUIRED:
        emit("order.declined", {"order": order})  # an answer, too
        return
    answer.raise_for_status()
    emit("order.paid", {"order": order})  # whoever wants to know has subscribed


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=_ANSWER_S)
