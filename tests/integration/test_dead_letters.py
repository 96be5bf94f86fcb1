"""The dead-letter queue on a real Redis: nothing leaves it twice, and the ledger balances after every step."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dlq import DeadLetters, Reason, Selection
from hardening import supervised_send
from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.errors import ConfigError, EntryNotFound
from hardening.core.scripts import Death
from hardening.delivery import DeliveryStatus
from tests.undertaker import STEP_6, Undertaker

if TYPE_CHECKING:
    from redis import Redis

    from dlq import Entry
    from hardening.core.embedded import EmbeddedRedis

DEEP = b"[" * 50_000


def ids(entries: Any) -> list[str]:
    """The ids of entries."""
    return [entry.id for entry in entries]


def queued(undertaker: Undertaker, step: str = "") -> list[bytes]:
    """What waits in the queue, next to be taken first."""
    raws: Any = undertaker.client.lrange(f"{undertaker.queue}{step}", 0, -1)
    return list(reversed(raws))


def test_an_empty_queue_has_nothing_to_tell(letters: DeadLetters) -> None:
    """Not even that there ever was a stream."""
    stats = letters.stats()
    assert (len(letters), list(letters.select()), list(letters.select(newest_first=True))) == (0, [], [])
    assert (stats.total, stats.by_reason, stats.oldest_ms, stats.newest_ms) == (0, {}, None, None)
    assert (letters.replay([]), letters.purge([])) == (0, 0)


def test_an_entry_has_all_the_evidence(undertaker: Undertaker, letters: DeadLetters) -> None:
    """What the sender gave, what the worker saw, and where the message was."""
    death = Death(Reason.FAILED, "ValueError: no", "Traceback ...")
    entry_id = undertaker.dead_letter(
        "shop.charge", death, args=(1,), task_id="t1", priority=6, headers={"hardening_metadata": {"order": 7}}
    )
    entry = letters.get(entry_id)
    assert (entry.task, entry.task_id, entry.metadata) == ("shop.charge", "t1", {"order": 7})
    assert (entry.reason, entry.error, entry.traceback) == ("failed", "ValueError: no", "Traceback ...")
    assert (entry.queue, entry.list_key) == (undertaker.queue, f"{undertaker.queue}{STEP_6}")
    assert (entry.worker, entry.crashes, entry.retries, entry.receipt) == ("undertaker", 0, 0, "")
    assert entry.message == raw_message.message_id(entry.raw)
    assert abs(datetime.now(UTC) - entry.died_at) < timedelta(minutes=1)


@pytest.mark.parametrize("entry_id", ["", "-", "+", "0", "1-", "x-y", "1-1", "(1-1", f"{'9' * 30}-1", "\uff11-1"])
def test_what_is_no_entry_is_not_found(undertaker: Undertaker, letters: DeadLetters, entry_id: str) -> None:
    """Wrong ids and ids of nothing are the same to whoever asks."""
    undertaker.dead_letter()
    with pytest.raises(EntryNotFound) as caught:
        letters.get(entry_id)
    assert caught.value.entry_id == entry_id


def test_half_an_id_is_no_id(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Redis would take the first entry of that millisecond for it."""
    entry_id = undertaker.dead_letter()
    with pytest.raises(EntryNotFound):
        letters.get(entry_id.partition("-")[0])


