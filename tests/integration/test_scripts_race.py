"""Many at once: whoever comes, each message moves once."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from tests.integration.stage import Stage, State, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.scripts import Recovery


def at_once(server: EmbeddedRedis, prefix: str, *acts: Callable[[Stage], None]) -> None:
    """Runs each act in a thread with a client of its own; all begin together."""
    barrier = threading.Barrier(len(acts))
    errors: list[BaseException] = []

    def run(act: Callable[[Stage], None]) -> None:
        with server.client() as client:
            barrier.wait(10)
            try:
                act(Stage(client, prefix))
            except BaseException as error:  # noqa: BLE001 - it is raised again, in the test's thread
                errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def test_sweepers_who_race_move_each_message_once(server: EmbeddedRedis, stage: Stage) -> None:
    """Six of them, in small batches, over three dead consumers; half of what these held had been begun."""
    names = [f"m{number:03}" for number in range(120)]
    for consumer, part in (("u", names[:40]), ("v", names[40:80]), ("w", names[80:])):
        stage.join(consumer)
        for name in part:
            stage.publish(name)
        stage.take(consumer)
        stage.begin(consumer, *part[::2])
        stage.expire(consumer)
    sweeps: list[Recovery] = []

    def sweep(own: Stage) -> None:
        more = True
        while more:
            sweeps.append(own.recover(limit=7))
            more = sweeps[-1].more

    at_once(server, stage.prefix, *[sweep] * 6)
    state = stage.state()
    assert sorted(state.queued.pop("q")) == names
    assert state == State(crashes=dict.fromkeys(names[::2], 1), rung={"q"})
    assert (sum(one.restored for one in sweeps), sum(one.charged for one in sweeps)) == (120, 60)
    assert stage.ledger().counters == {"published": 120, "recovered": 120, "crashes": 60}


def test_takers_who_race_share_without_overlap(server: EmbeddedRedis, stage: Stage) -> None:
    """While a publisher goes on."""
    consumers = ["u", "v", "w"]
    stage.join(*consumers)
    names = [f"m{number:03}" for number in range(200)]
    for name in names[:100]:
        stage.publish(name)
    taken: Counter[str] = Counter()

    def publish(own: Stage) -> None:
        for name in names[100:]:
            own.publish(name)

    def take_as(consumer: str) -> Callable[[Stage], None]:
        def take(own: Stage) -> None:
            for _ in range(50):
                taken.update(short(message.raw[15:51]) for message in own.take(consumer, 3).messages)

        return take

    at_once(server, stage.prefix, publish, *map(take_as, consumers))
    while rest := stage.take("w").messages:
        taken.update(short(message.raw[15:51]) for message in rest)
    assert taken == Counter(names)
    state = stage.state()
    assert sorted(name for held in state.inflight.values() for name in held) == names


def test_an_ack_and_a_sweep_who_race_settle_a_message_one_way(server: EmbeddedRedis, stage: Stage) -> None:
    """It is acked, or it comes back and a late ack removes it: never both, never neither."""
    names = [f"m{number:02}" for number in range(60)]
    stage.join("w")
    for name in names:
        stage.publish(name)
    stage.take("w")
    seqs = stage.seqs("w")
    acked: list[str] = []
    late: list[str] = []

    def ack(own: Stage) -> None:
        for name in names:
            if own.run(own.scope.ack("w", [str(seqs[name])])):
                acked.append(name)
            elif own.run(own.scope.ack_late(own.list_key(), own.raw(name))):
                late.append(name)

    def sweep(own: Stage) -> None:
        own.expire("w")
        while own.recover(limit=1).more:
            pass

    at_once(server, stage.prefix, ack, sweep)
    assert sorted(acked + late) == names
    assert stage.state() == State(rung=stage.state().rung)
    assert stage.ledger().counters["acked"] == len(names)


def test_senders_who_race_with_one_receipt_make_one_message(server: EmbeddedRedis, stage: Stage) -> None:
    """Retries that overlap."""
    replies: list[int] = []

    def publish(own: Stage) -> None:
        replies.extend(own.publish("a", receipt="r") for _ in range(20))

    at_once(server, stage.prefix, *[publish] * 4)
    assert Counter(replies) == {1: 1, 0: 79}
    assert stage.state() == State(queued={"q": ["a"]}, rung={"q"})
