"""What the stack is told by its environment. How the library works is told by ``HARDENING_*``, see README."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hardening.core.errors import ConfigError
from workers.health import Limit  # noqa: TC001 - pydantic reads it
from workers.readings import LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["StackSettings"]

#: Celery reads these by itself, before what an app says, and would do so without the password. Its command line sets
#: them from ``-b`` and from ``BROKER_URL``, from ``--result-backend`` and from ``RESULT_BACKEND``.
_CELERYS = {
    "CELERY_BROKER_URL": "redis_url", "BROKER_URL": "redis_url",
    "CELERY_RESULT_BACKEND": "results_url", "RESULT_BACKEND": "results_url",
}  # fmt: skip
#: Whose URLs the password of the file belongs into.
_REDIS = frozenset({"redis", "rediss"})


class StackSettings(BaseModel):
    """Every setting of the stack, each under its name in capitals: ``REDIS_URL``.

    The constructor takes what it is given and reads nothing; :meth:`load` reads the environment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Redis, as ``redis://host:6379/0`` or ``rediss://``; what :func:`hardening.harden` takes.
    redis_url: str = Field(default="redis://localhost:6379/0", pattern=r"^[a-z+]+://\S+$")
    #: Where results are kept; empty: where the messages are.
    results_url: str = Field(default="", pattern=r"^(|[a-z+]+://\S+)$")
    #: A file with the password of Redis and nothing else, so that it stands in no URL and no environment; empty: none.
    redis_password_file: str = ""
    #: How long results are kept, in seconds.
    result_expires_s: float = Field(default=86_400.0, ge=1.0, le=31_536_000.0)
    #: From which level on the stack's processes log, whatever their command lines say.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    #: Modules with tasks of your own that every worker is to know besides the stack's, with commas between.
    include: tuple[str, ...] = ()

    #: How many items may wait at the agent ``task``.
    task_bound: int = Field(default=1000, ge=1, le=1000)
    #: How many of its messages may be with the workers.
    task_concurrency: int = Field(default=10, ge=1, le=200)
    #: What becomes of one more item: it is refused, or the last one with the lowest priority makes room.
    task_when_full: Literal["reject", "drop_lowest"] = "reject"
    #: How many errors pause it, and within how long, in seconds.
    task_pause_errors: int = Field(default=10, ge=1, le=1000)
    task_pause_within_s: float = Field(default=60.0, gt=0.0, le=86_400.0)
    #: How often the agent ``monitor`` looks, in seconds.
    monitor_every_s: float = Field(default=5.0, ge=0.1, le=3600.0)
    #: A path on the disk whose room it watches.
    monitor_disk: str = "/"
    #: When which of its readings is bad, as JSON: ``{"disk": {"resolve": 0.8, "raise_at": 0.9, "for_looks": 2}}``.
    monitor_limits: dict[str, Limit] = Field(default_factory=dict)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Reads the environment, and the password.

        Args:
            environ: default: the process's.

        Raises:
            ConfigError: with every fault found, none of which tells a password.
        """
        environ = os.environ if environ is None else environ
        given = {name: environ[name.upper()] for name in cls.model_fields if name.upper() in environ}
        faults = [
            f"{theirs} is set, which Celery would use instead, without the password: set {ours.upper()}"
            for theirs, ours in _CELERYS.items()
            if environ.get(theirs)
        ]
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError([*faults, *map(_invalid, error.errors())]) from None  # its text has what was given
        try:
            settings = settings.with_password()
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(faults)
        return settings

    @field_validator("include", mode="before")
    @classmethod
    def _read_names(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("monitor_limits", mode="before")
    @classmethod
    def _read_limits(cls, value: object) -> object:
        try:
            given = json.loads(value or "{}") if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"expected JSON, {error}") from None
        unknown = sorted(set(given) - set(LIMITS)) if isinstance(given, dict) else []
        if unknown:
            raise ValueError(f"there is no reading {unknown[0]!r}, known are: {', '.join(sorted(LIMITS))}")
        return given

    def with_password(self) -> Self:
        """The same with the password in the URLs of Redis, and with results where they are to be.

        Raises:
            ConfigError: the file cannot be read, or a URL has no place for what it says.
        """
        password = _password_in(self.redis_password_file) if self.redis_password_file else ""
        redis_url = _authorised("REDIS_URL", self.redis_url, password)
        results_url = self.results_url or redis_url
        if urlsplit(self.results_url).scheme in _REDIS:
            results_url = _authorised("RESULTS_URL", self.results_url, password)
        return self.model_copy(update={"redis_url": redis_url, "results_url": results_url})


def _password_in(path: str) -> str:
    try:
        password = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"REDIS_PASSWORD_FILE is {path!r}, which cannot be read: {why}") from None
    if not password:
        raise ConfigError(f"REDIS_PASSWORD_FILE is {path!r}, which is empty: write the password of Redis into it")
    return password


def _authorised(name: str, url: str, password: str) -> str:
    parts = urlsplit(url)
    if not password:
        return url
    if parts.scheme not in _REDIS:
        raise ConfigError(f"{name} is {parts.scheme}://, into which the password of REDIS_PASSWORD_FILE cannot be put")
    user, _, host = parts.netloc.rpartition("@")
    if ":" in user:
        raise ConfigError(f"{name} has a password and REDIS_PASSWORD_FILE is set: leave one of them out")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def _invalid(item: Any) -> str:
    """What is wrong, without what was given: a URL may have a password."""
    name = str(item["loc"][0])
    what = "expected a URL such as redis://host:6379/0" if name.endswith("_url") else item["msg"]
    return f"{name.upper()}: {what[0].lower()}{what[1:]}"
