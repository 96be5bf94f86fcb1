"""Scripts: each keeps the form of the house, and its wrapper gives it what its header asks for."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import (
    Once,
    Script,
    Taken,
    TakenMessage,
    cancelling,
)
from hardening.core.scripts.calls import Buried, Recovery
from tests.unit.script_calls import CALLS, KEYS, NAMES, SCOPE, UNSIGNED

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

ROOM = resources.files("hardening.core.scripts")

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


def test_the_lists_of_a_queue_are_passed_after_the_fixed_keys() -> None:
    """To search them."""
    call = cancelling.cancel(SCOPE, "r", ["a", "b"], "asker", patience_ms=7, place=cancelling.Place(1, 5), limit=9)
    assert (call.keys, call.args[3:]) == ((*CALLS["cancel"].keys, "a", "b"), ("asker", 7, 1, 5, 9))


def test_the_reply_of_a_cancel_is_read() -> None:
    """With the raw bytes only the first time; a search goes on a little before where it stopped."""
    asked = cancelling.Asked
    assert asked.parse([b"cancelled", b"queue", b"a", b"raw"]) == asked("cancelled", "queue", "a", b"raw")
    assert asked.parse([b"cancelled", b"queue", b"a"]) == asked("cancelled", "queue", "a")
    assert asked.parse([b"searching", 1, 5000]) == asked("searching", go_on=cancelling.Place(1, 4900))
    assert asked.parse([b"searching", 1, 50]) == asked("searching", go_on=cancelling.Place(1, 0))
    assert asked.parse([b"acked"]) == asked("acked")


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
    assert set(CALLS) - set(signed) == UNSIGNED


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
