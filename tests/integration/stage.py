"""One deployment on a real Redis, moved by its scripts alone, and the whole of its state in short names."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hardening.core import payload as payloads
from hardening.core.keys import PRIORITY_SEPARATOR, Keys, queue_of
from hardening.core.ledger import Ledger, read_ledger
from hardening.core.scripts import Call, Death, Recovery, Scope, Taken, calls, cancelling
from hardening.core.scripts.cancelling import Asked

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["RECEIPT_FIELDS", "Stage", "State", "long", "short"]

#: What a new receipt says besides its state, in these tests.
RECEIPT_FIELDS = {"task": "t"}


def long(name: str) -> str:
    """A short name as an id of 36 characters."""
    return name.ljust(36, ".")


def short(identity: str | bytes) -> str:
    """The name behind an id."""
    return (identity.decode() if isinstance(identity, bytes) else identity).rstrip(".")


@dataclass
class State:
    """Where every message is, by its name. What is empty is left out; whatever can have an order is in order.

    Attributes:
        queued: by list, next to be taken first; ``q:3`` is the list of priority step 3.
        scheduled: by due time.
        inflight: by consumer, in the order of the takes.
        started: by consumer, likewise.
        buried: name and reason, oldest first.
        crashes: by message.
        leases: consumers that hold one.
        dead: consumers whose messages are being moved back.
        rung: queues whose bell has rung.
        stock: names of stock messages among those queued.
    """

    queued: dict[str, list[str]] = field(default_factory=dict)
    scheduled: list[str] = field(default_factory=list)
    inflight: dict[str, list[str]] = field(default_factory=dict)
    started: dict[str, list[str]] = field(default_factory=dict)
    buried: list[tuple[str, str]] = field(default_factory=list)
    crashes: dict[str, int] = field(default_factory=dict)
    leases: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    rung: set[str] = field(default_factory=set)
    stock: set[str] = field(default_factory=set)

    def everywhere(self) -> list[str]:
        """The names of all messages, sorted; one that is in two places is there twice."""
        groups = [*self.queued.values(), *self.inflight.values(), self.scheduled, [name for name, _ in self.buried]]
        return sorted(name for group in groups for name in group)


class Stage:
    """One deployment.

    Args:
        client: replies must not be decoded.
        prefix: of keys and queues; nobody else's.
    """

    def __init__(self, client: Redis, prefix: str) -> None:
        self.client: Any = client  # redis-py types every reply as bytes or str
        self.keys = Keys(prefix)
        self.scope = Scope(self.keys, 60_000, "sender")
        self.prefix = prefix

    def run(self, call: Call) -> Any:
        """Runs one script."""
        return call.run(self.client)

    def list_key(self, queue: str = "q", step: int = 0) -> str:
        """The list of a queue at a priority step."""
        return f"{self.prefix}.{queue}" + (f"{PRIORITY_SEPARATOR}{step}" if step else "")

    def by(self, worker: str) -> Scope:
        """Calls signed by a worker."""
        return Scope(self.keys, 60_000, worker)

    # -- messages

    def raw(self, name: str, receipt: str | None = None) -> bytes:
        """A hardened publisher's message."""
        payload = {"body": "", "headers": {"task": "t", "id": name}, "properties": {"delivery_tag": long(name)}}
        return payloads.dump(payload, long(name), receipt and long(receipt))

    def stock_raw(self, name: str) -> bytes:
        """A stock publisher's message."""
        return json.dumps({"body": "", "headers": {"task": "t", "id": name}}).encode()

    def publish(
        self, name: str, *, queue: str = "q", step: int = 0, due_ms: int = 0, receipt: str | None = None
    ) -> int:
        """Publishes a message, with a new receipt if one is named."""
        fields = RECEIPT_FIELDS if receipt else None
        list_key, raw = self.list_key(queue, step), self.raw(name, receipt)
        return int(self.run(self.scope.publish(list_key, self.list_key(queue), raw, due_ms=due_ms, receipt=fields)))

    def publish_stock(self, *names: str, queue: str = "q") -> None:
        """Publishes as stock Celery does."""
        self.client.sadd(self.keys.queues, self.list_key(queue))
        for name in names:
            self.client.lpush(self.list_key(queue), self.stock_raw(name))

    # -- consumers

    def join(self, *consumers: str) -> None:
        """Takes leases that do not run out by themselves in a test."""
        for consumer in consumers:
            self.run(calls.renew(self.keys, consumer, 600_000, join=True, about="{}"))

    def expire(self, consumer: str) -> None:
        """Lets a lease have run out: as if its time had come."""
        self.client.zadd(self.keys.leases, {consumer: 1}, xx=True)

    def come_due(self, *names: str) -> None:
        """Lets scheduled messages be due, in this order, long ago."""
        self.client.zadd(self.keys.scheduled, {long(name): at for at, name in enumerate(names, 1)}, xx=True)

    def take(self, consumer: str, limit: int = 100, *lists: str) -> Taken:
        """Takes from the given lists, as one whom their bells woke; default: those of ``q``, highest priority first."""
        lists = lists or tuple(self.list_key("q", step) for step in (0, 3, 6, 9))
        self.client.delete(*{self.keys.bell(queue_of(one)) for one in lists})
        return Taken.parse(self.run(self.by(consumer).take(consumer, lists, limit)), lists)

    def seqs(self, consumer: str) -> dict[str, int]:
        """The seqs of what a consumer holds, by name."""
        return {
            _name(_raw_of(entry)): int(seq) for seq, entry in self.client.hgetall(self.keys.inflight(consumer)).items()
        }

    def begin(self, consumer: str, *names: str) -> None:
        """Marks as begun, looking inside as for messages with receipts."""
        seqs = self.seqs(consumer)
        self.run(self.by(consumer).ack(consumer, [], [f"{seqs[name]}+" for name in names]))

    def ack(self, consumer: str, *names: str) -> int:
        """Settles, looking inside as for messages with receipts."""
        seqs = self.seqs(consumer)
        return int(self.run(self.by(consumer).ack(consumer, [f"{seqs[name]}+" for name in names])))

    def release(self, consumer: str, *names: str, due_ms: int = 0) -> int:
        """Gives back."""
        seqs = self.seqs(consumer)
        return int(self.run(self.by(consumer).release(consumer, [seqs[name] for name in names], due_ms=due_ms)))

    def crash(self, consumer: str, name: str, *, max_crashes: int = 3, base_delay_ms: int = 2000) -> int:
        """Charges a message whose process died while its consumer lives."""
        seq = self.seqs(consumer)[name]
        death = Death("crashed", "it died", "Traceback ...")
        call = self.by(consumer).crash(consumer, seq, max_crashes=max_crashes, base_delay_ms=base_delay_ms, death=death)
        return int(self.run(call))

    def bury(self, consumer: str, name: str, reason: str = "failed") -> int:
        """Buries what a consumer holds."""
        death = Death(reason, f"{name} failed", "Traceback ...")
        return int(self.run(self.by(consumer).bury(consumer, self.seqs(consumer)[name], death)))

    def cancel(self, receipt: str, asker: str = "asker", *, patience_ms: int = 60_000) -> Asked:
        """Cancels the message of a receipt; what a consumer holds, it is asked to give up."""
        lists = [self.list_key("q", step) for step in (0, 3, 6, 9)]
        call = cancelling.cancel(self.scope, long(receipt), lists, asker, patience_ms=patience_ms)
        return Asked.parse(self.run(call))

    def revoke(self, consumer: str, name: str) -> int:
        """Gives up what somebody wants cancelled."""
        return int(self.run(cancelling.revoke(self.by(consumer), consumer, self.seqs(consumer)[name])))

    def recover(
        self, asker: str = "sweeper", *, max_crashes: int = 3, base_delay_ms: int = 2000, limit: int = 100
    ) -> Recovery:
        """One sweep."""
        call = self.scope.recover(asker, max_crashes=max_crashes, base_delay_ms=base_delay_ms, limit=limit)
        return Recovery.parse(self.run(call))

    # -- what is so

    def now_ms(self) -> int:
        """The time at Redis."""
        seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def ledger(self) -> Ledger:
        """The ledger, which must balance."""
        ledger = read_ledger(self.client, self.keys)
        assert ledger.is_balanced, ledger
        return ledger

    def receipt(self, name: str) -> tuple[str, str, str]:
        """State, worker and reason of a receipt."""
        fields = self.client.hgetall(self.keys.delivery(long(name)))
        return (_text(fields.get(b"state")), _text(fields.get(b"worker")), _text(fields.get(b"reason")))

    def history(self, name: str) -> list[str]:
        """The states of a receipt, oldest first."""
        fields = self.client.hgetall(self.keys.delivery(long(name)))
        numbers = sorted(int(field[1:]) for field in fields if field.startswith(b"#"))
        return [_text(fields[b"#%d" % number]).split(" ")[1] for number in numbers]

    def due_ms(self, name: str) -> int:
        """When a scheduled message is due."""
        return int(self.client.zscore(self.keys.scheduled, long(name)))

    def state(self) -> State:
        """Where every message is; the ledger must balance."""
        self.ledger()
        state = State(
            crashes={short(name): int(n) for name, n in self.client.hgetall(self.keys.crashes).items()},
            leases={_text(consumer) for consumer in self.client.zrange(self.keys.leases, 0, -1)},
            dead={_text(consumer) for consumer in self.client.zrange(self.keys.dead, 0, -1)},
        )
        self._read_queues(state)
        messages = self.client.hgetall(self.keys.scheduled_messages)
        state.scheduled = [
            _name(_raw_of(messages[identity])) for identity in self.client.zrange(self.keys.scheduled, 0, -1)
        ]
        for consumer in sorted(self._consumers()):
            held = self.client.hgetall(self.keys.inflight(consumer))
            by_seq = {
                int(seq): _name(_raw_of(entry)) for seq, entry in sorted(held.items(), key=lambda item: int(item[0]))
            }
            begun = sorted(int(seq) for seq in self.client.hkeys(self.keys.started(consumer)))
            _set(state.inflight, consumer, list(by_seq.values()))
            _set(state.started, consumer, [by_seq.get(seq, f"seq {seq}") for seq in begun])
        entries = self.client.xrange(self.keys.dlq)
        state.buried = [(_name(fields[b"raw"]), _text(fields[b"reason"])) for _, fields in entries]
        return state

    def _read_queues(self, state: State) -> None:
        for queue in (_text(name).removeprefix(f"{self.prefix}.") for name in self.client.smembers(self.keys.queues)):
            for step in (0, 3, 6, 9):
                raws = self.client.lrange(self.list_key(queue, step), 0, -1)[::-1]
                _set(state.queued, f"{queue}:{step}" if step else queue, [_name(raw) for raw in raws])
                state.stock |= {_name(raw) for raw in raws if not raw.startswith(b'{"hardening"')}
            if self.client.exists(self.keys.bell(self.list_key(queue))):
                state.rung.add(queue)

    def _consumers(self) -> set[str]:
        found = set()
        for kind in ("inflight", "started"):
            head = f"{self.prefix}:{kind}:"
            found |= {_text(key).removeprefix(head) for key in self.client.scan_iter(f"{head}*", count=10_000)}
        return found


def _set(places: dict[str, list[str]], name: str, messages: list[str]) -> None:
    if messages:
        places[name] = messages


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _raw_of(entry: bytes) -> bytes:
    size, _, rest = entry.partition(b":")
    return rest[int(size) :]


def _name(raw: bytes) -> str:
    return str(json.loads(raw)["headers"]["id"])
