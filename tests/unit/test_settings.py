"""Settings: where they come from, what they may be, and how wrong ones are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery
from pydantic import ValidationError

from hardening.core.errors import ConfigError
from hardening.core.keys import Keys
from hardening.core.settings import Settings
from hardening.overrides import is_set

DEFAULTS: dict[str, Any] = {
    "prefix": "hardening",
    "lease_ttl_s": 10.0,
    "poll_interval_s": 1.0,
    "max_crashes": 3,
    "crash_delay_s": 2.0,
    "receipt_ttl_s": 86_400.0,
    "idempotency_window_s": 86_400.0,
    "soft_time_limit_s": 300.0,
    "time_limit_s": 360.0,
    "socket_timeout_s": 5.0,
    "publish_retries": 3,
    "publish_breaker_failures": 5,
    "spool_path": "",
    "spool_max_messages": 100_000,
    "spool_max_bytes": 268_435_456,
    "breakers": {},
    "monitor_stack_depth": 8,
    "max_take": 500,
    "timeouts": {},
    "timeouts_file": "",
    "timeout_factor": 1.0,
    "unbounded_get": "enforce",
    "beat_lease_s": 4.0,
    "beat_grace_s": 30.0,
    "beat_attempts": 5,
    "beat_retry_s": 1.0,
    "beat_history": 20,
    "beat_files": (),
    "dlq_retry": {},
    "dlq_max_age_s": 1_209_600.0,
    "dlq_max_entries": 100_000,
    "dlq_retention": {},
    "dlq_archive": "",
    "redact": ("password", "token", "secret", "authorization", "api_key", "card"),
}
YEAR_S = 31_536_000


def load(conf: Any = None, environ: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """The settings as a mapping; nothing of this process's environment."""
    return Settings.load(conf or {}, environ or {}, **options).model_dump()


def faults(conf: dict[str, Any], environ: dict[str, str] | None = None, **options: Any) -> list[str]:
    """What is wrong, one sentence each."""
    with pytest.raises(ConfigError) as raised:
        Settings.load(conf, environ or {}, **options)
    return list(raised.value.faults)


def test_defaults_are_as_documented() -> None:
    """A new setting, or a new default, is a change of this table."""
    assert load() == DEFAULTS


def test_an_app_sets_by_its_configuration() -> None:
    """Under ``hardening_``; the rest of the configuration is not ours."""
    conf = {"hardening_prefix": "shop", "hardening_max_crashes": 5, "task_acks_late": True, "hardening": "x", 7: "y"}
    assert load(conf) == DEFAULTS | {"prefix": "shop", "max_crashes": 5}


def test_an_operator_sets_by_the_environment() -> None:
    """As text, under ``HARDENING_``."""
    environ = {"HARDENING_PREFIX": "shop", "HARDENING_LEASE_TTL_S": "2.5", "HARDENING_MAX_TAKE": "7", "HOME": "/root"}
    assert load({}, environ) == DEFAULTS | {"prefix": "shop", "lease_ttl_s": 2.5, "max_take": 7}


def test_the_environment_wins() -> None:
    """An operator's word over a developer's."""
    conf = {"hardening_prefix": "developer", "hardening_max_take": 5}
    assert load(conf, {"HARDENING_PREFIX": "operator"}) == DEFAULTS | {"prefix": "operator", "max_take": 5}


