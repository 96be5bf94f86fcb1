"""Replays with bounds and changes, exports and imports, on a real Redis."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from dlq import DeadLetters, Selection
from dlq.body import read_content
from hardening.core import payload as payloads
from hardening.core.errors import FileRefused, QueueFull, QueueUnknown, RewriteRefused
from hardening.core.scripts import Death
from hardening.core.scripts.calls import discard
from tests.integration.graveyard import Graveyard, Kind
from tests.undertaker import STEP_6

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.keys import Keys
    from tests.undertaker import Undertaker


def waiting(undertaker: Undertaker, queue: str | None = None) -> list[bytes]:
    """What waits in a queue, next to be taken first."""
    raws: Any = undertaker.client.lrange(queue or undertaker.queue, 0, -1)
    return list(reversed(raws))


def test_a_selection_is_replayed_and_purged_as_it_is(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Without being read by hand first."""
    undertaker.dead_letters(3, "shop.charge")
    undertaker.dead_letters(2, "mail.send")
    assert letters.replay(Selection(task="shop.*"), limit=2) == 2
    assert letters.purge(Selection(task="mail.*")) == 2
    assert [entry.task for entry in letters.select()] == ["shop.charge"]
    assert undertaker.check().queued == 2


def test_a_dry_run_moves_nothing(undertaker: Undertaker, letters: DeadLetters) -> None:
    """It says how many it would have moved, and is refused what would be refused."""
    undertaker.dead_letters(3)
    before = undertaker.check()
    assert letters.replay(Selection(), dry_run=True) == 3
    with pytest.raises(QueueFull) as caught:
        letters.replay(Selection(), dry_run=True, max_queue=2)
    assert (caught.value.replayed, caught.value.depth) == (2, 2)
    assert undertaker.check() == before


def test_a_replay_keeps_to_its_rate(undertaker: Undertaker, letters: DeadLetters) -> None:
    """In small pages, evenly: 40 at 100 a second take 0.4 s, the last page's pause included."""
    undertaker.dead_letters(40)
    progress: list[int] = []
    began_s = time.monotonic()
    assert letters.replay(Selection(), rate=100, on_progress=progress.append) == 40
    assert 0.38 <= time.monotonic() - began_s < 2
    assert progress == [25, 40]


@pytest.mark.parametrize("how", [{"rate": 0}, {"rate": -1.0}, {"rate": float("inf")}, {"max_queue": -1}])
def test_bounds_that_make_no_sense_are_refused(letters: DeadLetters, how: dict[str, Any]) -> None:
    """Before anything is moved."""
    with pytest.raises(ValueError, match="expected"):
        letters.replay(Selection(), **how)


def test_a_replay_stops_before_a_queue_holds_too_much(
    app: Celery, undertaker: Undertaker, letters: DeadLetters
) -> None:
    """All its priorities counted; it says where it stopped, and goes on from there the next time."""
    ids = undertaker.dead_letters(8)
    app.send_task("other", priority=6)
    app.send_task("other")
    with pytest.raises(QueueFull) as caught:
        letters.replay(Selection(), max_queue=5)
    stopped = caught.value
    assert (stopped.queue, stopped.depth, stopped.replayed, stopped.next_id) == (undertaker.queue, 5, 3, ids[3])
    assert str(stopped) == (
        f"stopped at dead letter {ids[3]} after 3 replayed: the queue {undertaker.queue!r} holds 5 messages; "
        "go on when it has drained"
    )
    assert undertaker.check().queued == 5
    undertaker.ack(undertaker.take())
    assert letters.replay(Selection(), max_queue=5) == 5


def test_letters_can_go_to_another_queue(app: Celery, undertaker: Undertaker, letters: DeadLetters) -> None:
    """Their priority stays, and so do their retries there; what nobody has heard of is refused with the near name."""
    app.send_task("other", queue=f"{undertaker.queue}.slow")
    undertaker.dead_letter(priority=6)
    with pytest.raises(QueueUnknown, match=r"nobody has ever heard of the queue .*: did you mean"):
        letters.replay(Selection(), to_queue=f"{undertaker.queue}.slwo")
    with pytest.raises(QueueUnknown, match="name one that a producer or a worker of this app uses"):
        letters.replay(Selection(), to_queue="zzz")
    assert letters.replay(Selection(), to_queue=f"{undertaker.queue}.slow") == 1
    (raw,) = waiting(undertaker, f"{undertaker.queue}.slow{STEP_6}")
    assert payloads.load(raw)["properties"]["delivery_info"]["routing_key"] == f"{undertaker.queue}.slow"
    assert undertaker.check().queued == 2


def test_nothing_is_lost_to_a_key_that_is_no_list(undertaker: Undertaker, letters: DeadLetters) -> None:
    """The letter stays where it is."""
    undertaker.dead_letters(2)
    undertaker.client.set(undertaker.queue, "text")
    assert letters.replay(Selection()) == 0
    assert len(letters) == 2
    undertaker.client.delete(undertaker.queue)
    assert letters.replay(Selection()) == 2
    undertaker.check()


