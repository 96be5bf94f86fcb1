"""Groups of dead letters: every filter finds what it should, and the index never disagrees with the queue."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlq import Selection
from dlq.groups import read_groups
from hardening.core.keys import Keys
from hardening.core.scripts import Death
from tests.integration.graveyard import Graveyard, Kind

if TYPE_CHECKING:
    from redis import Redis

REASONS, TASKS, QUEUES, ERRORS = ("failed", "timeout"), ("a", "b", "c"), ("q", "r"), ("KeyError", "ValueError", "x y")
KINDS = st.builds(
    Kind, st.sampled_from(REASONS), st.sampled_from(TASKS), st.sampled_from(QUEUES), st.sampled_from(ERRORS[:2])
)
SELECTIONS = st.builds(
    Selection,
    reason=st.none() | st.sampled_from(REASONS),
    task=st.none() | st.sampled_from(TASKS),
    queue=st.none() | st.sampled_from(QUEUES),
    limit=st.none() | st.integers(1, 12),
    fingerprint=st.none() | st.sampled_from(ERRORS),
)


@pytest.fixture
def graveyard(client: Redis, keys: Keys) -> Graveyard:
    """An empty one."""
    return Graveyard(client, keys)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kinds=st.lists(KINDS, min_size=1, max_size=60), selection=SELECTIONS)
def test_filters_find_what_the_model_finds(
    client: Redis, data: st.DataObject, kinds: list[Kind], selection: Selection
) -> None:
    """Whatever is buried, replayed and purged before: in order, both ways, with a limit."""
    graveyard = Graveyard(client, Keys(f"h{uuid.uuid4().hex[:12]}"))
    there = dict(zip(graveyard.bury(kinds), kinds, strict=True))
    for move in (graveyard.letters.replay, graveyard.letters.purge):
        gone = data.draw(st.lists(st.sampled_from(sorted(there)), unique=True)) if there else []
        assert move(graveyard.entries(gone)) == len(gone)
        there = {entry_id: kind for entry_id, kind in there.items() if entry_id not in gone}
        graveyard.check()
    meant = [entry_id for entry_id, kind in there.items() if kind.is_meant(selection)]
    limit = selection.limit or len(meant)
    assert graveyard.find(selection) == meant[:limit]
    assert graveyard.find(selection, newest_first=True) == meant[::-1][:limit]
    if meant:
        middle = meant[len(meant) // 2]
        assert graveyard.find(selection, up_to=middle) == meant[: meant.index(middle) + 1][:limit]
    counted = {kind: list(there.values()).count(kind) for kind in set(there.values())}
    stats = graveyard.letters.stats()
    head = f"{graveyard.keys.prefix}."
    found = {
        Kind(group.reason, group.task, group.queue.removeprefix(head), group.fingerprint): group.count
        for group in stats.groups
    }
    assert found == counted
    assert stats.total == len(there)


def test_a_long_merge_is_read_in_chunks(graveyard: Graveyard) -> None:
    """Thousands of letters of three groups among a fourth, interleaved: each once, in order."""
    kinds = [Kind(task=task) for task in itertools.islice(itertools.cycle("abacad"), 3000)]
    ids = graveyard.bury(kinds)
    meant = [entry_id for entry_id, kind in zip(ids, kinds, strict=True) if kind.task in "bcd"]
    assert graveyard.find(Selection(task="[bcd]")) == meant
    assert graveyard.find(Selection(task="[bcd]"), newest_first=True) == meant[::-1]


def test_what_is_not_meant_is_not_read(graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one among a thousand is found without the others."""
    graveyard.bury([Kind()] * 500)
    (one,) = graveyard.bury([Kind(task="rare")])
    graveyard.bury([Kind()] * 500)
    monkeypatch.setattr(graveyard.client, "xrange", lambda *_, **__: pytest.fail("the queue was read"))
    assert graveyard.find(Selection(task="rare"), newest_first=True) == [one]


def test_the_last_letter_of_a_group_takes_it_along(graveyard: Graveyard) -> None:
    """No key and no field is left behind but the stream, which remembers its last id, and the names of queues."""
    graveyard.bury([Kind(), Kind(), Kind(task="b")])
    assert graveyard.letters.replay(graveyard.letters.select(Selection(task="b"))) == 1
    assert graveyard.letters.purge(graveyard.letters.select()) == 2
    keys = {key.decode() for key in graveyard.client.keys(f"{graveyard.keys.prefix}:dlq*")}
    assert keys == {graveyard.keys.dlq, graveyard.keys.dlq_queues}
    assert read_groups(graveyard.client, graveyard.keys).groups == []
    graveyard.check()


def test_a_group_knows_when_its_first_died_though_that_is_gone(graveyard: Graveyard) -> None:
    """First seen stays; the oldest that is there does not."""
    first, last = graveyard.bury([Kind()])[0], None
    born = int(first.partition("-")[0])
    while last is None or int(last.partition("-")[0]) == born:
        (last,) = graveyard.bury([Kind()])
    graveyard.letters.purge(list(graveyard.letters.select())[:-1])
    (group,) = graveyard.letters.stats().groups
    assert abs(group.first_ms - born) <= 1
    assert born < group.oldest_ms == group.last_ms == int(last.partition("-")[0])


def test_too_many_kinds_are_held_together(graveyard: Graveyard) -> None:
    """First the fingerprint is given up, then everything; filters find each letter all the same."""
    kinds = [Kind(error=f"Error{number}") for number in range(1010)]
    ids = graveyard.bury(kinds)
    found = read_groups(graveyard.client, graveyard.keys).groups
    assert (len(found), found[0].fingerprint, found[0].count) == (1001, "*", 10)
    assert graveyard.find(Selection(fingerprint="Error1009")) == ids[-1:]
    assert graveyard.find(Selection(fingerprint="Error3")) == [ids[3]]
    assert graveyard.letters.stats(Selection(fingerprint="Error1009")).total == 1
    more = graveyard.bury(Kind(task=f"t{number}") for number in range(1020))
    found = read_groups(graveyard.client, graveyard.keys).groups
    assert (len(found), found[0].task, found[0].count) == (2001, "*", 21)
    assert graveyard.find(Selection(task="t1019"), newest_first=True) == more[-1:]
    assert graveyard.letters.purge(graveyard.letters.select(Selection(task="t*"))) == 2030
    graveyard.check()


@pytest.mark.parametrize("odd", ["x" * 256, "a\x1fb"])
def test_odd_names_are_found_too(graveyard: Graveyard, odd: str) -> None:
    """They are in no group of their own, so their letters are looked at."""
    (mine,), _ = graveyard.bury([Kind(queue=odd)]), graveyard.bury([Kind()])
    assert graveyard.find(Selection(queue=odd)) == [mine]
    assert graveyard.letters.stats().by_queue == {"(others)": 1, f"{graveyard.keys.prefix}.q": 1}
    (task,) = graveyard.bury([Kind(task=odd)])
    assert [entry.task for entry in graveyard.entries([task])] == [""]


def test_a_nested_name_does_not_hide_a_letter(graveyard: Graveyard) -> None:
    """What the group says is what the entry says, and what filters go by."""
    call = graveyard.letters.scope.bury(
        "w", 0, Death("failed"), list_key="q",
        raw=b'{"headers":{"task":"compact","kwargsrepr":"{\\"task\\": \\"inner\\"}"}}',
    )  # fmt: skip
    assert call.run(graveyard.client) == 1
    assert [entry.task for entry in graveyard.letters.select(Selection(task="compact"))] == ["compact"]