def test_the_environment_is_the_processs_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only then: what is given stands for all of it."""
    monkeypatch.setenv("HARDENING_PREFIX", "operator")
    assert Settings.load({}).prefix == "operator"
    assert Settings.load({}, {}).prefix == "hardening"
    assert Settings().prefix == "hardening"


def test_a_name_for_another_part_of_the_library_is_not_a_setting() -> None:
    """It says which server a private Redis is to run."""
    assert load({}, {"HARDENING_REDIS_SERVER": "/usr/bin/redis-server"}) == DEFAULTS


@pytest.mark.parametrize(
    ("conf", "environ", "told"),
    [
        ({"hardening_lease_ttl": 5}, {}, "unknown setting hardening_lease_ttl, did you mean hardening_lease_ttl_s?"),
        ({"HARDENING_PREFX": "x"}, {}, "unknown setting HARDENING_PREFX, did you mean HARDENING_PREFIX?"),
        ({}, {"HARDENING_MAX_CRASH": "3"}, "unknown setting HARDENING_MAX_CRASH, did you mean HARDENING_MAX_CRASHES?"),
        ({"hardening_zzz": 1}, {}, f"unknown setting hardening_zzz, known are: {', '.join(sorted(DEFAULTS))}"),
        ({"hardening_": 1}, {}, f"unknown setting hardening_, known are: {', '.join(sorted(DEFAULTS))}"),
    ],
)
def test_an_unknown_name_fails_with_the_near_one(conf: dict[str, Any], environ: dict[str, str], told: str) -> None:
    """A typing error would otherwise be a default nobody asked for."""
    assert faults(conf, environ) == [told]


def test_all_faults_are_told_at_once() -> None:
    """Whoever mends them runs it once more, not five times more."""
    conf = {
        "hardening_prefix": "a b", "hardening_max_take": "many", "hardening_lease": 3,
        "hardening_soft_time_limit_s": 400, "hardening_publish_retries": 500,
    }  # fmt: skip
    assert faults(conf, {"HARDENING_POLL_INTERVAL_S": "0"}) == [
        "unknown setting hardening_lease, did you mean hardening_lease_ttl_s?",
        "hardening_prefix is 'a b': string should match pattern '^[A-Za-z0-9_.\\-]{1,64}$'",
        "HARDENING_POLL_INTERVAL_S is '0': input should be greater than 0",
        "hardening_publish_retries is 500: input should be less than or equal to 100",
        "hardening_max_take is 'many': input should be a valid integer, unable to parse string as an integer",
        "hardening_time_limit_s is 360, expected more than hardening_soft_time_limit_s, which is 400",
    ]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("prefix", ["a", "A-z_0.9", "x" * 64], ["", "x" * 65, "a:b", "a b", "a\n", "ü", "{a}", 3, None]),
        ("lease_ttl_s", [1, 1.0, 3600, "2"], [0.99, 3600.1, 0, -1, "nan", float("inf"), None, "x"]),
        ("poll_interval_s", [0.001, 60], [0, -1, 60.1, float("nan")]),
        ("max_crashes", [1, 1000, "2"], [0, -1, 1001, 1.5, None]),
        ("crash_delay_s", [0, 3600], [-0.1, 3600.1, float("nan")]),
        ("idempotency_window_s", [0.001, YEAR_S], [0, YEAR_S + 1, float("nan")]),
        ("receipt_ttl_s", [1, YEAR_S], [0.9, YEAR_S + 1, float("inf"), float("nan")]),
        ("time_limit_s", [300.1, YEAR_S], [0, -1, YEAR_S + 1, float("inf"), None]),
        ("soft_time_limit_s", [0.1, 359.9], [0, -1, YEAR_S + 1, float("nan"), None]),
        ("socket_timeout_s", [0.1, 300], [0, 300.1, None]),
        ("publish_retries", [0, 100], [-1, 101, 0.5]),
        ("publish_breaker_failures", [1, 1000], [0, 1001, None]),
        ("spool_path", ["", "/var/lib/a.spool", "~/a"], ["a.spool", "./a", "/a\0b", "/" + "x" * 4001, None]),
        ("spool_max_messages", [1, 100_000_000], [0, 100_000_001]),
        ("spool_max_bytes", [1024, 2**40], [1023, 2**40 + 1]),
        ("max_take", [1, 1000], [0, 1001, "1.5"]),
        ("timeouts_file", ["", "/etc/t.toml"], [None, 3]),
        ("timeout_factor", [0.001, 1000], [0, -1, 1000.1, float("inf"), float("nan"), None]),
        ("unbounded_get", ["enforce", "warn", "raise"], ["", "bound", None]),
        ("beat_lease_s", [0.5, 60], [0.4, 61]),
        ("beat_grace_s", [1, 86_400], [0.9, 86_401]),
        ("beat_attempts", [1, 100], [0, 101, "1.5"]),
        ("beat_retry_s", [0.01, 60], [0, 61]),
        ("beat_history", [1, 10_000], [0, 10_001]),
        ("dlq_max_age_s", [1, 100 * YEAR_S], [0, -1, float("inf"), None]),
        ("dlq_max_entries", [1, 100_000_000], [0, 100_000_001, "many"]),
        ("dlq_archive", ["", "/x"], [None, 3]),
        ("redact", [("a",), ()], [None, 3, [3]]),
    ],
)
def test_each_setting_has_bounds(name: str, good: list[Any], bad: list[Any]) -> None:
    """The bounds themselves are allowed; what is beyond, and what is no such value, is a fault of that name."""
    for value in good:
        assert load({f"hardening_{name}": value})[name] == type(DEFAULTS[name])(value)
    for value in bad:
        (fault,) = faults({f"hardening_{name}": value})
        assert fault.startswith(f"hardening_{name} is {value!r}: ")


@pytest.mark.parametrize(("soft_s", "hard_s"), [(10, 10), (10, 9.5), (360, 360), (100, 1)])
def test_the_hard_limit_must_exceed_the_soft_one(soft_s: float, hard_s: float) -> None:
    """Or the soft one never fires."""
    conf = {"hardening_soft_time_limit_s": soft_s, "hardening_time_limit_s": hard_s}
    (fault,) = faults(conf)
    assert fault == (
        f"hardening_time_limit_s is {hard_s:g}, expected more than hardening_soft_time_limit_s, which is {soft_s:g}"
    )


def test_settings_do_not_change() -> None:
    """Everything that was made from them would not follow."""
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.prefix = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(prefx="other")  # type: ignore[call-arg]


def test_times_are_seconds_here_and_milliseconds_in_redis() -> None:
    """And keys begin with the prefix."""
    settings = Settings(prefix="p", lease_ttl_s=1.5, receipt_ttl_s=2.25, crash_delay_s=0.1)
    assert (settings.lease_ttl_ms, settings.receipt_ttl_ms, settings.crash_delay_ms) == (1500, 2250, 100)
    assert settings.keys == Keys("p")


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("CELERY", "CELERY_HARDENING_PREFIX"),
        ("CELERY_", "CELERY_HARDENING_PREFIX"),
        ("celery", "celery_hardening_prefix"),
        ("CELERY", "hardening_prefix"),
        ("CELERY", "HARDENING_PREFIX"),
        (None, "HARDENING_PREFIX"),
    ],
)
def test_an_app_with_a_namespace_may_use_it(namespace: str | None, name: str) -> None:
    """As Celery lets it for its own settings, and as Django projects do."""
    app: Any = Celery(set_as_current=False)
    app.config_from_object({name: "shop", "CELERY_BROKER_URL": "redis://"}, namespace=namespace)
    assert load(app.conf, namespace=app.namespace) == DEFAULTS | {"prefix": "shop"}


def test_an_apps_own_word_wins_over_its_configuration_object() -> None:
    """What is set on ``app.conf`` comes first, as for Celery's settings."""
    app = Celery(set_as_current=False)
    app.config_from_object({"CELERY_HARDENING_PREFIX": "object"}, namespace="CELERY")
    app.conf.hardening_prefix = "app"
    assert load(app.conf, namespace="CELERY")["prefix"] == "app"