@pytest.fixture
def charge(app: Celery) -> None:
    """A task that this app knows."""

    @app.task(name="shop.charge", shared=False)
    def charge(order: int, amount: int = 0, *, currency: str = "EUR") -> None:
        pass


def arguments(raw: bytes) -> tuple[Any, Any]:
    """What a message calls its task with."""
    args, kwargs, _ = read_content(raw).body
    return args, kwargs


@pytest.mark.usefixtures("charge")
def test_arguments_are_changed_by_name_wherever_they_stand(undertaker: Undertaker, letters: DeadLetters) -> None:
    """By position, by name, or new; what is shown of them changes along."""
    undertaker.dead_letter("shop.charge", args=(7,), kwargs={"amount": 1})
    changes = {"order": 8, "amount": [2], "currency": "USD"}
    assert letters.replay(Selection(), set_kwargs=changes) == 1
    (raw,) = waiting(undertaker)
    assert arguments(raw) == ([8], {"amount": [2], "currency": "USD"})
    headers = payloads.load(raw)["headers"]
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("(8,)", "{'amount': [2], 'currency': 'USD'}")
    undertaker.check()


@pytest.mark.usefixtures("charge")
def test_an_argument_that_a_task_does_not_take_is_refused(undertaker: Undertaker, letters: DeadLetters) -> None:
    """With the near name; nothing of its page is moved. Of a task that is not known here anything may be."""
    entry_id = undertaker.dead_letter("shop.charge")
    with pytest.raises(
        RewriteRefused, match=r"shop.charge takes no argument 'amuont', did you mean 'amount'\?"
    ) as caught:
        letters.replay(Selection(), set_kwargs={"amuont": 3})
    assert caught.value.entry_id == entry_id
    with pytest.raises(RewriteRefused, match="'x', it takes: order, amount, currency"):
        letters.replay(Selection(), set_kwargs={"x": 3})
    assert undertaker.check().letters == 1
    letters.purge(Selection())
    undertaker.dead_letter("unknown.here")
    assert letters.replay(Selection(), set_kwargs={"x": 3}) == 1
    assert arguments(waiting(undertaker)[0]) == ([], {"x": 3})


@pytest.mark.parametrize("raw", [b"?", b'{"headers": {"compression": "zip"}, "properties": {}}', b'{"headers": {}}'])
def test_arguments_that_cannot_be_read_cannot_be_changed(
    undertaker: Undertaker, letters: DeadLetters, raw: bytes
) -> None:
    """It is said, and the letter stays."""
    undertaker.dead_raw(raw)
    with pytest.raises(RewriteRefused, match="cannot be changed"):
        letters.replay(Selection(), set_kwargs={"a": 1})
    assert undertaker.check().letters == 1


# -- files

BYTES = [b"\xff\xfe\x00", b"", b'{"headers": {"task": "t"}}', "é".encode()]


