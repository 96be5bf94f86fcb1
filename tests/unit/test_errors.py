"""Errors: one tree, as it is drawn, with typed attributes and whole sentences."""

from __future__ import annotations

import inspect
import pickle

import pytest

from hardening.core import errors
from hardening.core.errors import (
    BreakerOpen,
    CancelFailed,
    ConfigError,
    ConfirmTimeout,
    DeadLetterError,
    DeliveryError,
    EmbeddedRedisError,
    EntryNotFound,
    HardeningError,
    HardeningWarning,
    MailboxFull,
    MessageDied,
    NotReplicated,
    PublishFailed,
    ReceiptNotFound,
    ResultTimeout,
    ResultUnavailable,
    SendManyFailed,
    SpoolError,
    SpoolFull,
)

EXAMPLES: list[tuple[HardeningError, dict[str, object], str]] = [
    (ConfigError("a is b"), {"faults": ("a is b",)}, "a is b"),
    (ConfigError(["a is b"]), {"faults": ("a is b",)}, "a is b"),
    (ConfigError(["a", "b"]), {"faults": ("a", "b")}, "2 faults in the configuration:\n  - a\n  - b"),
    (EmbeddedRedisError("no server"), {}, "no server"),
    (
        BreakerOpen(5, 1.25),
        {"failures": 5, "probe_in_s": 1.25},
        "the breaker is open: Redis could not be reached 5 times in a row, the next probe is in 1.2 s",
    ),
    (
        BreakerOpen(5, 0.0),
        {"failures": 5, "probe_in_s": 0.0},
        "the breaker is open: Redis could not be reached 5 times in a row, a probe is on its way",
    ),
    (SpoolError("/s", "is gone"), {"path": "/s"}, "the spool /s is gone"),
    (
        SpoolFull("/s", 7, 800, 90),
        {"path": "/s", "messages": 7, "bytes": 800, "size": 90},
        (
            "the spool /s has no room for a message of 90 bytes: it has 7 messages of 800 bytes; wait for Redis, or "
            "raise hardening_spool_max_messages or hardening_spool_max_bytes"
        ),
    ),
    (
        SendManyFailed("t", (), 3, ["r"]),
        {"failures": (), "sent": 3, "receipts": ["r"]},
        "0 message(s) of t were not sent, for the iterable or on_progress raised; 3 were",
    ),
    (DeliveryError("r", "text"), {"receipt_id": "r"}, "text"),
    (
        PublishFailed("r", "shop.pay", 3, OSError("gone")),
        {"receipt_id": "r", "attempts": 3},
        "shop.pay[r] was not published after 3 attempt(s): OSError: gone",
    ),
    (
        NotReplicated("r", 2, 1, 0.5),
        {"receipt_id": "r", "asked": 2, "replicas": 1, "timeout_s": 0.5},
        "message r is on 1 replica(s), not 2, after 0.5 s; Redis has it, and the receipt follows it",
    ),
    (
        PublishFailed("r", "t", 1, OSError("gone"), SpoolError("/s", "is gone")),
        {"receipt_id": "r", "attempts": 1},
        "t[r] was not published after 1 attempt(s): OSError: gone; nor was it spooled: the spool /s is gone",
    ),
    (
        ConfirmTimeout("r", "acked", "queued", 2.5),
        {"receipt_id": "r", "awaited": "acked", "state": "queued", "timeout_s": 2.5},
        "message r is queued, not acked, after 2.5 s; it is safe, the receipt follows it",
    ),
    (
        MailboxFull("r", "a", 7, 0.0),
        {"receipt_id": "r", "agent": "a", "bound": 7, "waited_s": 0.0},
        "the mailbox of agent a has no room: 7 messages wait in it; r was not published",
    ),
    (
        MailboxFull("r", "a", 7, 2.0),
        {"receipt_id": "r", "agent": "a", "bound": 7, "waited_s": 2.0},
        "the mailbox of agent a has no room: 7 messages wait in it, and had none in 2.0 s; r was not published",
    ),
    (MessageDied("r", "crashed"), {"receipt_id": "r", "reason": "crashed"}, "message r is dead: crashed"),
    (
        CancelFailed("r", OSError("gone")),
        {"receipt_id": "r"},
        "nobody knows whether message r was cancelled: OSError: gone; asking again does no harm",
    ),
    (
        ResultUnavailable("r", "there is none"),
        {"receipt_id": "r", "why": "there is none"},
        "message r has no result to wait for: there is none",
    ),
    (
        ResultTimeout("r", "queued", 2.5),
        {"receipt_id": "r", "state": "queued", "timeout_s": 2.5, "why": ""},
        "message r is queued, without a result after 2.5 s",
    ),
    (
        ResultTimeout("r", "acked", 2.5, "OSError: gone"),
        {"receipt_id": "r", "state": "acked", "timeout_s": 2.5, "why": "OSError: gone"},
        "message r is acked, without a result after 2.5 s; the result backend could not be asked: OSError: gone",
    ),
    (ReceiptNotFound("r"), {"receipt_id": "r"}, "no receipt r: never written, or expired"),
    (DeadLetterError("text"), {}, "text"),
    (EntryNotFound("1-1"), {"entry_id": "1-1"}, "no dead letter 1-1: replayed, purged or never there"),
]


def drawn() -> set[tuple[str, ...]]:
    """The tree in the docstring: the way from the root to each name. What other rooms draw there is theirs."""
    lines = [line for line in str(errors.__doc__).splitlines() if "Error" in line or "\u2500\u2500 " in line]
    way: list[str] = []
    ways = set()
    for line in lines:
        name = next(word for word in line.split() if word.isalpha())
        if name in errors.__all__:
            way[(line.index(name) - 4) // 4 :] = [name]
            ways.add(tuple(way))
    return ways


def real(root: type[BaseException] = HardeningError, way: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The tree as it is."""
    here = (*way, root.__name__)
    children = [one for one in root.__subclasses__() if one.__module__.startswith("hardening.core.")]
    return {here}.union(*(real(one, here) for one in children))


def test_the_tree_is_as_it_is_drawn() -> None:
    """A reader of the docstring need not read on."""
    assert drawn() == real()


def test_all_of_it_is_public() -> None:
    """And nothing else is."""
    members = inspect.getmembers(errors, inspect.isclass)
    defined = {name for name, one in members if one.__module__.startswith("hardening.core.")}
    assert set(errors.__all__) == defined == {way[-1] for way in real()} | {"HardeningWarning"}
    assert len(errors.__all__) == len(defined)


@pytest.mark.parametrize(("error", "attributes", "text"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_has_typed_attributes_and_says_what_they_mean(
    error: HardeningError, attributes: dict[str, object], text: str
) -> None:
    """Programs read the one, people the other."""
    assert vars(error) == attributes
    assert str(error) == text


@pytest.mark.parametrize(("error", "attributes", "text"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_survives_the_way_from_a_pool_process(
    error: HardeningError, attributes: dict[str, object], text: str
) -> None:
    """Celery pickles what a task raises; what cannot be read back would hide what was wrong."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), vars(copy), str(copy)) == (type(error), attributes, text)


def test_a_warning_is_the_users_to_filter() -> None:
    """It is no error of ours."""
    assert issubclass(HardeningWarning, UserWarning)
    assert not issubclass(HardeningWarning, HardeningError)