def test_faults_name_what_was_given() -> None:
    """So that it is found where it was written."""
    conf = {"CELERY_HARDENING_PREFIX": "", "CELERY_HARDENING_LEASE": 1, "CELERY_TASK_ACKS_LATE": True}
    assert faults(conf, namespace="CELERY") == [
        "unknown setting CELERY_HARDENING_LEASE, did you mean CELERY_HARDENING_LEASE_TTL_S?",
        "CELERY_HARDENING_PREFIX is '': string should match pattern '^[A-Za-z0-9_.\\-]{1,64}$'",
    ]


def test_another_apps_namespace_is_not_ours() -> None:
    """It may be in the same object."""
    assert load({"OTHER_HARDENING_PREFIX": "x", "CELERY_HARDENING_PREFIX": "shop"}, namespace="CELERY") == DEFAULTS | {
        "prefix": "shop"
    }


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        (None, "task_acks_late"),
        ("CELERY", "CELERY_TASK_ACKS_LATE"),
        ("CELERY", "task_acks_late"),
        (None, "CELERY_ACKS_LATE"),
    ],
)
def test_what_the_user_set_is_known_under_each_of_its_names(namespace: str | None, name: str) -> None:
    """Overriding it is said; a default of Celery's is not the user's word."""
    app = Celery(set_as_current=False)
    app.config_from_object({name: True}, namespace=namespace)
    assert is_set(app, "task_acks_late")
    assert not is_set(app, "task_time_limit")
    app.conf.task_time_limit = 5
    assert is_set(app, "task_time_limit")


