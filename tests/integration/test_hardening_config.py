"""``celery -A app hardening config``: the settings, what they mean, and no secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from hardening import harden
from hardening.cli.meanings import meanings_of
from hardening.core.settings import Settings
from tests.integration.cli import found, hardening, words

if TYPE_CHECKING:
    from tests.undertaker import Undertaker

pytestmark = pytest.mark.one_server


def test_config_explains_every_setting(app: Celery, undertaker: Undertaker) -> None:
    """Value, default and meaning."""
    settings = found(app, "config")["settings"]
    assert set(settings) == {f"hardening_{name}" for name in Settings.model_fields}
    assert all(setting["meaning"].endswith(".") for setting in settings.values())
    assert settings["hardening_lease_ttl_s"]["value"] == 1.0
    assert settings["hardening_lease_ttl_s"]["default"] == 10.0
    assert settings["hardening_lease_ttl_s"]["meaning"].startswith("How long a worker process may be silent")
    shown = hardening(app, "config").stdout
    assert "\nhardening_lease_ttl_s = 1.0 (default 10.0)\n  How long a worker process may be silent" in shown
    assert "\nhardening_max_crashes = 3 (the default)\n" in shown
    assert f"\nhardening_prefix = {undertaker.keys.prefix} (default hardening)\n" in shown


def test_config_shows_what_harden_sets(app: Celery) -> None:
    """With what Celery would have."""
    app.conf.task_time_limit = 77
    celery = found(app, "config")["celery"]
    assert celery["broker_transport"] == {"value": "hardening.transport:Transport", "default": None}
    assert celery["task_acks_late"] == {"value": True, "default": False}
    assert celery["task_time_limit"] == {"value": 77, "default": None}
    assert celery["broker_transport_options.socket_timeout"] == {"value": 5.0, "default": None}
    assert ["task_acks_late", "True", "False"] in words(hardening(app, "config"))


@pytest.mark.parametrize(
    ("broker", "shown"),
    [
        ("redis://:SECRET@localhost:7777/1", ["redis://:**@localhost:7777/1"]),
        ("redis://me:SECRET@a/1;redis://:SECRET@b/2", ["redis://me:**@a:6379/1", "redis://:**@b:6379/2"]),
        (["rediss://:SECRET@a/0"], ["rediss://:**@a:6379/0"]),
        ("sentinel://:SECRET@a:26379;sentinel://:SECRET@b:26379", None),
        ("redis+socket://:SECRET@/tmp/x.sock", ["redis+socket://:**@/tmp/x.sock"]),
    ],
)
def test_config_shows_no_password(broker: str | list[str], shown: list[str] | None) -> None:
    """Neither in addresses nor in options; Redis need not be there."""
    app = Celery("secretive", set_as_current=False)
    app.conf.update(broker_url=broker)
    app.conf.broker_transport_options = {"master_name": "m", "sentinel_kwargs": {"password": "SECRET"}}
    app.conf.update(result_backend="redis://:SECRET@localhost/3")
    harden(app)
    for result in (hardening(app, "config"), hardening(app, "config", "--json")):
        assert result.exit_code == 0
        assert "SECRET" not in result.output
    if shown is not None:
        assert found(app, "config")["broker"] == shown


@pytest.mark.parametrize("module", ["nowhere", __name__])
def test_settings_without_source_have_no_meanings(module: str) -> None:
    """As in programs that ship without source."""
    assert meanings_of(type("Made", (), {"__module__": module})) == {}


def test_a_comment_belongs_to_the_field_below() -> None:
    """One that is followed by something else belongs to nothing."""

    class Example:
        #: Two
        #: lines.
        first: int = 1
        #: Of nothing.

        second: int = 2
        #: One line.
        third: str = ""

    assert meanings_of(Example) == {"first": "Two lines.", "third": "One line."}
