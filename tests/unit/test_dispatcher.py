"""A worker's events are tried again with a policy only, which bounds it."""

from __future__ import annotations

from typing import Any

import pytest

from hardening import harden
from tests.unit.making import make


class Recorder:
    """Publishes nowhere."""

    def __init__(self) -> None:
        self.retried: list[Any] = []

    def publish(self, *_: Any, retry: Any, retry_policy: Any, **__: Any) -> None:
        """Notes how it would have been tried."""
        self.retried.append((retry, retry_policy))


@pytest.mark.parametrize(
    ("asked", "tried"),
    [
        ({}, (False, None)),
        ({"retry": True}, (False, None)),
        ({"retry": True, "retry_policy": {}}, (False, {})),
        ({"retry": True, "retry_policy": {"max_retries": 2}}, (True, {"max_retries": 2})),
        ({"retry": False, "retry_policy": {"max_retries": 2}}, (False, {"max_retries": 2})),
    ],
)
def test_no_event_is_tried_for_ever(asked: dict[str, Any], tried: tuple[bool, Any]) -> None:
    """Celery would have done so with the second and the third."""
    dispatcher: Any = harden(make()).events.Dispatcher(enabled=False)
    dispatcher.enabled, dispatcher._closed, dispatcher.producer = True, False, Recorder()
    dispatcher.send("worker-heartbeat", freq=2.0, **asked)
    assert dispatcher.producer.retried == [tried]
