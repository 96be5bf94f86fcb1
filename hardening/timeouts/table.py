"""The one table of timeouts: what was declared, what was set since, and what follows for a name."""

from __future__ import annotations

import math
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardening.core.errors import ConfigError
from hardening.core.timeout_rules import CLASSES, faults_in, flattened, name_fault, value_fault
from hardening.timeouts.resolution import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardening.core.settings import Settings
    from hardening.core.timeout_rules import Value
    from hardening.timeouts.resolution import Resolved

__all__ = ["FOR_ALL", "Table", "read_file", "shown", "stored", "valid"]

#: The layers, as they are shown.
BUILT_IN, FILE, SETTINGS, FOR_ALL, HERE = "built in", "file", "settings", "set for all", "set here"
_SECTION = "timeouts"


class Table:
    """The timeouts of one app, in this process. Any thread may call anything; asking takes no lock.

    Args:
        settings: of the app.

    Attributes:
        rules: what is in force now.
        for_all: what was set for all processes, as last read.

    Raises:
        ConfigError: with every fault in the file of timeouts.
    """

    def __init__(self, settings: Settings) -> None:
        self.factor = settings.timeout_factor
        self._declared: list[tuple[str, Mapping[str, Value]]] = [
            (BUILT_IN, CLASSES), (FILE, read_file(settings.timeouts_file)), (SETTINGS, settings.timeouts)
        ]  # fmt: skip
        self.for_all: dict[str, Value] = {}
        self._here: dict[str, Value] = {}
        self._mutex = threading.Lock()
        self.rules = self._made()

    def seconds(self, name: str) -> float:
        """How long something may take, in seconds."""
        rules = self.rules
        try:
            return rules.known[name]
        except KeyError:
            return rules.seconds(name)

    def resolve(self, name: str) -> Resolved:
        """The same, and where it comes from."""
        return self.rules.resolve(name)

    def set_here(self, rule: str, value: Value | None) -> bool:
        """Sets a rule in this process, over all else; None: unsets it. Returns whether it was set before.

        Raises:
            ValueError: the rule, or its value, makes no sense.
        """
        checked = None if value is None else valid(rule, value)
        with self._mutex:
            was_set = rule in self._here
            here = {name: one for name, one in self._here.items() if name != rule}
            self._here = here if checked is None else {**here, rule: checked}
            self.rules = self._made()
            return was_set

    def set_for_all(self, rules: Mapping[str, Value]) -> bool:
        """Takes up what is set for all processes; returns whether that is something else than before."""
        with self._mutex:
            if rules == self.for_all:
                return False
            self.for_all = dict(rules)
            self.rules = self._made()
            return True

    def _made(self) -> Rules:
        return Rules([*self._declared, (FOR_ALL, self.for_all), (HERE, self._here)], self.factor)

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held it."""
        self._mutex = threading.Lock()


def read_file(path: str) -> dict[str, Value]:
    """The rules in a TOML file, in its table ``[timeouts]``; with an empty path, none.

    Raises:
        ConfigError: with every fault in it.
    """
    if not path:
        return {}
    try:
        found: Any = tomllib.loads(Path(path).expanduser().read_text("utf-8"))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"hardening_timeouts_file {path!r} cannot be read: {error}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"hardening_timeouts_file {path!r} is no TOML: {error}") from error
    section = found.get(_SECTION)
    if not isinstance(section, dict):
        raise ConfigError(f"hardening_timeouts_file {path!r} has no table [{_SECTION}]")
    rules = flattened(section)
    if faults := faults_in(rules):
        raise ConfigError([f"hardening_timeouts_file {path!r}: {fault}" for fault in faults])
    return rules


def valid(rule: str, value: Value) -> Value:
    """A rule's value, checked.

    Raises:
        ValueError: it, or the rule's name, makes no sense.
    """
    if fault := name_fault(rule) or value_fault(rule, value):
        raise ValueError(fault)
    return value if isinstance(value, str) else float(value)


def stored(value: str) -> Value:
    """A value as it stands in Redis or on a command line: a number, or a name to be checked."""
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value


def shown(value: Value) -> str:
    """A value as it is stored, and shown."""
    return value if isinstance(value, str) else f"{value:.15g}"
