"""The endpoint's program: slow, flaky, and with a ledger of every event it took.

``POST /hooks`` takes an event, ``POST /_fix`` ends all trouble, ``GET /_state`` counts, ``GET /_ledger`` tells
all. An event is entered in the ledger before it is answered with a 2xx, and never without that: every reset,
hang and error comes before.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter, defaultdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from examples.webhooks.lifeline import hold_on
from examples.webhooks.trouble import POISON_HEADER, Mood, Trouble

__all__ = ["Ledger", "main"]

#: How long a hanging request is kept at most, in seconds.
_HANG_S = 30.0


class Ledger:
    """What the endpoint received, in memory and in a file to look at.

    Args:
        path: of the file: one line an entry.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._mutex = threading.Lock()
        self._times: dict[str, list[float]] = defaultdict(list)
        self._attempts: Counter[str] = Counter()
        self._total = 0

    def attempt(self, event_id: str) -> int:
        """Counts an attempt; returns which it is, from 1."""
        with self._mutex:
            self._attempts[event_id] += 1
            return self._attempts[event_id]

    def enter(self, event_id: str) -> None:
        """Notes that an event was received."""
        now_s = time.time()
        with self._mutex:
            self._times[event_id].append(now_s)
            self._total += 1
            self._file.write(json.dumps({"id": event_id, "at": now_s}) + "\n")

    def state(self) -> dict[str, int]:
        """How many were received, and how many of them for the first time."""
        with self._mutex:
            return {"unique": len(self._times), "total": self._total}

    def times(self) -> dict[str, list[float]]:
        """When each event was received, in seconds since the epoch."""
        with self._mutex:
            return dict(self._times)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, ledger: Ledger, trouble: Trouble) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ledger = ledger
        self.trouble = trouble
        self.is_fixed = False
        self.pause = threading.Event()  # never set: it only waits

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that die in the middle of a request are what this is for; the rest is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Tells what was received."""
        ledger = self.server.ledger
        about = {"/_state": ledger.state, "/_ledger": ledger.times}.get(self.path)
        self._answer(404) if about is None else self._answer(200, json.dumps(about()).encode())

    def do_POST(self) -> None:
        """Takes an event, in its own way."""
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/_fix":
            self.server.is_fixed = True
            self._answer(204)
            return
        event_id = json.loads(body, parse_int=float)["id"]  # any number of digits
        attempt = self.server.ledger.attempt(event_id)
        mood = Mood.FINE if self.server.is_fixed else self.server.trouble.mood(event_id, attempt)
        if mood is Mood.HANG:
            self._hang()
            return
        self.server.pause.wait(self.server.trouble.latency_s(event_id, attempt))
        if mood is Mood.RESET or self._is_client_gone():
            self._reset()
        elif mood is Mood.FINE:
            self.server.ledger.enter(event_id)
            self._answer(204)
        elif mood is Mood.ERROR:
            self._answer(503)
        elif mood is Mood.REFUSE:
            self._answer(422)
        else:
            self._answer(500, poison=mood)

    def _answer(self, status: int, body: bytes = b"", *, poison: str = "") -> None:
        self.send_response(status)
        if poison:
            self.send_header(POISON_HEADER, poison)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang(self) -> None:
        select.select([self.connection], [], [], _HANG_S)
        self.close_connection = True

    def _is_client_gone(self) -> bool:
        """Whether nobody waits for the answer any more, so that the event would be sent again."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_message(self, *args: object) -> None:
        """Nothing: the ledger says it all."""


def main() -> None:
    """Runs the endpoint. First line of standard input: where the ledger goes, and the trouble; out: the port."""
    asked = json.loads(sys.stdin.readline())
    hold_on()
    bad = {event_id: Mood(mood) for event_id, mood in asked["bad"].items()}
    server = _Server(Ledger(Path(asked["ledger"])), Trouble(asked["seed"], bad))
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
