"""``harden(app)``: one call that wires everything to one Celery app."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dlq.policy import RetryPolicy, check_reasons
from hardening.agents.router.again import give_emit
from hardening.boundaries.tasks import give_boundaries
from hardening.context.here import pack
from hardening.core import telemetry
from hardening.core.context_header import HEADER
from hardening.core.deployment import is_hardened, set_settings
from hardening.core.errors import ConfigError, HardeningWarning
from hardening.core.settings import Settings
from hardening.core.travel import let_travel, register
from hardening.delivery.afterwards import keep_back
from hardening.delivery.result_backend import OVERRIDES
from hardening.overrides import conf_for, dangers_in, overridden_in
from hardening.timeouts.lookup import install
from hardening.timeouts.table import Table
from hardening.timeouts.waiting import bound_waits
from hardening.transport.producers import speed_up
from hardening.transport.transport import Connection
from hardening.worker.circuits import faults_in, give_circuits
from hardening.worker.keeping import KeepStep
from hardening.worker.limits import give_limits, limits_for
from hardening.worker.loop import LoopStep
from hardening.worker.monitoring import MonitorStep
from hardening.worker.results import FailBuried
from hardening.worker.steps import BeginStep, BookStep

if TYPE_CHECKING:
    from celery import Celery

    from hardening.worker.limits import Limits

__all__ = ["harden"]

_TRANSPORTS = {
    "redis": "hardening.transport:Transport",
    "rediss": "hardening.transport:Transport",
    "redis+socket": "hardening.transport:Transport",
    "socket": "hardening.transport:Transport",
    "sentinel": "hardening.transport:SentinelTransport",
}


def harden(app: Celery) -> Celery:
    """Makes an app lose nothing, hang nowhere, and know where each message is.

    Call it once the app is configured and before its tasks are defined; calling it again changes nothing.
    What it sets, and what of yours it overrides, is listed in :mod:`hardening.overrides`; each override is
    warned of once, by name.

    Args:
        app: a Celery app whose broker is Redis.

    Returns:
        The same app.

    Raises:
        ConfigError: with every fault found: settings, broker, options that cannot work.

    Events: ``hardening.setting.overridden``.
    """
    if is_hardened(app):
        return app
    settings, table = _validated(app)
    limits, overridden = limits_for(app, settings), list(overridden_in(app))
    for name, value in conf_for(app, settings).items():
        _override(app, name, value)
    app.conf.broker_transport = _transport_for(app)
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "hardening": settings.model_dump(),
        "on_buried": FailBuried(app),
    }
    app.loader.override_backends = {**OVERRIDES, **app.loader.override_backends}
    app.amqp.Connection = Connection
    app.events.dispatcher_cls = "hardening.worker.dispatcher:Dispatcher"
    speed_up(app.amqp)
    keep_back(app.amqp)
    let_travel(app.amqp)
    register(HEADER, pack)
    app.steps["worker"].add(BeginStep)
    app.steps["worker"].add(KeepStep)
    app.steps["consumer"].add(BookStep)
    app.steps["consumer"].add(LoopStep)
    app.steps["consumer"].add(MonitorStep)
    _prepare_tasks(app, limits)
    give_circuits(app, settings)
    set_settings(app, settings)
    give_emit(app)
    install(app, table)
    bound_waits()
    for event in overridden:
        telemetry.emit(event)
    return app


def _override(app: Celery, name: str, value: Any) -> None:
    """Sets a value under its plain name and, where the user wrote it so, under that of the app's namespace."""
    namespaced = f"{vars(app).get('namespace')}_{name}".lower()
    for given in [key for key in app.conf if str(key).lower() == namespaced]:
        app.conf[given] = value
    app.conf[name] = value


def _validated(app: Celery) -> tuple[Settings, Table]:
    faults: list[str] = []
    settings = Settings.model_construct()
    try:
        settings = Settings.load(app.conf, namespace=vars(app).get("namespace"))
        RetryPolicy(settings.dlq_retry)  # knows the reasons
        check_reasons("dlq_retention", settings.dlq_retention)
    except ConfigError as error:
        faults += error.faults
    try:
        table: Table | None = Table(settings)  # reads its file
    except ConfigError as error:
        table, faults = None, [*faults, *error.faults]
    faults += _broker_faults(app)
    faults += faults_in(app, settings)
    if table is None or faults:
        raise ConfigError(faults)
    for fault in dangers_in(app):
        warnings.warn(fault, HardeningWarning, stacklevel=3)
    return settings, table


def _urls(app: Celery) -> list[str]:
    urls: Any = app.conf.broker_write_url or app.conf.broker_url or "amqp://"
    return urls.split(";") if isinstance(urls, str) else list(urls)


def _broker_faults(app: Celery) -> list[str]:
    faults = []
    for url in _urls(app):
        scheme = urlsplit(url).scheme
        if scheme not in _TRANSPORTS:
            known = "redis://, rediss://, redis+socket:// or sentinel://"
            faults.append(f"the broker is {scheme or 'not set'}://, expected {known}: hardening needs Redis")
    options = app.conf.broker_transport_options
    if options.get("global_keyprefix"):
        faults.append(
            "broker_transport_options has global_keyprefix, which kombu does not apply to scripts: "
            "remove it and tell apps apart by hardening_prefix and by queue names"
        )
    if options.get("sep"):
        faults.append("broker_transport_options has sep: remove it, priority queues need kombu's own separator")
    return faults


def _transport_for(app: Celery) -> str:
    return _TRANSPORTS[urlsplit(_urls(app)[0]).scheme]


def _prepare_tasks(app: Any, limits: Limits) -> None:
    app.Task.Request = "hardening.worker.request:Request"
    give_limits(app, limits)
    give_boundaries(app)
    if app.finalized:
        text = (
            f"harden() was called after the tasks of {app.main!r} were bound, so they keep the options they "
            "have: call it right after the app is configured"
        )
        warnings.warn(text, HardeningWarning, stacklevel=3)
