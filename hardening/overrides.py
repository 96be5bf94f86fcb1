"""What ``harden(app)`` sets in Celery's configuration, and what it finds dangerous there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.core import telemetry
from hardening.transport.stock import CLIENT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening.core.settings import Settings

__all__ = ["conf_for", "dangers_in", "overridden_in"]

#: What must be so, and why; a user's other value is overridden with a warning.
_REQUIRED: dict[str, tuple[Any, str]] = {
    "task_acks_late": (True, "a message acknowledged before its task ran is lost with its worker"),
    "task_reject_on_worker_lost": (True, "a crash is counted, and buried after max_crashes"),
    "accept_content": (["json"], "pickle from a broker runs whatever it is told to"),
    "task_protocol": (2, "messages of protocol 1 have no headers, so neither ledger nor receipt would know them"),
    "task_serializer": ("json", "pickle from a broker runs whatever it is told to"),
    "worker_cancel_long_running_tasks_on_connection_loss": (
        False, "a reconnect redelivers nothing that still runs here"
    ),
    "worker_enable_prefetch_count_reduction": (False, "prefetch is counted by what is held, across reconnects"),
    "broker_connection_retry_on_startup": (True, "a worker waits for Redis, it does not give up"),
}  # fmt: skip

#: What a user should know about, by setting: the value that is dangerous, and why.
_DANGERS: dict[str, tuple[Any, str]] = {
    "task_acks_on_failure_or_timeout": (False, "every failed task is rejected, so it becomes a dead letter"),
    "task_acks_on_timeout": (False, "a task that runs into its hard limit is run again, as after a crash"),
    "task_retry_on_worker_lost": (True, "Celery resends the message under its own count: leave it to max_crashes"),
    "task_publish_retry": (False, "one dropped connection fails a publication"),
    "task_create_missing_queues": (False, "a message to a queue not declared raises at the sender"),
}


def conf_for(app: Celery, settings: Settings) -> dict[str, Any]:
    """The configuration of a hardened app: what must be, and defaults for what the user left open."""
    retry = {"max_retries": settings.publish_retries, "interval_start": 0.05, "interval_step": 0.2, "interval_max": 1.0}
    conf: dict[str, Any] = {name: value for name, (value, _) in _REQUIRED.items()}
    conf |= {"task_time_limit": None, "task_soft_time_limit": None}  # they are the tasks' own, see worker.limits
    if not is_set(app, "task_publish_retry_policy"):
        conf["task_publish_retry_policy"] = retry
    options = {
        "socket_timeout": settings.socket_timeout_s,
        "socket_connect_timeout": settings.socket_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }
    results: dict[str, Any] = {f"redis_{name}": value for name, value in options.items() if name.startswith("socket_")}
    results["redis_client_name"] = CLIENT_NAME  # who waits for results is no stock worker
    conf |= {name: value for name, value in results.items() if not is_set(app, name)}
    conf["broker_transport_options"] = {**options, **app.conf.broker_transport_options}
    if asking := app.conf.broker_transport_options.get("sentinel_kwargs"):  # redis-py then asks with nothing else
        waiting = {name: conf["broker_transport_options"][name] for name in options if name.startswith("socket_")}
        conf["broker_transport_options"]["sentinel_kwargs"] = {**waiting, **asking}
    return conf


def overridden_in(app: Celery) -> Iterator[telemetry.SettingOverridden]:
    """Each setting of the user's that another value replaces; before it does."""
    for name, (value, why) in _REQUIRED.items():
        if is_set(app, name) and _plain(app.conf[name]) != _plain(value):
            yield telemetry.SettingOverridden(setting=name, value=value, why=why)


def dangers_in(app: Celery) -> Iterator[str]:
    """A sentence for each setting of the user's that is overridden or dangerous."""
    for one in overridden_in(app):
        yield f"harden() overrides {one.setting}: {app.conf[one.setting]!r} becomes {one.value!r}, because {one.why}"
    for name, (value, why) in _DANGERS.items():
        if is_set(app, name) and app.conf[name] == value:
            yield f"{name}={value!r} is dangerous: {why}"
    if app.conf.broker_transport_options.get("visibility_timeout"):
        yield "visibility_timeout has no meaning any more: recovery goes by leases, see hardening_lease_ttl_s"


def is_set(app: Celery, name: str) -> bool:
    """Whether the user set this, under whichever of its names, as opposed to Celery's default."""
    return bool(app.conf.value_set_for(name))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (set, tuple, frozenset)) else value
