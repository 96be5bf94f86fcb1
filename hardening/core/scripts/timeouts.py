"""Timeouts that are set for all processes, one typed function for each script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from hardening.core.keys import Keys

__all__ = ["SetForAll", "change_timeout", "read_timeouts"]

#: The most rules that are read; more than that nobody meant to set by hand.
_MOST = 1000


def change_timeout(keys: Keys, rule: str, value: str) -> Call:
    """Sets a rule, or unsets it with an empty value. Reply: the value it had, or empty."""
    return Call(_CHANGE, (keys.timeouts, keys.timeout_changes), (rule, value))


def read_timeouts(keys: Keys) -> Call:
    """Reads them all. Reply: see :meth:`SetForAll.parse`."""
    return Call(_READ, (keys.timeouts, keys.timeout_changes), (_MOST,))


class SetForAll(NamedTuple):
    """What is set for all processes.

    Attributes:
        now_ms: the time at Redis.
        last: id of the last change.
        rules: values by rule, as they stand there: not trusted.
    """

    now_ms: int
    last: str
    rules: dict[str, str]

    @staticmethod
    def parse(reply: list[Any]) -> SetForAll:
        """Reads the reply of a read."""
        now_ms, last, *pairs = reply
        texts = [part.decode("utf-8", "replace") for part in pairs]
        return SetForAll(now_ms, last.decode(), dict(zip(texts[::2], texts[1::2], strict=True)))


_CHANGE = Script.load("change_timeout")
_READ = Script.load("read_timeouts")
