"""Single sends made from templates: fast, and never older than they may be."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, signals

from hardening import supervised_send
from hardening.delivery import templates
from hardening.delivery.template import Template
from tests.conftest import SERVERS
from tests.eventually import eventually

if TYPE_CHECKING:
    from redis import Redis

pytestmark = pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine")


@pytest.fixture
def add(app: Celery) -> Any:
    """A plain task."""

    @app.task(name="add", shared=False)
    def add(*args: Any, **kwargs: Any) -> None:
        pass

    return app.tasks["add"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Template]:
    """The templates that were made since the test began."""
    templates_made: list[Template] = []

    def counted(*args: Any) -> Template:
        templates_made.append(Template(*args))
        return templates_made[-1]

    monkeypatch.setattr(templates, "Template", counted)
    return templates_made


def _sent(client: Redis, queue: str) -> list[dict[str, Any]]:
    """What waits in a queue, the newest first."""
    stored: Any = client.lrange(queue, 0, -1)
    return [json.loads(raw) for raw in stored]


def test_many_sends_of_one_task_take_one_template(add: Any, client: Redis, queue: str, made: list[Template]) -> None:
    """Each message is one of its own all the same, under its receipt's id."""
    receipts = [supervised_send(add, (number,), {"x": number}) for number in range(20)]
    assert len(made) == 1
    messages = _sent(client, queue)[::-1]
    assert [message["headers"]["id"] for message in messages] == [receipt.id for receipt in receipts]
    assert [message["headers"]["argsrepr"] for message in messages] == [f"({number},)" for number in range(20)]
    assert len({message["properties"]["delivery_tag"] for message in messages}) == 20
    assert [receipt.details()["task_id"] for receipt in receipts] == [receipt.id for receipt in receipts]


def test_a_template_says_what_celery_says(app: Celery, add: Any, client: Redis, queue: str) -> None:
    """Field by field, but for the ids."""
    supervised_send(add, ("a",), {"b": [1, None]}, priority=0)
    supervised_send(add, ("a",), {"b": [1, None]}, priority=0, shadow=None)  # an option that no template knows
    short, long = _sent(client, queue)[::-1]
    for message in (short, long):
        message.pop("hardening")
        message["properties"].pop("delivery_tag")
        ids = {message["headers"].pop(name) for name in ("id", "root_id", "hardening_receipt")}
        assert ids == {message["properties"].pop("correlation_id")}
    assert short == long
    assert app.conf.task_default_queue == queue


def test_each_queue_and_priority_has_its_template(
    app: Celery, add: Any, client: Redis, queue: str, made: list[Template]
) -> None:
    """And goes where it says."""
    for _ in range(3):
        supervised_send(add)
        supervised_send(add, queue=f"{queue}.other")
        supervised_send(add, priority=6)
    assert len(made) == 3
    assert client.llen(queue) == client.llen(f"{queue}.other") == client.llen(f"{queue}\x06\x166") == 3
    client.delete(f"{queue}.other")
    assert app.tasks["add"] is add


def test_whoever_begins_to_listen_sees_the_next_message(add: Any, made: list[Template]) -> None:
    """Tracers are set up at any time."""
    seen: list[Any] = []

    def listen(sender: Any, **_: Any) -> None:
        seen.append(sender)

    supervised_send(add)
    signals.before_task_publish.connect(listen)
    try:
        supervised_send(add)
    finally:
        signals.before_task_publish.disconnect(listen)
    supervised_send(add)
    assert seen == ["add"]
    assert len(made) == 1


def test_new_routes_are_followed(app: Celery, add: Any, client: Redis, queue: str) -> None:
    """From the next message on."""
    supervised_send(add)
    app.conf.task_routes = {"add": f"{queue}.routed"}
    app.amqp.flush_routes()
    app.amqp.__dict__.pop("router", None)
    supervised_send(add)
    assert client.llen(f"{queue}.routed") == 1


def test_what_celery_reads_from_its_configuration_is_a_second_old_at_most(
    app: Celery, add: Any, client: Redis, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template is made anew then."""
    supervised_send(add)
    app.conf.task_default_queue = f"{queue}.next"
    monkeypatch.setattr(templates, "_FRESH_S", 0.05)

    def arrived() -> int:
        supervised_send(add)
        return int(client.llen(f"{queue}.next"))

    eventually(arrived, 5)


def test_threads_and_forked_children_say_who_they_are(add: Any, client: Redis, queue: str) -> None:
    """The messages say which process made them, and where its thread expects answers."""
    supervised_send(add)
    thread = threading.Thread(target=supervised_send, args=(add,))
    thread.start()
    thread.join(10)
    child = os.fork()
    if not child:
        try:
            supervised_send(add)
        except BaseException:  # noqa: BLE001 - whatever it is, it must not run the parent's tests
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    theirs, threads, ours = _sent(client, queue)
    assert ours["properties"]["reply_to"] != threads["properties"]["reply_to"]
    assert ours["headers"]["origin"] == threads["headers"]["origin"]
    assert f"gen{child}@" in theirs["headers"]["origin"]


def test_the_number_of_templates_is_bounded(
    add: Any, made: list[Template], monkeypatch: pytest.MonkeyPatch, queue: str, client: Redis
) -> None:
    """Threads and queues come and go."""
    monkeypatch.setattr(templates, "_MOST", 3)
    for number in range(10):
        supervised_send(add, queue=f"{queue}.{number}")
    assert len(made) == 10
    assert len(vars(add.app)["_hardening_templates"]) <= 3
    assert all(client.delete(f"{queue}.{number}") for number in range(10))


def test_arguments_that_the_task_does_not_take_are_refused(app: Celery, client: Redis, queue: str) -> None:
    """Also from a template."""

    @app.task(name="one", shared=False)
    def one(only: int) -> None:
        pass

    supervised_send(app.tasks["one"], (1,))
    with pytest.raises(TypeError, match="positional argument"):
        supervised_send(app.tasks["one"])
    assert client.llen(queue) == 1
