"""The endpoint as the drill holds it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from pathlib import Path

    from examples.webhooks.trouble import Trouble

__all__ = ["Endpoint", "EndpointError"]

#: How long it may take to start, and to answer, in seconds.
_START_S = 15.0
_ANSWER_S = 10.0


class EndpointError(Exception):
    """The endpoint did not start, or does not answer."""


class Endpoint:
    """A process that receives webhooks over HTTP. See :mod:`examples.webhooks.server`.

    Args:
        directory: where its ledger and its log go.
        trouble: what it does to whom.
    """

    def __init__(self, directory: Path, trouble: Trouble) -> None:
        self._directory = directory
        self._trouble = trouble
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(timeout=_ANSWER_S)
        self._base = ""

    @property
    def url(self) -> str:
        """Where events are posted to."""
        return f"{self._base}/hooks"

    def __enter__(self) -> Self:
        """Starts it.

        Raises:
            EndpointError: it did not start.
        """
        asked = {
            "ledger": str(self._directory / "received.jsonl"),
            "seed": self._trouble.seed,
            "bad": self._trouble.bad,
        }
        with (self._directory / "endpoint.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.webhooks.server"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self._base = f"http://127.0.0.1:{self._port(self._process, json.dumps(asked))}"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kills it."""
        self._client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @staticmethod
    def _port(process: subprocess.Popen[bytes], asked: str) -> int:
        if process.stdin is None or process.stdout is None:
            raise EndpointError("the endpoint has no pipes")
        process.stdin.write(f"{asked}\n".encode())
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _START_S)
        answer = process.stdout.readline() if ready else b""
        if not answer.strip().isdigit():
            raise EndpointError("the endpoint did not start, see endpoint.log")
        return int(answer)

    def state(self) -> tuple[int, int]:
        """How many different events it received, and how many in all."""
        about = self._get("/_state")
        return about["unique"], about["total"]

    def times(self) -> dict[str, list[float]]:
        """When it received each event, in seconds since the epoch."""
        times: dict[str, list[float]] = self._get("/_ledger")
        return times

    def fix(self) -> None:
        """Ends all trouble but its slowness."""
        try:
            self._client.post(f"{self._base}/_fix").raise_for_status()
        except httpx.HTTPError as error:
            raise EndpointError(f"the endpoint cannot be fixed: {error}") from error

    def _get(self, path: str) -> Any:
        try:
            return self._client.get(self._base + path).raise_for_status().json()
        except httpx.HTTPError as error:
            raise EndpointError(f"the endpoint does not answer: {error}") from error
