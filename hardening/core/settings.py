"""One typed object for every setting.

Read from ``app.conf`` under ``hardening_*`` and from the environment under ``HARDENING_*``; the
environment wins, as an operator's word does over a developer's. Unknown names fail with the near one, and all
faults are told at once.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hardening.core.breaker_rules import BreakerRule, read_breakers
from hardening.core.errors import ConfigError
from hardening.core.keys import Keys
from hardening.core.redaction import SECRET_NAMES
from hardening.core.retention_rules import RETENTION_KINDS, RetentionRule
from hardening.core.retry_rules import RETRY_KINDS, RetryRule, read_rules
from hardening.core.settings_sources import ConfSource, EnvironSource
from hardening.core.timeout_rules import read_timeouts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pydantic_settings import PydanticBaseSettingsSource

    from hardening.core.settings_sources import Given

__all__ = ["Settings"]

#: The longest that anything may last: what is longer does not fit into Redis, or means "for ever".
_YEAR_S = 31_536_000.0


class Settings(BaseSettings):
    """Every setting, with its default and its risk. Times are seconds.

    The constructor takes what it is given and reads nothing; :meth:`load` reads what an app was told.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    #: What every key in Redis begins with. Apps with different prefixes never meet; workers and
    #: producers of one deployment must agree on it.
    prefix: str = Field(default="hardening", pattern=r"^[A-Za-z0-9_.\-]{1,64}$")
    #: How long a worker process may be silent before it counts as dead. Lower: faster recovery. Too
    #: low: a stalled machine has its running tasks repeated elsewhere.
    lease_ttl_s: float = Field(default=10.0, ge=1.0, le=3600.0)
    #: How long an idle worker waits for its doorbell at most, which bounds how late it finds
    #: messages of stock producers, who do not ring.
    poll_interval_s: float = Field(default=1.0, gt=0.0, le=60.0)
    #: After how many crashes of its process a message is buried.
    max_crashes: int = Field(default=3, ge=1, le=1000)
    #: How long a message waits after its second crash; doubled for each further one. The first time it
    #: comes back at once.
    crash_delay_s: float = Field(default=2.0, ge=0.0, le=3600.0)
    #: How long a receipt is kept after its last change.
    receipt_ttl_s: float = Field(default=86_400.0, ge=1.0, le=_YEAR_S)
    #: How long an idempotency key is remembered by default. Too short: a send that is repeated later than that is
    #: a second message. Longer: every key takes about 200 bytes of Redis for that time, and its receipt as well.
    idempotency_window_s: float = Field(default=86_400.0, ge=0.001, le=_YEAR_S)
    #: Soft time limit of tasks that have none.
    soft_time_limit_s: float = Field(default=300.0, gt=0.0, le=_YEAR_S)
    #: Hard time limit of tasks that have none. Must exceed the soft one.
    time_limit_s: float = Field(default=360.0, gt=0.0, le=_YEAR_S)
    #: How long a read or write on a socket to Redis may take.
    socket_timeout_s: float = Field(default=5.0, gt=0.0, le=300.0)
    #: How often a publication is tried again when Redis is away. Bounded: a producer fails, it never hangs.
    publish_retries: int = Field(default=3, ge=0, le=100)
    #: After how many connection failures in a row a process stops waiting for Redis with each send and probes it
    #: now and then instead; sends then fail at once, or go to the spool. Too low: one hiccup does it.
    publish_breaker_failures: int = Field(default=5, ge=1, le=1000)
    #: Where messages are kept while Redis is away, as an absolute path on a local disk. Default: in
    #: ``$XDG_STATE_HOME`` or ``~/.local/state``, under ``celery-hardening/<prefix>.spool``. On a disk that does
    #: not outlive the machine or the container, neither does what it holds.
    spool_path: str = Field(default="", pattern=r"^(|[/~][^\x00]{0,4000})$")
    #: The most messages the spool keeps; further ones are refused with ``SpoolFull``.
    spool_max_messages: int = Field(default=100_000, ge=1, le=100_000_000)
    #: The most bytes of messages the spool keeps; its file is about a tenth larger.
    spool_max_bytes: int = Field(default=268_435_456, ge=1024, le=1_099_511_627_776)
    #: When dead letters are retried by themselves, by ``default``, ``reason:NAME``, ``queue:NAME`` or
    #: ``task:PATTERN``, the last of which wins: ``{"default": {"base_s": 30, "factor": 2, "cap_s": 3600,
    #: "attempts": 5}, "task:shop.*": {"attempts": 0}}``; what is left out is as in these defaults. The wait is
    #: anything up to ``base_s * factor ** attempts so far``, at most ``cap_s``. What cannot heal by itself
    #: (``crashed``, ``undecodable``, ``expired``, ``rejected``) is retried only where its reason is named. Risk: a
    #: task that fails half-way is run again, as by any retry. In the environment: JSON.
    dlq_retry: dict[str, RetryRule] = Field(default={})
    #: How long a dead letter is kept. Older ones are trimmed, which is counted and told, never silent.
    dlq_max_age_s: float = Field(default=1_209_600.0, ge=1.0, le=100 * _YEAR_S)
    #: How many dead letters are kept; the oldest go first. A letter takes its message, its traceback (up to
    #: 10,000 characters) and about 300 bytes of Redis.
    dlq_max_entries: int = Field(default=100_000, ge=1, le=100_000_000)
    #: Narrower limits for some dead letters, by ``default``, ``reason:NAME``, ``queue:NAME``, ``dlq:NAME`` (see
    #: ``dead_letter`` of a task) or ``task:PATTERN``, the last of which wins alone: ``{"dlq:mail": {"max_age_s":
    #: 86400, "max_entries": 1000}}``. They hold for all letters of a rule together; ``default`` is for what no other
    #: rule is for. What is to be kept longer than the rest needs a ``default`` below ``dlq_max_age_s``. In the
    #: environment: JSON.
    dlq_retention: dict[str, RetentionRule] = Field(default={})
    #: A file of JSON lines to which dead letters are written before they are trimmed; empty: none. They are whole,
    #: secrets included. While it cannot be written, nothing is trimmed. Each host writes its own.
    dlq_archive: str = ""
    #: Keys whose values are masked wherever dead letters or errors are shown, logged or exported, also as a word of
    #: a longer key (``card`` masks ``card_number``), in any case. In the environment: with commas between. Risk:
    #: what stands under another key, or is passed by position, is shown.
    redact: tuple[str, ...] = SECRET_NAMES
    #: Rules of breakers that all workers share, by name: ``{"stripe": {"failure_rate": 0.5, "minimum_calls": 20,
    #: "window_s": 10, "open_s": 30, "probes": 3}}``. What is left out is as the code declares it, or as in these
    #: defaults. In the environment: JSON.
    breakers: dict[str, BreakerRule] = Field(default={})
    #: How many frames of the caller's stack are kept with each monitor, to tell where a leak comes from; 0: none, at
    #: no cost. Each is about 80 bytes of Redis, and paths of source files, for as long as the monitor lasts.
    monitor_stack_depth: int = Field(default=8, ge=0, le=50)
    #: How long the beat that leads may be silent before another takes over. Lower: sooner. Too low: a beat that a
    #: stalled machine holds up loses the lead, which costs nothing but the change.
    beat_lease_s: float = Field(default=4.0, ge=0.5, le=60.0)
    #: How late a slot may be sent as if it were on time. What is later was missed, and the entry's ``catch_up`` says
    #: what becomes of it. Too low: a failover makes slots missed.
    beat_grace_s: float = Field(default=30.0, ge=1.0, le=86_400.0)
    #: How often a slot that cannot be sent is tried before it is buried as ``schedule_failed``.
    beat_attempts: int = Field(default=5, ge=1, le=100)
    #: How long before the second attempt; doubled for each further one, at most a minute.
    beat_retry_s: float = Field(default=1.0, ge=0.01, le=60.0)
    #: How many of its last slots are remembered for each entry, about 70 bytes each.
    beat_history: int = Field(default=20, ge=1, le=10_000)
    #: Files that declare schedules, TOML or JSON, read by the beat that leads. In the environment: with commas between.
    beat_files: tuple[str, ...] = ()
    #: The most messages one take may bring, whatever the prefetch count.
    max_take: int = Field(default=500, ge=1, le=1000)
    #: How long things may take, by rule: ``default``, ``long``, ``critical``, an operation or a task by its name, a
    #: pattern such as ``network_call.*``, or ``service:NAME``; in seconds, or by the name of a class. The most specific
    #: rule wins, see docs/timeouts.md. A task that a rule besides ``default`` is about has its time limits from here.
    #: Too short: work that would have succeeded is given up. In the environment: JSON.
    timeouts: dict[str, float | str] = Field(default={})
    #: A TOML file with such rules in its table ``[timeouts]``; ``timeouts`` goes over it, rule by rule. Read once, when
    #: the app is hardened. Risk: hosts with different files.
    timeouts_file: str = ""
    #: What all timeouts of that table are multiplied by, as on a slow machine: 3 in continuous integration.
    timeout_factor: float = Field(default=1.0, ge=0.001, le=1000.0, allow_inf_nan=False)
    #: What happens to ``AsyncResult.get()``, and to ``get`` and ``join`` of result sets, without a timeout:
    #: ``enforce`` has them use that of the table, and warns once for each line that does so; ``warn`` only warns, and
    #: they wait for ever as in stock Celery; ``raise`` raises ``UnboundedWait`` at once. Risk of ``warn``: a result
    #: that never comes.
    unbounded_get: Literal["enforce", "warn", "raise"] = "enforce"

    @classmethod
    def load(
        cls, conf: Mapping[str, Any], environ: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> Self:
        """Reads the settings of an app.

        Args:
            conf: the app's configuration; only names with ``hardening_`` matter.
            environ: the environment; default: the process's.
            namespace: the app's, if it has one: ``CELERY`` also reads ``CELERY_HARDENING_PREFIX``, the way
                Celery reads its own settings.

        Raises:
            ConfigError: with every fault found, not just the first.
        """
        environ = os.environ if environ is None else environ
        sources = (ConfSource(cls, conf, namespace), EnvironSource(cls, environ))
        given = {name: said for source in sources for name, said in source.given.items()}
        known = {name: value for source in sources for name, value in source().items()}
        faults = [_unknown(shown, name, cls.model_fields) for name, (shown, _) in given.items() if name not in known]
        try:
            settings = cls.model_validate(known)
        except ValidationError as error:
            invalid = {str(item["loc"][0]): _invalid(given, item) for item in error.errors()}
            rest = cls.model_validate({name: value for name, value in known.items() if name not in invalid})
            raise ConfigError([*faults, *invalid.values(), *_crossed(rest, invalid)]) from error
        faults += _crossed(settings, ())
        if faults:
            raise ConfigError(faults)
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the constructor reads: its arguments."""
        return (init_settings,)

    @field_validator("dlq_retry", mode="before")
    @classmethod
    def _read_rules(cls, value: object) -> object:
        return read_rules(value, RetryRule, RETRY_KINDS)

    @field_validator("dlq_retention", mode="before")
    @classmethod
    def _read_limits(cls, value: object) -> object:
        return read_rules(value, RetentionRule, RETENTION_KINDS)

    @field_validator("breakers", mode="before")
    @classmethod
    def _read_breakers(cls, value: object) -> object:
        return read_breakers(value)

    @field_validator("timeouts", mode="before")
    @classmethod
    def _read_timeouts(cls, value: object) -> object:
        return read_timeouts(value)

    @field_validator("redact", "beat_files", mode="before")
    @classmethod
    def _read_names(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @property
    def keys(self) -> Keys:
        """The keys of this deployment."""
        return Keys(self.prefix)

    @property
    def lease_ttl_ms(self) -> int:
        """:attr:`lease_ttl_s` as Redis has it."""
        return int(self.lease_ttl_s * 1000)

    @property
    def receipt_ttl_ms(self) -> int:
        """:attr:`receipt_ttl_s` as Redis has it."""
        return int(self.receipt_ttl_s * 1000)

    @property
    def dlq_max_age_ms(self) -> int:
        """:attr:`dlq_max_age_s` as Redis has it."""
        return int(self.dlq_max_age_s * 1000)

    @property
    def crash_delay_ms(self) -> int:
        """:attr:`crash_delay_s` as Redis has it."""
        return int(self.crash_delay_s * 1000)


def _crossed(settings: Settings, invalid: Collection[str]) -> list[str]:
    """What is wrong between settings that are each right."""
    return [*_crossed_limits(settings, invalid), *_too_wide(settings, invalid)]


def _too_wide(settings: Settings, invalid: Collection[str]) -> list[str]:
    faults = []
    for limit in {"max_age_s", "max_entries"} - {name.removeprefix("dlq_") for name in invalid}:
        most = getattr(settings, f"dlq_{limit}")
        for name, rule in settings.dlq_retention.items():
            value = getattr(rule, limit)
            if value is not None and value > most:
                why = f"expected at most hardening_dlq_{limit}, which is {most:.15g}: it holds for all dead letters"
                faults.append(f"hardening_dlq_retention has {limit}={value:.15g} for {name!r}, {why}")
    return sorted(faults)


def _crossed_limits(settings: Settings, invalid: Collection[str]) -> list[str]:
    soft_s, hard_s = settings.soft_time_limit_s, settings.time_limit_s
    if hard_s > soft_s or "time_limit_s" in invalid or "soft_time_limit_s" in invalid:
        return []
    why = f"expected more than hardening_soft_time_limit_s, which is {soft_s:g}"
    return [f"hardening_time_limit_s is {hard_s:g}, {why}"]


def _unknown(shown: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if not near:
        return f"unknown setting {shown}, known are: {', '.join(sorted(known))}"
    near_name = shown[: len(shown) - len(name)] + (near[0].upper() if shown.isupper() else near[0])
    return f"unknown setting {shown}, did you mean {near_name}?"


def _invalid(given: Given, item: Any) -> str:
    shown, value = given[str(item["loc"][0])]
    return f"{shown} is {value!r}: {item['msg'][0].lower()}{item['msg'][1:]}"