def test_rules_for_retries_are_read_as_they_were_given() -> None:
    """From the configuration as a mapping, from the environment as JSON."""
    rules = {"default": {"attempts": 2}, "reason:crashed": {"base_s": 5}, "task:shop.*": {"factor": 3}, "queue:q": {}}
    expected = {
        name: {"base_s": None, "factor": None, "cap_s": None, "attempts": None} | rule for name, rule in rules.items()
    }
    assert load({"hardening_dlq_retry": rules})["dlq_retry"] == expected
    assert load({}, {"HARDENING_DLQ_RETRY": json.dumps(rules)})["dlq_retry"] == expected


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"defualt": {}}, "unknown rule 'defualt', did you mean 'default'?"),
        ({"raeson:crashed": {}}, "unknown rule 'raeson:crashed', did you mean 'reason:crashed'?"),
        ({"task:": {}}, "unknown rule 'task:', expected default, reason:NAME, queue:NAME or task:PATTERN"),
        ({"zzz": {}}, "unknown rule 'zzz', expected default, reason:NAME, queue:NAME or task:PATTERN"),
        ({"default": {"atempts": 1}}, "rule 'default' has an unknown 'atempts', did you mean 'attempts'?"),
        ({"default": {"x": 1}}, "rule 'default' has an unknown 'x', known are: base_s, factor, cap_s, attempts"),
        ({"default": {"attempts": -1}}, "input should be greater than or equal to 0"),
        ({"default": {"base_s": 0}}, "input should be greater than 0"),
        ("[", "expected JSON, Expecting value: line 1 column 2 (char 1)"),
        ("[]", 'expected a mapping such as {"default": {"attempts": 3}}'),
        ({"default": 3}, "input should be a valid dictionary or instance of RetryRule"),
    ],
)
def test_a_wrong_rule_for_retries_is_told_with_the_near_name(rules: Any, told: str) -> None:
    """One sentence, which names the setting."""
    (fault,) = faults({"hardening_dlq_retry": rules})
    assert fault.startswith("hardening_dlq_retry is ")
    assert fault.endswith(told)


def test_what_is_secret_is_named_in_the_environment_with_commas() -> None:
    """None at all is possible, too."""
    assert load({}, {"HARDENING_REDACT": "pin, iban ,"})["redact"] == ("pin", "iban")
    assert load({}, {"HARDENING_REDACT": ""})["redact"] == ()


def test_limits_for_some_dead_letters_are_read_as_they_were_given() -> None:
    """As the rules for retries are."""
    rules = {"default": {"max_entries": 5}, "reason:expired": {"max_age_s": 60}, "dlq:mail": {}, "task:a.*": {}}
    expected = {name: {"max_age_s": None, "max_entries": None} | rule for name, rule in rules.items()}
    assert load({"hardening_dlq_retention": rules})["dlq_retention"] == expected
    assert load({}, {"HARDENING_DLQ_RETENTION": json.dumps(rules)})["dlq_retention"] == expected


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"dql:mail": {}}, "unknown rule 'dql:mail', did you mean 'dlq:mail'?"),
        ({"zzz": {}}, "unknown rule 'zzz', expected default, reason:NAME, queue:NAME, dlq:NAME or task:PATTERN"),
        ({"default": {"max_entires": 1}}, "rule 'default' has an unknown 'max_entires', did you mean 'max_entries'?"),
        ({"default": {"max_age_s": 0}}, "input should be greater than or equal to 1"),
        ("[]", 'expected a mapping such as {"default": {"max_entries": 3}}'),
    ],
)
def test_a_wrong_limit_is_told_with_the_near_name(rules: Any, told: str) -> None:
    """One sentence, which names the setting."""
    (fault,) = faults({"hardening_dlq_retention": rules})
    assert fault.startswith("hardening_dlq_retention is ")
    assert fault.endswith(told)


def test_a_limit_is_no_wider_than_that_for_all() -> None:
    """It would promise what the other takes away."""
    rules = {"dlq:mail": {"max_age_s": 7200, "max_entries": 100_001}, "queue:q": {"max_age_s": 3600}}
    conf = {"hardening_dlq_retention": rules, "hardening_dlq_max_age_s": 3600}
    why = "which is {}: it holds for all dead letters"
    assert faults(conf) == [
        "hardening_dlq_retention has max_age_s=7200 for 'dlq:mail', expected at most hardening_dlq_max_age_s, "
        + why.format(3600),
        "hardening_dlq_retention has max_entries=100001 for 'dlq:mail', expected at most hardening_dlq_max_entries, "
        + why.format(100000),
    ]
    (fault,) = faults({**conf, "hardening_dlq_max_age_s": 0, "hardening_dlq_max_entries": 200_000})
    assert fault.startswith("hardening_dlq_max_age_s is 0")
