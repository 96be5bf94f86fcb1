"""Boundaries in real workers: a server in trouble, and processes that outlive nobody."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from dlq import DeadLetters, Reason
from dlq.selection import Selection
from tests.eventually import eventually
from tests.integration.test_isolation import is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server

_TASKS = "tests.faults.boundary_tasks"


@contextmanager
def _server(*answers: int) -> Iterator[str]:
    """A server that gives these answers, one after the other, and the last one for ever."""
    left = list(answers)
    mutex = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with mutex:
                status = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_server_in_trouble_is_asked_again_later_and_one_that_refuses_is_not(rig: Rig) -> None:
    """What is not found is a dead letter at once; what nobody answers ends as one too, by the same error."""
    rig.start("threads", 2, tasks=_TASKS)
    app = rig.producer()
    with _server(503, 503, 200) as flaky, _server(404) as strict:
        app.send_task(f"{_TASKS}.fetch", ("flaky", flaky))
        app.send_task(f"{_TASKS}.fetch", ("strict", strict))
        letters = DeadLetters.of(app)
        eventually(lambda: len(letters) and rig.done(), 60)
        rig.settled()
    assert rig.count("asked") == {"flaky": 3, "strict": 1}
    [entry] = letters.select(Selection())
    assert entry.reason == Reason.FAILED
    assert entry.error == "BoundaryError: network: HTTPError: HTTP Error 404: Not Found"
    assert "urllib.error.HTTPError" in entry.traceback
    app.close()


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_task_runs_a_function_apart(rig: Rig, pool: str) -> None:
    """Also in a prefork pool, whose children may have none of their own by multiprocessing."""
    rig.start(pool, 1, tasks=_TASKS)
    app = rig.producer()
    app.send_task(f"{_TASKS}.apart", ("one",))
    eventually(rig.done, 60)
    assert rig.ledger.hget(f"{rig.prefix}:done", "one") in (b"True 42", b"1 42", b"0 42")
    app.close()


def test_a_function_dies_with_the_pool_child_that_waits_for_it(rig: Rig, tmp_path: Path) -> None:
    """At the task's soft limit, and at its hard one, when the child gets SIGKILL."""
    rig.start("prefork", 1, tasks=_TASKS)
    app = rig.producer()
    app.send_task(f"{_TASKS}.stuck", ("one", str(tmp_path / "pids")))
    letters = DeadLetters.of(app)
    eventually(lambda: len(letters), 60)
    assert next(iter(letters.select(Selection()))).reason == Reason.TIMEOUT
    found = [int(pid) for path in tmp_path.glob("pids*") for pid in path.read_text().split()]
    assert len(found) in (2, 4)  # on a slow machine the second may not have come so far
    eventually(lambda: all(is_gone(pid) for pid in found), 10)
    app.close()
