"""Names of signals, and the patterns that match them: those of AMQP's topic exchanges.

A name is made of words with dots between, such as ``order.created``. In a pattern a word may be ``*``, which stands for
exactly one word, or ``#``, which stands for any number of words, also for none. So ``order.*`` matches
``order.created`` and neither ``order`` nor ``order.item.added``; ``order.#`` matches all three; ``#`` alone matches
everything. They may stand anywhere: ``*.created``, ``eu.#.failed``.
"""

from __future__ import annotations

__all__ = ["ANY_WORD", "ANY_WORDS", "name_words", "pattern_words"]

#: Stands for one word; for any number of words.
ANY_WORD, ANY_WORDS = "*", "#"
#: As AMQP has it, in characters.
_LONGEST = 255


def name_words(name: str) -> list[str]:
    """The words of a signal's name.

    Raises:
        TypeError: it is no text.
        ValueError: it is no name.
    """
    words = _words(name, "signal")
    if any(sign in name for sign in (ANY_WORD, ANY_WORDS)):
        raise ValueError(f"signal is {name!r}, expected a name without * or #: those are for subscriptions")
    return words


def pattern_words(pattern: str) -> list[str]:
    """The words of a pattern.

    Raises:
        TypeError: it is no text.
        ValueError: it is no pattern.
    """
    words = _words(pattern, "pattern")
    for word in words:
        if len(word) > 1 and (ANY_WORD in word or ANY_WORDS in word):
            raise ValueError(f"pattern is {pattern!r}, expected * or # as whole words, as in 'order.*'")
    return words


def _words(text: str, what: str) -> list[str]:
    if not isinstance(text, str):
        raise TypeError(f"{what} is {text!r}, expected text such as 'order.created'")
    words = text.split(".")
    is_fit = len(text) <= _LONGEST and text.isprintable() and " " not in text
    if not is_fit or not all(words):
        raise ValueError(
            f"{what} is {text[:300]!r}, expected words with dots between, without blanks, at most {_LONGEST} characters"
        )
    return words
