"""Rules of breakers: how they are declared and set, and how wrong ones are told."""

from __future__ import annotations

import json
import pickle
import uuid
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject, Retry, WorkerLostError

from hardening import Breaker, CircuitOpen, harden
from hardening.breaker import apps
from hardening.breaker.apps import app_for
from hardening.breaker.declared import declared_names, declared_rule
from hardening.breaker.rule import rule_of
from hardening.breaker.verdict import Verdict, judge
from hardening.core.breaker_rules import BreakerRule
from hardening.core.errors import ConfigError
from hardening.core.settings import Settings
from tests.unit.making import make


@pytest.fixture
def name() -> str:
    """A name that is declared nowhere."""
    return f"b.{uuid.uuid4().hex[:12]}"


def faults(call: Any) -> list[str]:
    """What is wrong, one sentence each."""
    with pytest.raises(ConfigError) as raised:
        call()
    return list(raised.value.faults)


def test_defaults_are_as_documented() -> None:
    """A new default is a change of this table."""
    assert BreakerRule().model_dump() == {
        "failure_rate": 0.5, "minimum_calls": 20, "window_s": 10.0, "open_s": 30.0, "probes": 3,
        "slow_call_s": None, "slow_rate": None, "counts": None,
    }  # fmt: skip


def test_all_faults_of_a_declaration_are_told_at_once(name: str) -> None:
    """With the near name."""
    assert faults(lambda: Breaker(name, failure_rat=1, probes=0, counts=("nonsense",))) == [
        f"breaker '{name}' has an unknown 'failure_rat', did you mean 'failure_rate'?",
        f"breaker '{name}' has probes=0: input should be greater than or equal to 1",
        f"breaker '{name}' has counts=('nonsense',): expected exception classes or their dotted names, not 'nonsense'",
    ]
    assert faults(lambda: Breaker(name, slow_rate=0.5)) == [
        f"breaker '{name}' is wrong: slow_rate needs slow_call_s, which says from when on a call is slow"
    ]
    assert faults(lambda: Breaker("a:b"))[0].startswith("a breaker cannot be named 'a:b': expected 1 to 64 letters")
    assert faults(lambda: Breaker(7))[0].startswith("a breaker cannot be named 7")  # type: ignore[arg-type]
    assert declared_rule(name) is None


def test_a_breaker_is_declared_once(name: str) -> None:
    """The same rule again, or none, is no contradiction; another is."""
    assert repr(Breaker(name)) == f"Breaker('{name}')"
    Breaker(name, probes=5)
    Breaker(name, probes=5)
    Breaker(name)
    assert declared_rule(name) == BreakerRule(probes=5)
    assert "is declared twice, with different rules" in faults(lambda: Breaker(name, probes=6))[0]


def test_each_app_has_breakers_of_its_own(name: str) -> None:
    """Two apps may mean different things by a name; an app's breaker and everyone's may not contradict each other."""
    one, two = make(), make()
    Breaker(name, app=one, probes=5)
    Breaker(name, app=two, probes=6)
    assert [declared_rule(name, app) for app in (one, two, None)] == [
        BreakerRule(probes=5), BreakerRule(probes=6), None,
    ]  # fmt: skip
    assert name in declared_names(one)
    assert name not in declared_names(make())
    assert "is declared twice" in faults(lambda: Breaker(name, app=one, probes=6))[0]
    assert "is declared twice" in faults(lambda: Breaker(name, probes=5))[0]  # two says 6
    everyones = f"{name}.all"
    Breaker(everyones, probes=5)
    Breaker(everyones, app=one)
    assert "is declared twice" in faults(lambda: Breaker(everyones, app=one, probes=6))[0]
    assert declared_rule(everyones, one) == BreakerRule(probes=5)
    assert everyones in declared_names(two)


