"""Secrets are not shown: values under certain keys are masked in whatever people or programs get to see.

A key is secret when one of the names is a word of it, in any case: ``card`` masks ``card``, ``card_number``,
``X-Card`` and ``cardNumber``, but not ``cardinal``. Texts are searched for ``key=value``, ``key: value`` and both in
quotes, which is what tracebacks and reprs look like.

Does not guarantee: that a secret under another key, or passed by position, is found.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MASK", "SECRET_NAMES", "TOO_DEEP", "Redactor"]

#: What is secret unless the setting ``redact`` says otherwise.
SECRET_NAMES = ("password", "token", "secret", "authorization", "api_key", "card")
#: Stands where a secret was.
MASK = "***"
#: Stands where nobody looks through.
TOO_DEEP = "(nested too deeply to be shown)"
#: Levels that are looked through; what is deeper could not be written as JSON in every terminal's stack.
_DEEPEST = 200

#: A key and what is between it and its value. Bounded and anchored, so that no text makes it slow.
_KEY = re.compile(r"(?<![\w.\-])([\w.\-]{1,64})(\\{0,3}[\"']?)[ \t]{0,4}[=:][ \t]{0,4}(?!:)")
_VALUE = re.compile(
    r"""(?:(?:bearer|basic|token|digest)[ ]+)?            # as in an Authorization header
        (?:b?"(?:[^"\\]|\\.)*"?                          # in quotes, closed or not
          |b?'(?:[^'\\]|\\.)*'?
          |\\{1,3}"[^"]*"?                                # in escaped quotes: JSON in a text
          |\\{1,3}'[^']*'?
          |(?:bearer|basic|token|digest)[ ]+[^\s,;&)}\]"']+
          |[^\s,;&)}\]]+)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=1024)
def _words(name: str) -> str:
    """A name as words with an underscore around each: ``_api_key_``."""
    return f"_{_NO_WORD.sub('_', _CAMEL.sub('_', name).lower()).strip('_')}_"


class Redactor:
    """Masks secrets.

    Args:
        names: what is secret; none: nothing is masked.
    """

    def __init__(self, names: Iterable[str] = SECRET_NAMES) -> None:
        self._names = tuple(word for name in names if (word := _words(name)) != "__")
        self._secret = re.compile("|".join(map(re.escape, self._names)))

    def is_secret(self, key: object) -> bool:
        """Whether what stands under a key is masked."""
        return self.masks and bool(self._secret.search(_words(str(key)[:200])))

    @property
    def masks(self) -> bool:
        """Whether anything is secret at all."""
        return bool(self._names)

    def value(self, value: Any) -> Any:
        """A copy of a JSON value with secrets masked; what is nested too deeply to be looked through is replaced."""
        try:
            return self._masked(value, _DEEPEST)
        except RecursionError:
            return TOO_DEEP

    def _masked(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if not depth:
            raise RecursionError
        if isinstance(value, dict):
            return {
                key: MASK if self.is_secret(key) else self._masked(inside, depth - 1) for key, inside in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._masked(inside, depth - 1) for inside in value]
        return value

    def text(self, text: str) -> str:
        """A text with the values of secret keys masked."""
        parts, at = [], 0
        while self._names and (key := _KEY.search(text, at)):
            parts.append(text[at : key.end()])
            at = key.end()
            if self.is_secret(key[1]) and (value := _VALUE.match(text, at)):
                parts.append(MASK)
                at = value.end()
        return "".join([*parts, text[at:]])
