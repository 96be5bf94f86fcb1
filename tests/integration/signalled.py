"""Subscriptions and signals by their scripts alone, on a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.scripts import signalling
from hardening.core.scripts.signalling import Copy, Number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.stage import Stage

__all__ = ["GRACE_MS", "Signals"]

GRACE_MS = 10_000


@dataclass
class Signals:
    """What a deployment knows of signals."""

    stage: Stage

    def subscribe(self, name: str, tie: str = "", *, ttl_ms: int = 0, about: str = "{}") -> list[Any]:
        """Makes or renews a subscription: its id and whether it is new, or nothing and why."""
        call = signalling.subscribe(self.stage.keys, name, tie, ttl_ms=ttl_ms, grace_ms=GRACE_MS, about=about)
        said, answer = self.stage.run(call)
        return [said.decode(), answer.decode() if isinstance(answer, bytes) else answer]

    def unsubscribe(self, *names: str) -> int:
        """Ends subscriptions."""
        return int(self.stage.run(signalling.unsubscribe(self.stage.keys, names)))

    def read(self, version: str = "") -> tuple[str, str, dict[str, str]]:
        """What changed since a version: that, the version now, and each that did, '' where there is none any more."""
        since, now, *parts = (part.decode() for part in self._read(version))
        return since, now, dict(zip(parts[::2], parts[1::2], strict=True))

    def _read(self, version: str) -> list[bytes]:
        return self.stage.run(signalling.read_subscriptions(self.stage.keys, version))  # type: ignore[no-any-return]

    @property
    def version(self) -> str:
        """The version now."""
        return self.read()[1]

    def emit(self, number: int, *copies: Copy, version: str | None = None, **options: Any) -> str | int:
        """Emits the signal of a number of one emitter, by default knowing of all subscriptions."""
        known = self.version if version is None else version
        call = signalling.emit(
            self.stage.scope, Number("m", number), copies, version=known, grace_ms=GRACE_MS, **options
        )
        reply = self.stage.run(call)
        return reply.decode() if isinstance(reply, bytes) else int(reply)

    def copy(self, message: str, queue: str = "q", conditions: Sequence[tuple[str, str]] = ()) -> Copy:
        """A message for a queue."""
        return Copy(self.stage.list_key(queue), self.stage.list_key(queue), self.stage.raw(message), conditions)

    def to_agent(self, message: str, agent: str) -> Copy:
        """A message for a mailbox, which is not under the stage's prefix."""
        queue = f"agent.{self.stage.prefix}.{agent}"
        return Copy(queue, queue, self.stage.raw(message))

    def mailbox(self, agent: str, **fields: str | int) -> str:
        """Makes a mailbox; its queue."""
        queue = f"agent.{self.stage.prefix}.{agent}"
        self.stage.client.hset(f"{self.stage.prefix}:mailbox:{queue}", mapping={"bound": 0, **fields})
        return queue

    def stats(self) -> dict[str, int]:
        """What was counted."""
        stored = self.stage.client.hgetall(self.stage.keys.signal_stats)
        return {name.decode(): int(count) for name, count in stored.items()}
