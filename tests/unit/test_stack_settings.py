"""The settings of the stack: from the environment, with the password in no place where it can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.errors import ConfigError
from workers.settings import StackSettings

if TYPE_CHECKING:
    from pathlib import Path


def faults_of(**environ: str) -> tuple[str, ...]:
    """What is told of an environment."""
    with pytest.raises(ConfigError) as caught:
        StackSettings.load(environ)
    return caught.value.faults


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    """A password that a URL must quote."""
    path = tmp_path / "password"
    path.write_text("p@ss/w:rd#1\n")
    return str(path)


def test_what_nobody_says_has_defaults() -> None:
    """Results are kept where the messages are."""
    settings = StackSettings.load({})
    assert settings.redis_url == settings.results_url == "redis://localhost:6379/0"
    assert (settings.redis_password_file, settings.result_expires_s, settings.log_level) == ("", 86_400.0, "INFO")
    assert settings.include == ()


def test_everything_can_be_said(password_file: str) -> None:
    """Under its name in capitals; other variables are none of its business."""
    environ = {
        "REDIS_URL": "rediss://shop@redis:6380/2", "RESULTS_URL": "redis://results/1", "RESULT_EXPIRES_S": "60",
        "REDIS_PASSWORD_FILE": password_file, "LOG_LEVEL": "DEBUG",
        "INCLUDE": " shop.tasks, shop.more,",
        "TASK_BOUND": "9", "TASK_CONCURRENCY": "3", "TASK_WHEN_FULL": "drop_lowest",
        "TASK_PAUSE_ERRORS": "4", "TASK_PAUSE_WITHIN_S": "5", "MONITOR_EVERY_S": "2", "MONITOR_DISK": "/data",
        "MONITOR_LIMITS": '{"disk": {"resolve": 0.5, "raise_at": 0.6}}', "PATH": "/bin", "redis_url": "nonsense",
    }  # fmt: skip
    assert StackSettings.load(environ).model_dump() == {
        "redis_url": "rediss://shop:p%40ss%2Fw%3Ard%231@redis:6380/2",
        "results_url": "redis://:p%40ss%2Fw%3Ard%231@results/1",
        "redis_password_file": password_file,
        "result_expires_s": 60.0,
        "log_level": "DEBUG",
        "include": ("shop.tasks", "shop.more"),
        "task_bound": 9,
        "task_concurrency": 3,
        "task_when_full": "drop_lowest",
        "task_pause_errors": 4,
        "task_pause_within_s": 5.0,
        "monitor_every_s": 2.0,
        "monitor_disk": "/data",
        "monitor_limits": {"disk": {"resolve": 0.5, "raise_at": 0.6, "for_looks": 2}},
    }


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{", "expected JSON"),
        ('{"disc": {}}', "there is no reading 'disc', known are: cpu, "),
        ('{"disk": {"resolve": 1, "raise_at": 1}}', "expected less than raise_at"),
        ("[]", "valid dictionary"),
    ],
)
def test_limits_that_make_no_sense_are_told(limits: str, said: str) -> None:
    """All in one line; nothing at all is no limit."""
    (fault,) = faults_of(MONITOR_LIMITS=limits)
    assert said in fault
    assert StackSettings.load({"MONITOR_LIMITS": ""}).monitor_limits == {}


def test_it_reads_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is given none."""
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere/3")
    assert StackSettings.load().redis_url == "redis://elsewhere/3"


def test_results_elsewhere_do_not_get_the_password(password_file: str) -> None:
    """It is that of Redis."""
    settings = StackSettings.load({"REDIS_PASSWORD_FILE": password_file, "RESULTS_URL": "db+sqlite:///r.db"})
    assert settings.results_url == "db+sqlite:///r.db"


def test_a_password_file_must_be_readable(tmp_path: Path) -> None:
    """And have a password."""
    (missing, empty, binary) = (tmp_path / name for name in ("missing", "empty", "binary"))
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    assert faults_of(REDIS_PASSWORD_FILE=str(missing)) == (
        f"REDIS_PASSWORD_FILE is {str(missing)!r}, which cannot be read: No such file or directory",
    )
    assert faults_of(REDIS_PASSWORD_FILE=str(empty)) == (
        f"REDIS_PASSWORD_FILE is {str(empty)!r}, which is empty: write the password of Redis into it",
    )
    assert faults_of(REDIS_PASSWORD_FILE=str(binary))[0].endswith("which cannot be read: it is not UTF-8")


def test_two_passwords_are_one_too_many(password_file: str) -> None:
    """Neither is told."""
    (fault,) = faults_of(REDIS_URL="redis://:hunter2@redis/0", REDIS_PASSWORD_FILE=password_file)
    assert fault == "REDIS_URL has a password and REDIS_PASSWORD_FILE is set: leave one of them out"


def test_a_password_is_put_into_redis_urls_only(password_file: str) -> None:
    """Not silently left out of others."""
    (fault,) = faults_of(REDIS_URL="sentinel://one:26379", REDIS_PASSWORD_FILE=password_file)
    assert fault == "REDIS_URL is sentinel://, into which the password of REDIS_PASSWORD_FILE cannot be put"


@pytest.mark.parametrize("theirs", ["CELERY_BROKER_URL", "BROKER_URL", "CELERY_RESULT_BACKEND", "RESULT_BACKEND"])
def test_what_celery_would_prefer_is_refused(theirs: str) -> None:
    """It reads these before what an app says, so it would connect elsewhere, or without the password."""
    ours = "REDIS_URL" if "BROKER" in theirs else "RESULTS_URL"
    (fault,) = faults_of(**{theirs: "redis://other"})
    assert fault == f"{theirs} is set, which Celery would use instead, without the password: set {ours}"
    assert StackSettings.load({theirs: ""}).redis_url == "redis://localhost:6379/0"


def test_all_faults_are_told_at_once_and_no_password() -> None:
    """A URL may have one."""
    faults = faults_of(REDIS_URL=":hunter2@redis", LOG_LEVEL="LOUD", RESULT_EXPIRES_S="0", BROKER_URL="redis://x")
    assert [fault.split(":")[0].split(" ")[0] for fault in faults] == [
        "BROKER_URL", "REDIS_URL", "RESULT_EXPIRES_S", "LOG_LEVEL"
    ]  # fmt: skip
    assert "expected a URL such as redis://host:6379/0" in faults[1]
    assert "'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'" in faults[3]
    assert "hunter2" not in str(faults)
    missing = "/missing"
    both = faults_of(REDIS_PASSWORD_FILE=missing, BROKER_URL="redis://x")
    assert [fault.split(" ")[0] for fault in both] == ["BROKER_URL", "REDIS_PASSWORD_FILE"]