def test_the_setting_wins_over_the_code_field_by_field(name: str) -> None:
    """An operator's word over a developer's."""
    conf = {"hardening_breakers": {name: {"open_s": 5, "slow_call_s": 1}}}
    settings = Settings.load(conf, {})
    rule = rule_of(name, BreakerRule(open_s=7, probes=9, counts=(OSError,)), settings.breakers)
    assert rule.rates._asdict() == {
        "failure_rate": 0.5, "slow_rate": 0.5, "minimum_calls": 20, "window_ms": 10_000, "open_ms": 5000, "probes": 9
    }  # fmt: skip
    assert (rule.open_s, rule.slow_call_s, rule.counts) == (5, 1, (OSError,))
    environ = {"HARDENING_BREAKERS": json.dumps({name: {"probes": 1, "counts": ["redis.RedisError", "OSError"]}})}
    rule = rule_of(name, None, Settings.load(conf, environ).breakers)
    assert (rule.rates.probes, rule.open_s, [one.__name__ for one in rule.counts or ()]) == (
        1, 30, ["RedisError", "OSError"]
    )  # fmt: skip


def test_what_setting_and_code_say_must_go_together(name: str) -> None:
    """Each is right by itself."""
    setting = {name: BreakerRule(slow_call_s=1, slow_rate=0.5).model_copy(update={"slow_call_s": None})}
    assert "does not fit the rest" in faults(lambda: rule_of(name, None, setting))[0]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{", "expected JSON"),
        ([1], 'expected a mapping such as {"stripe": {"failure_rate": 0.5}}'),
        ({"a b": {}}, "a breaker cannot be named 'a b'"),
        ({"a": 7}, "breaker 'a' is 7, expected a mapping"),
        (
            {"a": {"prob": 1}, "b": {"probes": 0}},
            "breaker 'a' has an unknown 'prob', did you mean 'probes'?; breaker 'b'",
        ),
        ({"a": {"counts": 7}}, "expected exception classes or their dotted names, not 7"),
    ],
)
def test_a_wrong_setting_is_told_whole(value: object, told: str) -> None:
    """When the app is hardened, beside the other faults."""
    (fault,) = faults(lambda: Settings.load({"hardening_breakers": value}, {}))
    assert told in fault


def test_a_setting_may_name_classes_and_is_shown_as_text() -> None:
    """In the configuration they are classes, in a listing names."""
    settings = Settings.load({"hardening_breakers": {"a": {"counts": (OSError, "redis.RedisError")}}}, {})
    assert settings.breakers["a"].counts == (OSError, "redis.RedisError")
    shown = settings.model_dump(mode="json")["breakers"]["a"]["counts"]
    assert list(shown) == ["builtins.OSError", "redis.RedisError"]
    again = Settings.load({"hardening_breakers": {"a": BreakerRule(counts=OSError)}}, {})  # type: ignore[arg-type]
    assert again.breakers["a"].counts == (OSError,)


@pytest.mark.parametrize("given", ["nowhere.Error", "redis.Nothing", "redis.Redis", "int"])
def test_exceptions_that_cannot_be_found_are_told(name: str, given: str) -> None:
    """When a task is bound or the first call is made."""
    assert given in faults(lambda: rule_of(name, BreakerRule(counts=(given,)), {}))[0]


@pytest.mark.parametrize(
    ("error", "by_default", "counting_os_errors"),
    [
        (None, "succeeded", "succeeded"),
        (ValueError(), "failed", "succeeded"),
        (OSError(), "failed", "failed"),
        (Retry(), "neither", "neither"),
        (Retry(exc=OSError()), "failed", "failed"),
        (Retry(exc=ValueError()), "failed", "succeeded"),
        (Ignore(), "neither", "neither"),
        (Reject(), "neither", "neither"),
        (CircuitOpen("other", 1), "neither", "neither"),
        (WorkerLostError(), "failed", "failed"),
        (SystemExit(), "neither", "neither"),
        (GeneratorExit(), "neither", "neither"),
    ],
)
def test_what_an_exception_says(error: BaseException | None, by_default: str, counting_os_errors: str) -> None:
    """Of the service, with and without a list of its own failures."""
    assert judge(error) == Verdict(by_default)
    assert judge(error, (OSError,)) == Verdict(counting_os_errors)


