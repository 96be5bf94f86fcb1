"""Scripts: each keeps the form of the house, and its wrapper gives it what its header asks for."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from hardening.core.keys import Keys
from hardening.core.scripts import Call, Death, Once, Scope, Script, Taken, TakenMessage, beating, calls, keeping
from hardening.core.scripts.beating import Letter, Slot
from hardening.core.scripts.calls import Buried, Recovery

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

ROOM = resources.files("hardening.core.scripts")
KEYS = Keys("p")
SCOPE = Scope(KEYS, 60_000, "worker")
SLOT = Slot("1 b", "e", "1", "1", 1, 2)

#: One call of every script, with as little of what may be repeated as it can be called with.
CALLS: dict[str, Call] = {
    "ack": SCOPE.ack("c", []),
    "ack_late": SCOPE.ack_late("list", b"raw"),
    "bury_slot": beating.bury_slot(SCOPE, SLOT, Letter("list", b"raw", "", ""), history_most=1),
    "bury": SCOPE.bury("c", 1, Death("reason")),
    "claim": keeping.claim(KEYS, 1, 1),
    "count_repeat": calls.count_repeat(KEYS),
    "crash": SCOPE.crash("c", 1, max_crashes=3, base_delay_ms=1, death=Death("reason")),
    "declare": beating.declare(KEYS, "add", "e", origin="runtime", definition="", times="", slot_ms=1),
    "detach": SCOPE.detach(1),
    "discard": calls.discard(KEYS, []),
    "flush": SCOPE.flush("s", "list", "q", b"raw", receipt={}),
    "groups": calls.groups(KEYS),
    "hold": beating.hold(KEYS, "e", paused=True),
    "keep": keeping.keep(KEYS, "k", 1),
    "lead": beating.lead(KEYS, "b", lease_ms=1, limit=1),
    "leave": calls.leave(KEYS, "c"),
    "pass_slots": beating.pass_slots(KEYS, SLOT, history_most=1),
    "plan": keeping.plan(KEYS, "", "1-1", []),
    "postpone_slot": beating.postpone_slot(KEYS, SLOT, delay_ms=1, error=""),
    "publish": SCOPE.publish("list", "q", b"raw"),
    "publish_many": SCOPE.publish_many("list", "q", [], due_ms=0, task="t", guarantee="g"),
    "purge": SCOPE.purge("list", 1),
    "readmit": keeping.readmit(KEYS, list_key=b"list", reason=b"r", fingerprint=b"", raw=b"", fields={}),
    "recover": SCOPE.recover("c", max_crashes=3, base_delay_ms=1, limit=1),
    "release": SCOPE.release("c", []),
    "renew": calls.renew(KEYS, "c", 1, join=True, about=""),
    "replay": SCOPE.replay([]),
    "resign": beating.resign(KEYS, "1 b", "b"),
    "run_now": beating.run_now(SCOPE, "e", "list", "q", b"raw", due_ms=0, history_most=1, receipt={}),
    "restore_stock": calls.restore_stock(KEYS, b"tag", "list", b"raw"),
    "send_slot": beating.send_slot(
        SCOPE, SLOT, "list", "q", b"raw", due_ms=0, history_most=1, overlap="allow", wait_ms=1, receipt={}
    ),
    "take": SCOPE.take("c", [], 1),
    "watch": calls.watch(KEYS, "r", 1),
    "trim": keeping.trim(KEYS, most=1, max_age_ms=1, limit=1),
    "undeclare": beating.undeclare(KEYS, "e"),
    "verify": calls.verify(KEYS, limit=1, steps=(0,), unacked="unacked"),
}
#: What the names in headers stand for.
NAMES = {
    "beat_bell": KEYS.beat_bell, "beat_due": KEYS.beat_due, "beat_entry": KEYS.beat_entry("e"),
    "beat_fence": KEYS.beat_fence, "beat_history": KEYS.beat_history("e"), "beat_leader": KEYS.beat_leader,
    "beat_names": KEYS.beat_names, "beat_ticks": KEYS.beat_ticks, "beat_vacancy": KEYS.beat_vacancy,
    "changes": KEYS.changes("r"), "counters": KEYS.counters, "crashes": KEYS.crashes, "dead": KEYS.dead,
    "delivery": KEYS.delivery("r"), "dlq": KEYS.dlq, "flushing": KEYS.flushing("s"),
    "dlq_groups": KEYS.dlq_groups, "dlq_planned": KEYS.dlq_planned, "dlq_queues": KEYS.dlq_queues,
    "dlq_retry": KEYS.dlq_retry, "dlq_turn": KEYS.dlq_turn,
    "inflight": KEYS.inflight("c"), "leases": KEYS.leases, "list": "list", "members": KEYS.members,
    "queues": KEYS.queues, "scheduled": KEYS.scheduled, "scheduled_messages": KEYS.scheduled_messages,
    "seq": KEYS.seq, "started": KEYS.started("c"), "unacked": "unacked", "unacked_index": "unacked_index",
}  # fmt: skip
BUILT_IN = {"if", "for", "while", "and", "or", "not", "return", "function", "in", "elseif", "until"} | {
    "ipairs", "pairs", "select", "tonumber", "tostring", "type", "unpack",
}  # fmt: skip


def files(folder: Traversable) -> dict[str, str]:
    """The Lua files of a folder, by name."""
    found = (path for path in folder.iterdir() if path.name.endswith(".lua"))
    return {path.name.removesuffix(".lua"): path.read_text("utf-8") for path in found}


SCRIPTS = files(ROOM)
PIECES = files(ROOM / "lib")


def header(text: str) -> dict[str, str]:
    """The words at the head of a script: uses, KEYS, ARGV, returns, each with what it says."""
    head = text[: re.search(r"^[^-]", text, re.MULTILINE).start()]  # type: ignore[union-attr]
    words = re.findall(r"^-- (uses|KEYS|ARGV|returns): (.+)$", head, re.MULTILINE)
    return dict(words)


def fixed(listed: str) -> list[str]:
    """What of a comma-separated header is there in every call."""
    parts = re.sub(r"\([^)]*\)", "", listed).split(",")
    names = [part.strip() for part in parts]
    ends = [at for at, name in enumerate(names) if "..." in name or name.startswith("then ")]
    return names[: ends[0]] if ends else names


def test_every_script_has_a_wrapper_and_every_wrapper_a_script() -> None:
    """And this table has them all."""
    assert sorted(SCRIPTS) == sorted(CALLS)
    assert {name: call.script.name for name, call in CALLS.items()} == {name: name for name in SCRIPTS}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_states_its_contract(name: str) -> None:
    """What it stands on, what it takes, what it returns; and first of all, what it is for."""
    lines = SCRIPTS[name].splitlines()
    assert list(header(SCRIPTS[name])) in (["uses", "KEYS", "ARGV", "returns"], ["KEYS", "ARGV", "returns"])
    assert re.match(r"-- [A-Z]", lines[1] if lines[0].startswith("-- uses: ") else lines[0])


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_wrapper_passes_the_keys_that_the_header_names(name: str) -> None:
    """These and no others, in this order."""
    named = fixed(header(SCRIPTS[name])["KEYS"])
    assert list(CALLS[name].keys) == [NAMES[key] for key in named]
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", SCRIPTS[name])}
    assert used <= set(range(1, len(named) + 1))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_wrapper_passes_as_many_arguments_as_the_header_names(name: str) -> None:
    """And the script looks at each of them."""
    named = fixed(header(SCRIPTS[name])["ARGV"])
    assert len(CALLS[name].args) == len(named)
    code = re.sub(r"^--.*$", "", SCRIPTS[name], flags=re.MULTILINE)
    used = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", code)}
    assert used <= set(range(1, len(named) + 1))


def test_an_idempotency_key_is_passed_after_the_fixed_keys() -> None:
    """By those who publish, with its window; where there is none, neither is."""
    once = Once("d", 7)
    published = SCOPE.publish("list", "q", b"raw", receipt={"task": "t"}, once=once)
    assert published.keys == (*CALLS["publish"].keys, KEYS.idempotency("d"))
    assert published.args[3:] == ("q", 0, b"raw", 7, "task", "t")
    flushed = SCOPE.flush("s", "list", "q", b"raw", receipt={"task": "t"}, once=once)
    assert (flushed.keys, flushed.args) == ((*CALLS["flush"].keys, KEYS.idempotency("d")), published.args)


def test_lists_are_passed_after_the_fixed_keys() -> None:
    """The only script with as many keys as its caller likes."""
    assert SCOPE.take("c", ["a", "b"], 1).keys == (*CALLS["take"].keys, "a", "b")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_short(name: str) -> None:
    """Forty lines, without its header."""
    assert len([line for line in SCRIPTS[name].splitlines() if not line.startswith("--")]) <= 40


@pytest.mark.parametrize("text", [*SCRIPTS.values(), *PIECES.values()], ids=[*SCRIPTS, *PIECES])
def test_lines_fit_the_page(text: str) -> None:
    """As in Python; no tabs, no blanks at the end."""
    assert [line for line in text.splitlines() if len(line) > 120 or "\t" in line or line != line.rstrip()] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_stands_on_pieces_that_exist(name: str) -> None:
    """They come before it, in the order it names them."""
    pieces = header(SCRIPTS[name]).get("uses", "").split()
    assert Script.load(name).source == "\n".join([*(PIECES[piece] for piece in pieces), SCRIPTS[name]])


def test_every_piece_is_used() -> None:
    """What nobody stands on goes."""
    assert {piece for text in SCRIPTS.values() for piece in header(text).get("uses", "").split()} == set(PIECES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_whatever_a_script_calls_is_defined_before_it(name: str) -> None:
    """Redis finds out only when it comes to the line."""
    defined = set(BUILT_IN)
    for line in Script.load(name).source.splitlines():
        code = re.sub(r"--.*$|'[^']*'", "", line)
        defined |= set(re.findall(r"local function (\w+)", code))
        assert set(re.findall(r"(?<![\w.:])(\w+)\s*\(", code)) <= defined, line


@pytest.mark.parametrize("text", [*SCRIPTS.values(), *PIECES.values()], ids=[*SCRIPTS, *PIECES])
def test_the_only_clock_is_that_of_redis(text: str) -> None:
    """And no script searches the keyspace, or lets an error pass."""
    assert re.findall(r"os\.time|'KEYS'|'SCAN'|'FLUSH\w*'|pcall", text) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_known_by_the_sha_of_its_source(name: str) -> None:
    """The short command names it, the full one sends it."""
    call = CALLS[name]
    sha = hashlib.sha1(call.script.source.encode(), usedforsecurity=False).hexdigest()
    rest = (len(call.keys), *call.keys, *call.args)
    assert call.command == ("EVALSHA", sha, *rest)
    assert call.full_command == ("EVAL", call.script.source, *rest)


def test_a_call_is_signed_by_its_scope() -> None:
    """Whatever touches messages says whose prefix, how long receipts are kept, and who does it."""
    signed = {name: call for name, call in CALLS.items() if "worker" in header(SCRIPTS[name])["ARGV"]}
    assert {call.args[:3] for call in signed.values()} == {("p", 60_000, "worker")}
    unsigned = "claim count_repeat declare discard groups hold keep lead leave pass_slots plan postpone_slot readmit"
    unsigned += " recover renew resign restore_stock trim undeclare verify watch"
    assert sorted(set(CALLS) - set(signed)) == unsigned.split()


def test_the_reply_of_a_take_is_read() -> None:
    """By index of the list, as Lua counts."""
    reply = [1000, 2000, 2, 7, 0, b"raw7", 1, 8, 3, b"raw8"]
    messages = [TakenMessage("b", 7, 0, b"raw7"), TakenMessage("a", 8, 3, b"raw8")]
    assert Taken.parse(reply, ["a", "b"]) == Taken(1000, 2000, messages)
    assert Taken.parse([1000, 0], ["a"]) == Taken(1000, 0, [])
    assert Taken.parse([-1], ["a"]) == Taken(0, 0, [], reaped=True)


def test_the_reply_of_a_recover_is_read() -> None:
    """With the raw bytes of what was buried, where they came from and where they are."""
    buried = Buried("1-0", "q", b"x")
    assert Recovery.parse([b"c", 5, 2, 1, 1, [b"1-0", b"q", b"x"]]) == Recovery("c", 5, 2, [buried], more=True)
    assert Recovery.parse([b"", 0, 0, 0, 0]) == Recovery("", 0, 0, [], more=False)
