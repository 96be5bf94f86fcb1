"""What a worker's parent process knows of an agent's message gets to where it is run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from celery import Celery

from hardening import Agent, harden, host
from hardening.agents import task as agent_task
from hardening.core.agent_message import AGENT_TASK
from hardening.core.raw import new_id
from hardening.core.scripts.agenting import Turn
from hardening.transport.held import Held
from hardening.worker.request import Request
from tests.unit.test_raw import marked

if TYPE_CHECKING:
    import pytest


def test_a_run_knows_which_message_of_which_version_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the take told: from the held message over the request into the turn."""
    app = harden(Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False))
    host(app, type("Till", (Agent,), {"name": "till"}))
    turns: list[Any] = []
    monkeypatch.setattr(agent_task, "run", lambda _app, _cls, turn, message: turns.append((turn, message.handler)))
    message_id = new_id()
    held = Held("w1", "agent.till", 7, 0, marked(message_id, None), "3 before")
    headers = {"id": message_id, "task": AGENT_TASK, "argsrepr": "", "kwargsrepr": ""}
    message: Any = SimpleNamespace(
        held=held, headers=headers, properties={"correlation_id": message_id}, delivery_info={}, body=b"", payload=None,
        content_type="application/json", content_encoding="utf-8", channel=None,
    )  # fmt: skip
    request: Any = Request(message, app=app, task=app.tasks[AGENT_TASK], decoded=True, body=(("look",), {}, {}))
    task: Any = app.tasks[AGENT_TASK]
    task.push_request(**request.request_dict)
    try:
        task("look")
    finally:
        task.pop_request()
    assert turns == [(Turn("till", "w1", 7, message_id, "3 before"), "look")]