def test_an_export_can_be_imported_byte_for_byte(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Messages, and every word about them; entries are new and know their old ids."""
    ids = [undertaker.dead_raw(raw, Death("failed", "\u00c9rror: no")) for raw in BYTES]
    ids.append(undertaker.dead_letter("shop.charge", kwargs={"password": "hunter2"}, headers={"x": 1}))
    before = list(letters.select())
    lines = list(letters.export(Selection(), reveal=True))
    assert letters.purge(Selection()) == len(ids)
    assert letters.import_(lines) == len(ids)
    after = list(letters.select())
    assert [entry.imported_from for entry in after] == ids
    assert [dict(entry.fields) | {b"imported_from": b""} for entry in after] == [
        dict(entry.fields) | {b"imported_from": b""} for entry in before
    ]
    counters = undertaker.check().counters
    assert counters["imported"] == len(ids)
    assert letters.replay(Selection()) == len(ids)
    undertaker.check()


def test_what_was_not_text_in_an_entry_is_not_lost(client: Redis, keys: Keys) -> None:
    """An error message may hold any bytes."""
    graveyard = Graveyard(client, keys)
    graveyard.bury([Kind()])
    line = json.loads(next(graveyard.letters.export(Selection(), reveal=True)))
    line["fields"]["error"] = "\udcff\udcfe"
    assert graveyard.letters.import_([json.dumps(line)]) == 1
    *_, entry = graveyard.letters.select()
    assert entry.fields[b"error"] == b"\xff\xfe"
    again = json.loads(list(graveyard.letters.export(Selection(), reveal=True))[-1])
    assert again["fields"]["error"] == "\udcff\udcfe"
    graveyard.check()


def test_imports_come_in_batches(client: Redis, keys: Keys) -> None:
    """In the order of the lines, found by every filter, and of a queue nobody has heard of for all they say."""
    graveyard = Graveyard(client, keys)
    graveyard.bury([Kind(task=f"t{number % 3}") for number in range(450)])
    lines = list(graveyard.letters.export(Selection(), reveal=True))
    graveyard.letters.purge(Selection())
    progress: list[int] = []
    assert graveyard.letters.import_([*lines, "", "\n"], on_progress=progress.append) == 450
    assert progress == [200, 400, 450]
    assert len(graveyard.find(Selection(task="t1"))) == 150
    graveyard.check()


def test_a_masked_export_is_for_reading(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Secrets are nowhere in it, and it says that it cannot be imported."""
    undertaker.dead_letter(
        "shop.charge", Death("failed", "ValueError: token=hunter2", "password: hunter2"),
        kwargs={"password": "hunter2", "order": 7}, headers={"hardening_metadata": {"api_key": "hunter2"}},
    )  # fmt: skip
    (line,) = letters.export(Selection())
    assert "hunter2" not in line
    assert json.loads(line)["body"][1] == {"password": "***", "order": 7}
    with pytest.raises(FileRefused, match=r"line 1 cannot be imported: its secrets are masked, .* with --reveal"):
        letters.import_([line])
    assert len(letters) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("nonsense", "it is no JSON"),
        ("[" * 50_000, "it is no JSON"),
        ("[1]", "it is no JSON object"),
        ({"id": "x"}, "it has no id of a dead letter"),
        ({"fields": {"list": 3}}, "its fields are not texts by name"),
        ({"fields": {"reason": "failed"}}, "it does not say its list"),
        ({"fields": {"list": "q"}}, "it does not say its reason"),
        ({"raw": "?"}, "its message is no base64"),
        ({"raw": None}, "its message is no base64"),
        ({"fields": {"list": "q", "reason": "\ud800"}}, "it has characters that no text has"),
    ],
)
def test_a_line_that_was_not_exported_is_refused(
    undertaker: Undertaker, letters: DeadLetters, change: Any, told: str
) -> None:
    """With its number; nothing of its batch is taken in."""
    undertaker.dead_letter()
    (good,) = letters.export(Selection(), reveal=True)
    bad = change if isinstance(change, str) else json.dumps(json.loads(good) | change)
    with pytest.raises(FileRefused, match=f"line 2 cannot be imported: {told}"):
        letters.import_([good, bad])
    assert undertaker.check().letters == 1


def test_of_two_pages_the_first_stays_replayed_when_the_second_is_refused(
    undertaker: Undertaker, letters: DeadLetters
) -> None:
    """The second is rewritten while Redis moves the first, which is seen through and counted all the same."""
    undertaker.dead_letters(250)
    bad = undertaker.dead_raw(b"?")
    told: list[int] = []
    with pytest.raises(RewriteRefused, match=bad):
        letters.replay(Selection(), set_kwargs={"customer": 1}, on_progress=told.append)
    assert told == [250]
    assert [entry.id for entry in letters.select()] == [bad]
    ledger = undertaker.check()
    assert (ledger.queued, ledger.counters["replayed"]) == (250, 250)


def test_each_page_is_told_of_once_it_is_there(undertaker: Undertaker, letters: DeadLetters) -> None:
    """What is told has happened: nothing is counted that is under way."""
    undertaker.dead_letters(600)
    told: list[tuple[int, int]] = []
    letters.replay(Selection(), on_progress=lambda done: told.append((done, undertaker.check().queued)))
    assert told == [(250, 250), (500, 500), (600, 600)]


def test_a_depth_counts_the_page_before(undertaker: Undertaker, letters: DeadLetters) -> None:
    """It is looked at when that page has arrived."""
    undertaker.dead_letters(600)
    with pytest.raises(QueueFull) as caught:
        letters.replay(Selection(), max_queue=400)
    assert (caught.value.replayed, caught.value.depth) == (400, 400)
    assert undertaker.check().queued == 400


def test_letters_whose_group_was_told_wrongly_are_found_in_theirs(client: Redis, keys: Keys) -> None:
    """Some of a page, of several groups: filters and statistics forget them with the queue; the others stay."""
    graveyard = Graveyard(client, keys)
    kinds = [Kind(task=f"t{number % 3}") for number in range(12)]
    ids = graveyard.bury(kinds)
    entries = graveyard.entries(ids)
    wrong = [(entry.id, entries[0].group) for entry in entries[:6]]
    assert discard(keys, wrong).run(client) == 6
    assert discard(keys, wrong).run(client) == 0
    graveyard.check()
    assert graveyard.find(Selection(task="t1")) == [ids[7], ids[10]]
    assert discard(keys, [(entry_id, "gone") for entry_id in ids]).run(client) == 6
    assert graveyard.check() == {"acked": -12, "dead": 12, "discarded": 12}
    assert not client.exists(keys.dlq_groups, *(keys.dlq_group(entry.group) for entry in entries))
