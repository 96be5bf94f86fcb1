"""When a dead letter is retried by itself, and when it is left to people."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dlq.reason import Reason
from hardening.core.agent_message import AGENT_TASK
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dlq.entry import Entry
    from hardening.core.retry_rules import RetryRule

__all__ = ["NEVER_HEALS", "RetryPolicy", "breadth", "check_reasons"]

#: What waiting does not mend, and why; retried only where the reason is named in ``hardening_dlq_retry``.
#: ``unknown_task`` is not among them: during a deployment the next worker may well know the task.
NEVER_HEALS: dict[str, str] = {
    Reason.CRASHED: "it has killed its process several times, and would kill others",
    Reason.UNDECODABLE: "its bytes stay the same",
    Reason.EXPIRED: "its sender said that later is too late",
    Reason.MAILBOX_FULL: "its mailbox was to drop it; by now it would come out of order, and past the bound",
    Reason.SCHEDULE_FAILED: "its schedule goes on, and whether a late slot is still wanted is for people to say",
    Reason.REJECTED: "its task looked at it and decided",
}
_DEFAULTS = {"base_s": 30.0, "factor": 2.0, "cap_s": 3600.0, "attempts": 5.0}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, up to a number of attempts; then a letter is parked.

    The jitter is that of Marc Brooker, "Exponential Backoff and Jitter", AWS 2015: what failed together does not
    come back together.

    Attributes:
        rules: as in the setting ``dlq_retry``.
    """

    rules: Mapping[str, RetryRule]

    def __post_init__(self) -> None:
        check_reasons("dlq_retry", self.rules)

    def longest_wait_s(self, entry: Entry) -> float | None:
        """How long its next retry may wait, in seconds; None: it is parked."""
        if entry.is_once or (entry.reason in NEVER_HEALS and f"reason:{entry.reason}" not in self.rules):
            return None
        if entry.task == AGENT_TASK and not {f"queue:{entry.queue}", f"task:{AGENT_TASK}"} & self.rules.keys():
            return None  # an agent's messages have an order, and whoever asked was told that it failed
        rule = dict(_DEFAULTS)
        for given in self._rules_for(entry):
            rule.update(given.model_dump(exclude_none=True))
        if entry.attempts >= rule["attempts"]:
            return None
        return float(min(rule["cap_s"], rule["base_s"] * rule["factor"] ** entry.attempts))

    def _rules_for(self, entry: Entry) -> Iterator[RetryRule]:
        """The rules that concern an entry, the most special last."""
        for name in ("default", f"reason:{entry.reason}", f"queue:{entry.queue}"):
            if name in self.rules:
                yield self.rules[name]
        patterns = [name for name in self.rules if name.startswith("task:")]
        for name in sorted(patterns, key=breadth, reverse=True):
            if fnmatchcase(entry.task, name.removeprefix("task:")):
                yield self.rules[name]


def check_reasons(setting: str, rules: Iterable[str]) -> None:
    """Looks whether the reasons that rules are for exist.

    Raises:
        ConfigError: one does not.
    """
    for name in rules:
        kind, _, reason = name.partition(":")
        if kind == "reason" and reason not in set(Reason):
            near = difflib.get_close_matches(reason, list(Reason), n=1)
            hint = f"did you mean 'reason:{near[0]}'?" if near else f"known are: {', '.join(sorted(Reason))}"
            raise ConfigError(f"hardening_{setting} has an unknown reason {reason!r}, {hint}")


def breadth(rule: str) -> tuple[bool, int]:
    """How much a rule for tasks is for, for sorting: a name less than any pattern, a long pattern less than a short."""
    return any(wild in rule for wild in "*?["), -len(rule)