def test_filters_and_order(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Every filter, both ways round, with a limit."""
    first = undertaker.dead_letter("shop.charge")
    second = undertaker.dead_letter("shop.refund", Death(Reason.CRASHED))
    third = undertaker.dead_letter("mail.send")
    assert ids(letters.select()) == [first, second, third]
    assert ids(letters.select(newest_first=True)) == [third, second, first]
    assert ids(letters.select(Selection(task="shop.*"))) == [first, second]
    assert ids(letters.select(Selection(reason="crashed"))) == [second]
    assert ids(letters.select(Selection(queue=undertaker.queue, limit=2), newest_first=True)) == [third, second]
    assert ids(letters.select(Selection(since=letters.get(second).died_at, task="*.send"))) == [third]
    assert ids(letters.select(Selection(since=datetime.now(UTC) + timedelta(days=1)))) == []
    assert ids(letters.select(up_to=second)) == [first, second]
    assert ids(letters.select(up_to=second, newest_first=True)) == [second, first]


def test_more_than_a_page_is_read_page_by_page(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Each entry once, in order, both ways; a full last page is no trap."""
    made = undertaker.dead_letters(1000)
    assert ids(letters.select()) == made
    assert ids(letters.select(newest_first=True)) == made[::-1]
    made += undertaker.dead_letters(1)
    assert ids(letters.select()) == made
    assert ids(letters.select(Selection(limit=501))) == made[:501]


def test_reading_ends_though_messages_go_on_dying(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Else a replay of what fails at once would go round for ever."""
    made = undertaker.dead_letters(501)
    seen = []
    for entry in letters.select():
        seen.append(entry.id)
        if len(seen) in (1, 500, 501):
            undertaker.dead_letter()
    assert seen == made
    assert len(letters) == 504


def test_a_replay_gives_messages_back_in_order(undertaker: Undertaker, letters: DeadLetters) -> None:
    """To the lists they came from, at the end of them, told page by page."""
    undertaker.dead_letters(700)
    undertaker.dead_letter(priority=6)
    progress: list[int] = []
    assert letters.replay(letters.select(), on_progress=progress.append) == 701
    undertaker.check()
    assert progress == [250, 500, 701]
    assert len(letters) == 0
    bodies = [payloads.load(raw)["body"] for raw in queued(undertaker)]
    assert bodies == [payloads.encode_body(f"[[{n}], {{}}, {json.dumps(EMBED)}]") for n in range(700)]
    assert len(queued(undertaker, STEP_6)) == 1


EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def test_a_replayed_message_can_die_again(undertaker: Undertaker, letters: DeadLetters) -> None:
    """As a new message, which knows where it came from."""
    first = letters.get(undertaker.dead_letter(death=Death(Reason.CRASHED)))
    assert letters.replay([first]) == 1
    undertaker.check()
    (second_id,) = undertaker.bury(undertaker.take(), Death(Reason.FAILED))
    second = letters.get(second_id)
    assert (second.replayed_from, second.task_id) == (first.id, first.task_id)
    assert second.message != first.message
    assert undertaker.check().counters == {"published": 1, "dead": 2, "replayed": 1}


def test_an_entry_is_replayed_once(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Asking again with the same entry does nothing."""
    entry = letters.get(undertaker.dead_letter())
    assert (letters.replay([entry]), letters.replay([entry]), letters.purge([entry])) == (1, 0, 0)
    assert undertaker.check().queued == 1


def test_two_operators_make_one_message_each(
    undertaker: Undertaker, server: EmbeddedRedis, letters: DeadLetters
) -> None:
    """Whoever comes first replays an entry; together they replay each exactly once."""
    undertaker.dead_letters(1200)
    clients = [server.client() for _ in range(4)]
    start = threading.Barrier(len(clients))
    replayed: list[int] = []

    def operate(client: Redis) -> None:
        mine = DeadLetters(client, undertaker.keys, receipt_ttl_ms=1000)
        entries = list(mine.select())
        start.wait(30)
        replayed.append(mine.replay(entries))

    threads = [threading.Thread(target=operate, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for client in clients:
        client.close()
    messages = [raw_message.message_id(raw) for raw in queued(undertaker)]
    assert sum(replayed) == len(messages) == len(set(messages)) == 1200
    assert len(letters) == 0
    assert undertaker.check().counters["replayed"] == 1200


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe not utf-8", b"not json", b"[1, 2]", DEEP, b'{"headers": {"task": ["x"]}}']
)
def test_what_cannot_be_read_can_be_replayed(undertaker: Undertaker, letters: DeadLetters, raw: bytes) -> None:
    """Byte for byte, as often as one likes; it is not in the ledger while it waits."""
    for _ in range(2):
        entry_id = (
            undertaker.dead_raw(raw)
            if not queued(undertaker)
            else undertaker.bury(undertaker.take(), Death(Reason.UNDECODABLE))[0]
        )
        entry = letters.get(entry_id)
        assert (entry.reason, entry.task, entry.raw) == ("undecodable", "", raw)
        assert letters.replay([entry]) == 1
        ledger = undertaker.check()
        assert (ledger.queued, ledger.stock) == (0, 1)
    assert queued(undertaker) == [raw]


def test_a_stock_message_enters_the_ledger_when_replayed(undertaker: Undertaker, letters: DeadLetters) -> None:
    """It comes back marked, because it can be read."""
    raw = json.dumps({"body": "", "headers": {"task": "t"}, "properties": {"delivery_tag": "x"}}).encode()
    assert letters.replay([letters.get(undertaker.dead_raw(raw))]) == 1
    ledger = undertaker.check()
    assert (ledger.queued, ledger.stock) == (1, 0)
    assert raw_message.is_marked(queued(undertaker)[0])


def test_an_entry_without_a_list_stays(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Somebody else wrote it; replayed, it would go nowhere."""
    undertaker.client.xadd(undertaker.keys.dlq, {"raw": "x"})
    assert letters.replay(letters.select()) == 0
    assert len(letters) == 1


def test_a_receipt_follows_its_message_through_a_replay(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Dead, queued again by the operator, and acked in the end."""
    receipt = supervised_send("shop.charge", app=undertaker.app)
    (entry_id,) = undertaker.bury(undertaker.take(), Death(Reason.FAILED))
    assert receipt.status() is DeliveryStatus.DEAD
    assert receipt.details()["reason"] == "failed"
    entry = letters.get(entry_id)
    assert entry.receipt == receipt.id
    letters.replay([entry])
    undertaker.check()
    assert (receipt.status(), receipt.details()["worker"]) == (DeliveryStatus.QUEUED, "operator")
    undertaker.ack(undertaker.take())
    assert receipt.wait("acked", 5.0) is DeliveryStatus.ACKED
    states = [transition.state.value for transition in receipt.history()]
    assert states == ["queued", "claimed", "dead", "queued", "claimed", "acked"]


def test_a_replay_does_not_revive_an_expired_receipt(undertaker: Undertaker, letters: DeadLetters) -> None:
    """The message goes back all the same."""
    receipt = supervised_send("shop.charge", app=undertaker.app)
    (entry_id,) = undertaker.bury(undertaker.take(), Death(Reason.FAILED))
    undertaker.client.delete(undertaker.keys.delivery(receipt.id))
    assert letters.replay([letters.get(entry_id)]) == 1
    assert receipt.status() is DeliveryStatus.UNKNOWN
    assert undertaker.check().queued == 1


def test_a_purge_deletes_for_good_and_is_counted(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Page by page; what is not meant stays, and the ledger still balances."""
    undertaker.dead_letters(600)
    kept = undertaker.dead_letter("mail.send")
    progress: list[int] = []
    assert letters.purge(letters.select(Selection(task="shop.*")), on_progress=progress.append) == 600
    assert progress == [500, 600]
    assert ids(letters.select()) == [kept]
    assert undertaker.check().counters == {"published": 601, "dead": 601, "discarded": 600}


def test_statistics_count_what_is_meant(undertaker: Undertaker, letters: DeadLetters) -> None:
    """By reason, task and queue, most frequent first, with the oldest and the newest."""
    first = undertaker.dead_raw(b"?")
    undertaker.dead_letters(2, "shop.charge", Death(Reason.CRASHED))
    last = undertaker.dead_letters(3, "mail.send")[-1]
    stats = letters.stats()
    assert stats.total == 6
    assert list(stats.by_reason.items()) == [("failed", 3), ("crashed", 2), ("undecodable", 1)]
    assert list(stats.by_task.items()) == [("mail.send", 3), ("shop.charge", 2), ("(unreadable)", 1)]
    assert stats.by_queue == {undertaker.queue: 6}
    assert (stats.oldest_ms, stats.newest_ms) == (millis(letters.get(first)), millis(letters.get(last)))
    assert letters.stats(Selection(reason="crashed")).by_task == {"shop.charge": 2}


def millis(entry: Entry) -> int:
    """When an entry died, in ms."""
    return int(entry.id.partition("-")[0])


def test_an_app_that_is_not_hardened_has_no_dead_letters() -> None:
    """The error says what to do."""
    from celery import Celery  # noqa: PLC0415 - only here

    with pytest.raises(ConfigError, match=r"call hardening\.harden\(app\)"):
        DeadLetters.of(Celery("plain", set_as_current=False))
