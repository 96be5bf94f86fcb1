"""Recipients: who is named how, and where each one's message goes."""

from __future__ import annotations

from typing import Any

import pytest
from celery.utils.nodenames import worker_direct
from hypothesis import given
from hypothesis import strategies as st

from hardening.delivery import Recipient, agent, queue, worker
from hardening.delivery.recipients import recipients_of


def test_each_kind_has_a_queue() -> None:
    """That of a worker is the one Celery has it take from with ``worker_direct``."""
    assert queue("emails") == Recipient("queue", "emails", "emails")
    assert agent("inventory") == Recipient("agent", "inventory", "agent.inventory")
    assert worker("mail@host1") == Recipient("worker", "mail@host1", worker_direct("mail@host1").name)
    assert [str(one) for one in (queue("a"), agent("b"), worker("c@d"))] == ["queue a", "agent b", "worker c@d"]


@given(st.lists(st.sampled_from(["a", "b", "agent.c"]), min_size=1), st.booleans())
def test_of_those_who_share_a_queue_the_first_alone_is_one(names: list[str], is_agent_first: bool) -> None:
    """In the order in which they were named, from whatever iterable."""
    given_: list[Any] = [agent("c"), *names] if is_agent_first else [*names, agent("c")]
    listed = recipients_of(iter(given_))
    assert [one.queue for one in listed] == list(dict.fromkeys(["agent.c"] * is_agent_first + [*names, "agent.c"]))
    kind = "agent" if is_agent_first or "agent.c" not in names else "queue"
    assert {one.kind for one in listed if one.queue == "agent.c"} == {kind}


@pytest.mark.parametrize(
    ("given_", "error", "text"),
    [
        ([], ValueError, "recipients is empty, expected at least one"),
        ("emails", TypeError, "recipients is 'emails', expected several"),
        (queue("emails"), TypeError, "expected several, such as"),
        ([17], TypeError, r"a recipient is 17, expected the name of a queue, or queue\(\), worker\(\) or agent\(\)"),
        ([""], ValueError, "queue is '', expected a name"),
        (["  "], ValueError, "queue is '  ', expected a name"),
        (["a\x06\x163"], ValueError, "queue is 'a.*3', expected a name"),
    ],
)
def test_what_is_no_list_of_recipients_is_told(given_: Any, error: type[Exception], text: str) -> None:
    """In one line that says what to do."""
    with pytest.raises(error, match=text):
        recipients_of(given_)


@pytest.mark.parametrize("name", ["host1", "@host1", "mail@", ""])
def test_a_worker_is_called_by_its_node_name(name: str) -> None:
    """As ``celery status`` shows it."""
    with pytest.raises(ValueError, match=r"expected a (node )?name"):
        worker(name)


@pytest.mark.parametrize("make", [queue, worker, agent])
def test_a_name_is_a_text(make: Any) -> None:
    """Not a task, say."""
    with pytest.raises(TypeError, match="is 17, expected a name"):
        make(17)
