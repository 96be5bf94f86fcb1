"""A worker that is played: what it does to a message, and when."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.eventually import eventually
from tests.integration.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hardening.core.embedded import EmbeddedRedis

__all__ = ["ACTS", "WORKER", "act", "meanwhile"]

WORKER = "w"
#: Of a message that comes through.
ACTS = ("take", "begin", "ack")


def act(stage: Stage, queue: str, task_id: str, *acts: str) -> None:
    """Plays the worker with its scripts."""
    for name in acts:
        if name == "take":
            stage.take(WORKER, 100, queue)
        else:
            getattr(stage, name)(WORKER, task_id)


@contextmanager
def meanwhile(server: EmbeddedRedis, prefix: str, do: Callable[[Stage], object]) -> Iterator[None]:
    """Does something in a thread as soon as a client waits on the server."""
    with server.client() as client:

        def play() -> None:
            eventually(lambda: client.info("clients")["blocked_clients"] >= 1)
            do(Stage(client, prefix))

        thread = threading.Thread(target=play)
        thread.start()
        yield
        thread.join(20)
