"""harden(app): what it refuses, what it sets, what it overrides, and what it leaves alone."""

from __future__ import annotations

import pytest
from celery import Celery

from hardening import harden
from hardening.core import telemetry
from hardening.core.deployment import is_hardened, settings_of
from hardening.core.errors import ConfigError, HardeningWarning
from tests.unit.making import BROKER, make, told


def test_the_same_app_comes_back_hardened() -> None:
    """So that it can be written around the making of it."""
    app = make(hardening_prefix="shop")
    assert not is_hardened(app)
    assert harden(app) is app
    assert is_hardened(app)
    assert settings_of(app).prefix == "shop"


def test_a_plain_app_is_not_warned_of() -> None:
    """Celery's defaults are nobody's wish."""
    assert told(make()) == []


def test_hardening_twice_changes_nothing() -> None:
    """And says nothing again."""
    app = make(task_acks_late=False)
    assert len(told(app)) == 1
    before = (dict(app.conf.items()), app.Task.bind, set(app.steps["worker"]), set(app.steps["consumer"]))
    assert told(app) == []
    assert (dict(app.conf.items()), app.Task.bind, set(app.steps["worker"]), set(app.steps["consumer"])) == before


@pytest.mark.parametrize(
    ("broker", "scheme"),
    [("amqp://localhost", "amqp"), ("sqs://", "sqs"), ("memory://", "memory"), ("sqla+x://", "sqla+x")],
)
def test_another_broker_is_refused(broker: str, scheme: str) -> None:
    """There is no Redis behind it."""
    app = make(broker)
    with pytest.raises(ConfigError) as raised:
        harden(app)
    expected = "redis://, rediss://, redis+socket:// or sentinel://"
    assert raised.value.faults == (f"the broker is {scheme}://, expected {expected}: hardening needs Redis",)
    assert not is_hardened(app)


def test_an_app_without_a_broker_is_refused() -> None:
    """Celery would take RabbitMQ."""
    with pytest.raises(ConfigError, match="the broker is amqp://"):
        harden(make(None))


def test_every_broker_of_several_is_looked_at() -> None:
    """The second is the one that counts when the first is gone."""
    with pytest.raises(ConfigError, match="the broker is amqp://"):
        harden(make(f"{BROKER};amqp://localhost"))


def test_all_faults_are_told_at_once() -> None:
    """Settings, broker and options; and nothing is changed."""
    app = make("amqp://", hardening_max_take=0, hardening_prefx="x", task_acks_late=False)
    app.conf.broker_transport_options = {"global_keyprefix": "p", "sep": ":"}
    with pytest.raises(ConfigError) as raised:
        harden(app)
    assert [fault.split(":")[0] for fault in raised.value.faults] == [
        "unknown setting hardening_prefx, did you mean hardening_prefix?",
        "hardening_max_take is 0",
        "the broker is amqp",
        "broker_transport_options has global_keyprefix, which kombu does not apply to scripts",
        "broker_transport_options has sep",
    ]
    assert app.conf.task_acks_late is False


REQUIRED = {
    "task_acks_late": (False, True),
    "task_reject_on_worker_lost": (False, True),
    "accept_content": (["json", "pickle"], ["json"]),
    "task_serializer": ("pickle", "json"),
    "worker_cancel_long_running_tasks_on_connection_loss": (True, False),
    "worker_enable_prefetch_count_reduction": (True, False),
    "broker_connection_retry_on_startup": (False, True),
}
DANGEROUS = {
    "task_acks_on_failure_or_timeout": False,
    "task_acks_on_timeout": False,
    "task_retry_on_worker_lost": True,
    "task_publish_retry": False,
    "task_create_missing_queues": False,
}


@pytest.mark.parametrize("name", REQUIRED)
def test_what_would_break_a_guarantee_is_overridden_and_said(name: str) -> None:
    """By its name, with both values and the reason."""
    theirs, ours = REQUIRED[name]
    app = make(**{name: theirs})
    (text,) = told(app)
    assert text.startswith(f"harden() overrides {name}: {theirs!r} becomes {ours!r}, because ")
    assert app.conf[name] == ours