def test_the_error_is_whole_and_survives_the_way_from_a_pool_process() -> None:
    """With typed attributes."""
    error = pickle.loads(pickle.dumps(CircuitOpen("stripe", 1.26)))  # noqa: S301 - our own bytes
    assert (error.name, error.retry_in_s) == ("stripe", 1.26)
    assert str(error) == "the breaker 'stripe' is open: the call was not made, try again in 1.3 s"


# -- tasks


def test_a_task_names_its_breaker_and_unknown_ones_are_refused(name: str) -> None:
    """When it is bound: with the near name, and what to do."""
    app = harden(make(hardening_breakers={name: {}}))
    declared = Breaker(f"{name}.declared", app=app)

    @app.task(shared=False, circuit=name)
    def by_setting() -> None: ...

    @app.task(shared=False, circuit=declared)
    def by_breaker() -> None: ...

    @app.task(shared=False)
    def without() -> None: ...

    @app.task(shared=False, circuit=f"{name}x")
    def wrong() -> None: ...

    tasks: list[Any] = [by_setting, by_breaker, without]
    assert [task.circuit for task in tasks] == [name, declared.name, None]
    (fault,) = faults(lambda: getattr(wrong, "circuit"))  # noqa: B009 - binds it
    assert f"has circuit='{name}x', and there is no such breaker, did you mean '{name}" in fault
    assert 'Breaker("stripe")' in fault


@pytest.mark.parametrize("given", [7, "", "a b", ("stripe",)])
def test_what_is_no_breaker_is_refused_when_the_task_is_bound(given: object) -> None:
    """Whatever it is."""
    app = harden(make())

    @app.task(shared=False, circuit=given)
    def wrong() -> None: ...

    assert "and there is no such breaker" in faults(lambda: getattr(wrong, "circuit"))[0]  # noqa: B009 - binds it


def test_a_task_behind_a_breaker_whose_exceptions_are_not_there_is_refused(name: str) -> None:
    """When it is bound, and not when it first fails."""
    app = harden(make(hardening_breakers={name: {"counts": "nowhere.Error"}}))

    @app.task(shared=False, circuit=name)
    def wrong() -> None: ...

    assert "nowhere.Error" in faults(lambda: getattr(wrong, "circuit"))[0]  # noqa: B009 - binds it


@pytest.mark.filterwarnings("ignore::hardening.core.errors.HardeningWarning")
def test_tasks_that_were_bound_before_are_checked_too(name: str) -> None:
    """They have the option as they were given it."""
    app = make()

    @app.task(shared=False, circuit=name)
    def early() -> None: ...

    declared = Breaker(f"{name}.declared")

    @app.task(shared=False, circuit=declared)
    def by_breaker() -> None: ...

    app.finalize()
    assert "there is no such breaker" in faults(lambda: harden(app))[0]
    Breaker(name)
    tasks: list[Any] = [early, by_breaker]
    assert harden(app) is app
    assert [task.circuit for task in tasks] == [name, declared.name]  # workers go by names


def test_a_breaker_finds_its_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one it was given, the current one, or the only one that there is."""
    monkeypatch.setattr(apps, "get_current_app", lambda: Celery("plain", set_as_current=False))
    one, other = harden(make()), harden(make())
    assert app_for(one) is one
    monkeypatch.setattr(apps, "_hardened", {one})
    assert app_for(None) is one
    monkeypatch.setattr(apps, "_hardened", {one, other})
    assert "2 are here" in faults(lambda: app_for(None))[0]
    monkeypatch.setattr(apps, "_hardened", set())
    assert "none is here" in faults(lambda: app_for(None))[0]
    monkeypatch.setattr(apps, "get_current_app", lambda: other)
    assert app_for(None) is other
