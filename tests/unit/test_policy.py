"""Who is retried, and when at the latest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dlq import Entry, Reason
from dlq.policy import NEVER_HEALS, RetryPolicy
from hardening.core.errors import ConfigError
from hardening.core.settings import Settings


def longest_s(
    rules: dict[str, Any] | None = None, *, attempts: int = 0, once: bool = False, **fields: str
) -> float | None:
    """How long an entry waits at most."""
    stored = {"reason": "failed", "task": "shop.charge", "list": "q", "once": str(int(once)), **fields}
    raw = json.dumps({"headers": {"hardening_attempts": attempts}}).encode()
    entry = Entry.of(b"1-1", {b"raw": raw, **{name.encode(): value.encode() for name, value in stored.items()}})
    settings = Settings.load({"hardening_dlq_retry": rules or {}}, {})
    return RetryPolicy(settings.dlq_retry).longest_wait_s(entry)


def test_waits_double_up_to_an_hour_and_end_after_five() -> None:
    """The defaults."""
    assert [longest_s(attempts=attempts) for attempts in range(7)] == [30, 60, 120, 240, 480, None, None]
    assert longest_s({"default": {"attempts": 100}}, attempts=50) == 3600


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_decided_about(reason: Reason) -> None:
    """Those that waiting does not mend wait for people, unless they are named."""
    assert (longest_s(reason=reason) is None) == (reason in NEVER_HEALS)
    assert longest_s({f"reason:{reason}": {}}, reason=reason) == 30
    assert longest_s({f"reason:{reason}": {"attempts": 0}}, reason=reason) is None


def test_a_reason_is_not_named_by_a_task() -> None:
    """A poisonous message of a task that is worth retrying is still poison."""
    assert longest_s({"task:shop.charge": {"attempts": 9}, "queue:q": {}}, reason="crashed") is None


def test_what_an_agent_was_told_is_retried_only_where_that_is_asked_for_by_name() -> None:
    """It would come out of order, and who asked was told."""
    told: dict[str, Any] = {"task": "hardening.agent", "list": "agent.bank"}
    assert longest_s({"default": {"attempts": 9}, "reason:failed": {}, "task:*": {}}, **told) is None
    assert longest_s({"queue:agent.bank": {}}, **told) == 30
    assert longest_s({"task:hardening.agent": {}}, **told) == 30


def test_a_reason_that_this_version_does_not_know_is_retried() -> None:
    """A newer one may have buried it."""
    assert longest_s(reason="brand_new") == 30


def test_the_most_special_rule_wins_field_by_field() -> None:
    """Default, reason, queue, task; of tasks the longer pattern; what a rule leaves out stays."""
    rules: dict[str, Any] = {
        "task:shop.charge": {"base_s": 5}, "task:shop.*": {"base_s": 4, "factor": 10}, "queue:q": {"base_s": 3},
        "reason:failed": {"base_s": 2, "cap_s": 40}, "default": {"base_s": 1, "attempts": 3},
    }  # fmt: skip
    assert [longest_s(rules, attempts=attempts) for attempts in range(4)] == [5, 40, 40, None]
    assert longest_s(rules, task="shop.refund") == 4
    assert longest_s(rules, task="mail") == 3
    assert longest_s(rules, task="mail", list="other") == 2
    assert longest_s(rules, task="mail", list="other", reason="timeout") == 1


def test_what_runs_at_most_once_waits_for_people() -> None:
    """Whatever the rules say."""
    assert longest_s({"task:shop.charge": {"attempts": 9}, "reason:failed": {}}, once=True) is None


def test_an_unknown_reason_in_a_rule_is_told_with_the_near_one() -> None:
    """Or with all of them."""
    with pytest.raises(ConfigError, match="unknown reason 'chrashed', did you mean 'reason:crashed'"):
        longest_s({"reason:chrashed": {}})
    with pytest.raises(ConfigError, match="unknown reason 'zzz', known are: crashed, expired"):
        longest_s({"reason:zzz": {}})


def test_a_name_is_more_special_than_any_pattern() -> None:
    """In whatever order they are given, and however long the pattern is."""
    rules = {"task:shop.charge": {"base_s": 7}, "task:shop.[c]harge": {"base_s": 9}, "task:shop.charg?": {"base_s": 8}}
    assert longest_s(rules) == 7
    del rules["task:shop.charge"]
    assert longest_s(rules) == 9