@pytest.mark.parametrize("name", REQUIRED)
def test_an_override_is_an_event(name: str) -> None:
    """Once it is in force, for those who read no warnings; hardening again tells nothing."""
    theirs, ours = REQUIRED[name]
    app = make(**{name: theirs})
    with telemetry.capture() as events:
        (text,) = told(app)
        told(app)
    (event,) = events
    assert isinstance(event, telemetry.SettingOverridden)
    assert (event.setting, event.value) == (name, ours)
    assert text.endswith(f"because {event.why}")
    assert app.conf[name] == event.value


def test_what_is_refused_or_only_dangerous_is_no_event() -> None:
    """Nothing was overridden."""
    with telemetry.capture() as events:
        assert len(told(make(task_acks_on_timeout=False))) == 1
        with pytest.raises(ConfigError):
            harden(make("amqp://localhost", task_acks_late=False))
    assert events == []


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_right_already_is_not_said(name: str) -> None:
    """Nothing becomes of it."""
    assert told(make(**{name: REQUIRED[name][1]})) == []


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_is_dangerous_is_said_and_left(name: str) -> None:
    """It is the user's to decide."""
    app = make(**{name: DANGEROUS[name]})
    (text,) = told(app)
    assert text.startswith(f"{name}={DANGEROUS[name]!r} is dangerous: ")
    assert app.conf[name] is DANGEROUS[name]


def test_a_visibility_timeout_has_no_meaning_any_more() -> None:
    """Recovery goes by leases."""
    app = make(broker_transport_options={"visibility_timeout": 3600})
    assert told(app) == [
        "visibility_timeout has no meaning any more: recovery goes by leases, see hardening_lease_ttl_s"
    ]


@pytest.mark.parametrize("source", ["namespace", "old name"])
def test_an_override_reaches_a_setting_under_each_of_its_names(source: str) -> None:
    """Celery knows several."""
    app = make()
    conf = {"CELERY_TASK_ACKS_LATE": False} if source == "namespace" else {"CELERY_ACKS_LATE": False}
    app.config_from_object(conf, namespace="CELERY" if source == "namespace" else None)
    (text,) = told(app)
    assert text.startswith("harden() overrides task_acks_late: False becomes True")
    assert app.conf.task_acks_late is True


def test_settings_may_stand_in_the_apps_namespace() -> None:
    """As Django projects have them."""
    app = make()
    app.config_from_object({"CELERY_HARDENING_PREFIX": "shop"}, namespace="CELERY")
    assert settings_of(harden(app)).prefix == "shop"


def test_publication_is_retried_a_bounded_number_of_times() -> None:
    """Unless the user has a policy."""
    assert harden(make(hardening_publish_retries=7)).conf.task_publish_retry_policy["max_retries"] == 7
    own = {"max_retries": 1}
    assert harden(make(task_publish_retry_policy=own)).conf.task_publish_retry_policy == own


def test_only_json_is_read_and_written() -> None:
    """Pickle runs whatever it is told to."""
    app = harden(make())
    assert (app.conf.accept_content, app.conf.task_serializer) == (["json"], "json")


def test_a_warning_points_at_the_call() -> None:
    """There it can be mended."""
    with pytest.warns(HardeningWarning) as caught:
        harden(make(task_acks_late=False))
    assert caught[0].filename == __file__


def test_an_override_reaches_a_namespaced_setting_of_the_app_itself() -> None:
    """In ``app.conf`` itself the namespaced name comes first."""
    app = Celery("shop", broker=BROKER, namespace="CELERY", set_as_current=False)
    app.conf.update(CELERY_TASK_ACKS_LATE=False)
    assert len(told(app)) == 1
    assert app.conf.task_acks_late is True


def test_the_old_message_protocol_is_overridden() -> None:
    """Its messages have no headers: neither ledger nor receipt would know them."""
    app = make(task_protocol=1)
    assert len(told(app)) == 1
    assert app.conf.task_protocol == 2
