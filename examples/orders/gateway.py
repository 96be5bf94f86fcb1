"""The other side of the payments: a server that is flaky, sick for a while, and keeps a ledger of what it charged."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Self

__all__ = ["Gateway", "Mood", "mood_of"]

#: How it treats an order, and how likely that is; the rest is charged at the first call.
_MOODS = {"declined": 0.06, "unreadable": 0.06, "busy": 0.1, "forgetful": 0.1}
#: Orders whose moods are certain, so that each is seen.
_CERTAIN = {2: "unreadable", 3: "declined", 4: "forgetful"}
#: How long it is sick, how long a call takes, and how long it waits in a stall at most, in seconds.
_SICK_S = 1.5
_CALL_S = 0.05
_STALL_S = 30.0

#: ``declined``: no money, 402 whenever asked; ``unreadable``: 422 until it is fixed; ``busy``: 503 at the first call;
#: ``forgetful``: charges at the first call, and hangs up without an answer.
Mood = str


def mood_of(order: int, *, seed: int) -> Mood:
    """How the gateway treats an order."""
    if order in _CERTAIN:
        return _CERTAIN[order]
    luck = Random(f"{seed}:{order}").random()
    for mood, share in _MOODS.items():
        if luck < share:
            return mood
        luck -= share
    return "fine"


class Gateway:
    """A server in threads of this process. A context.

    Args:
        seed: of its moods.
        sick_after: after how many charges it is sick, once.

    Attributes:
        charges: the idempotency keys under which each order was charged: more than one is money taken twice.
        declined: the orders that it declined.
        calls: how often each order was asked for.
        sick_calls: how many calls there were while it was sick.
    """

    def __init__(self, *, seed: int, sick_after: int) -> None:
        self.charges: dict[int, set[str]] = defaultdict(set)
        self.declined: set[int] = set()
        self.calls: Counter[int] = Counter()
        self.sick_calls = 0
        self._seed = seed
        self._sick_after = sick_after
        self._sick_until_s = 0.0
        self._is_fixed = False
        self._goes, self._pause = threading.Event(), threading.Event()  # the second is never set: it only waits
        self._goes.set()
        self._mutex = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"gateway": self}))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="gateway", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def stall(self) -> None:
        """From now on calls wait until :meth:`go_on`, and are charged then, whether or not anybody still listens."""
        self._goes.clear()

    def go_on(self) -> None:
        """Ends the stall."""
        self._goes.set()

    def take_time(self) -> None:
        """A call takes some."""
        self._goes.wait(_STALL_S)
        self._pause.wait(_CALL_S)

    def fix(self) -> None:
        """Somebody deployed a new version of it: it reads everything."""
        self._is_fixed = True

    def charge(self, order: int, key: str | None) -> int:
        """Charges an order, or does not: once for one key; without a key, at every call.

        Returns:
            The HTTP status; 0: no answer.
        """
        with self._mutex:
            self.calls[order] += 1
            mood, is_first = mood_of(order, seed=self._seed), self.calls[order] == 1
            if time.monotonic() < self._sick_until_s:
                self.sick_calls += 1
                return 503
            if mood == "busy" and is_first:
                return 503
            if mood == "declined":
                self.declined.add(order)
                return 402
            if mood == "unreadable" and not self._is_fixed:
                return 422
            self.charges[order].add(key or f"call {self.calls[order]}")
            if len(self.charges) == self._sick_after and not self._sick_until_s:
                self._sick_until_s = time.monotonic() + _SICK_S
            return 0 if mood == "forgetful" and is_first else 200


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed are what this is for; the rest is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gateway: Gateway

    def do_POST(self) -> None:
        """Takes a charge."""
        about: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.gateway.take_time()
        status = self.gateway.charge(about["order"], self.headers["Idempotency-Key"])
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        if status == 503:  # noqa: PLR2004 - busy
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing: the ledger says it all."""
