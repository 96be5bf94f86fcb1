"""lib/message.lua and hardening.core.raw read the same bytes the same way."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hardening.core import raw as raw_message
from hardening.core.keys import PRIORITY_SEPARATOR, queue_of

if TYPE_CHECKING:
    from redis import Redis

LIBRARY = resources.files("hardening.core.scripts").joinpath("lib/message.lua").read_text("utf-8")
READ = f"{LIBRARY} return {{is_marked(ARGV[1]) and 1 or 0, message_id(ARGV[1]), receipt_id(ARGV[1]) or 'none'}}"
SPLIT = f"{LIBRARY} local list, raw = split(join(ARGV[1], ARGV[2])) return {{list, raw, queue_of(ARGV[1])}}"
MARK = b'{"hardening": "'

agreeing = settings(
    max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RAWS = st.binary() | st.binary(max_size=120).map(lambda rest: MARK + rest) | st.just(MARK + b"-" * 72)


def ask(client: Redis, script: str, *arguments: bytes) -> list[Any]:
    """What Lua makes of it."""
    return list(client.execute_command("EVAL", script, 0, *arguments))  # type: ignore[no-untyped-call]


def text(read: bytes) -> str:
    """As Python reads ids: for show, what is not ASCII is replaced."""
    return read.decode("ascii", "replace")


@agreeing
@given(RAWS)
@example(MARK + b"m" * 36 + raw_message.NO_RECEIPT.encode() + b'", "body": 1}')
@example(MARK + b"m" * 36 + b"r" * 36 + b'", "body": 1}')
@example(MARK)
@example(MARK + b"m" * 40)
@example(b"")
@example(b"\x00\xff")
def test_lua_and_python_read_the_same_ids(client: Redis, raw: bytes) -> None:
    """Of whatever bytes."""
    is_marked, message, receipt = ask(client, READ, raw)
    assert bool(is_marked) == raw_message.is_marked(raw)
    assert text(message) == raw_message.message_id(raw)
    expected = raw_message.receipt_id(raw)
    assert text(receipt) == ("none" if expected is None else expected)


@agreeing
@given(st.binary(), st.binary())
@example(b"3:abc", b"4:x")
@example(b"", b"")
@example(b"a:b\x06\x163", b":")
def test_an_entry_gives_back_what_was_put_into_it(client: Redis, list_key: bytes, raw: bytes) -> None:
    """Whatever the list is called and the message begins with."""
    assert ask(client, SPLIT, list_key, raw)[:2] == [list_key, raw]


@agreeing
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x06\x16")), st.sampled_from([0, 3, 6, 9]))
def test_lua_and_python_find_the_same_queue(client: Redis, queue: str, step: int) -> None:
    """From each of its lists."""
    list_key = f"{queue}{PRIORITY_SEPARATOR}{step}" if step else queue
    assert ask(client, SPLIT, list_key.encode(), b"")[2].decode() == queue_of(list_key) == queue
