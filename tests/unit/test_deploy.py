"""How the stack gets its passwords, how its engine is found and called, and what its files must agree about."""

from __future__ import annotations

import io
import os
import re
import stat
import time
from pathlib import Path

import pytest

from deploy import engine, prepare
from tests.eventually import eventually

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Who was given which file, by its name; only root could give them."""
    given: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "chown", lambda path, *owner: given.__setitem__(Path(path).name.lstrip("."), owner))
    return given


def prepared(tmp_path: Path, *argv: str) -> tuple[int, dict[str, str]]:
    """The exit code, and all secrets."""
    directory, data = tmp_path / "secrets", tmp_path / "data"
    directory.mkdir(exist_ok=True)
    data.mkdir(exist_ok=True)
    code = prepare.main(list(argv), directory=directory, data=data)
    return code, {path.name: path.read_text().rstrip("\n") for path in directory.iterdir()}


def test_passwords_are_made_once(tmp_path: Path, owners: dict[str, tuple[int, int]]) -> None:
    """Each is readable by whom it is for, and by nobody else."""
    code, made = prepared(tmp_path)
    assert code == 0
    assert made.keys() == {"redis_password", "redis.conf", "flower_basic_auth"}
    assert len(made["redis_password"]) >= 32
    assert made["redis.conf"] == f"requirepass {made['redis_password']}"
    assert re.fullmatch(r"flower:[\w-]{20,}", made["flower_basic_auth"])
    app, redis = (10001, 10001), (999, 1000)
    assert owners == {"redis_password": app, "flower_basic_auth": app, "redis.conf": redis, "data": redis}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()}
    assert modes == {0o400}
    assert prepared(tmp_path) == (0, made)
    other = tmp_path / "other"
    other.mkdir()
    assert prepared(other)[1]["redis_password"] != made["redis_password"]


@pytest.mark.usefixtures("owners")
def test_what_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    """A password without its configuration is one that Redis never had."""
    _, made = prepared(tmp_path)
    (tmp_path / "secrets" / "redis.conf").unlink()
    (tmp_path / "secrets" / ".redis.conf").write_text("requirepa")
    _, anew = prepared(tmp_path)
    assert anew["redis_password"] != made["redis_password"]
    assert anew["redis.conf"] == f"requirepass {anew['redis_password']}"
    assert anew.keys() == made.keys()


@pytest.mark.usefixtures("owners")
def test_a_secret_of_ones_own_is_read_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it stands on no command line; the others stay."""
    _, made = prepared(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("mine-1\n"))
    code, changed = prepared(tmp_path, "redis_password")
    assert (code, changed) == (0, made | {"redis_password": "mine-1", "redis.conf": "requirepass mine-1"})
    monkeypatch.setattr("sys.stdin", io.StringIO("ops:pa:ss\n"))
    assert prepared(tmp_path, "flower_basic_auth") == (0, changed | {"flower_basic_auth": "ops:pa:ss"})


@pytest.mark.parametrize(
    ("argv", "given", "said"),
    [
        (["redis_password"], "", "redis_password may have letters"),
        (["redis_password"], 'a" b', "redis_password may have letters"),
        (["flower_basic_auth"], "nobody", "flower_basic_auth is expected as user:password"),
        (["flower_basic_auth"], ":x", "flower_basic_auth is expected as user:password"),
        (["other"], "x", "expected redis_password or flower_basic_auth"),
        (["redis_password", "x"], "x", "expected redis_password or flower_basic_auth"),
    ],
)
@pytest.mark.usefixtures("owners")
def test_a_secret_that_would_not_work_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str], given: str,
    said: str,
) -> None:  # fmt: skip
    """In one line, and nothing is written."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{given}\n"))
    assert prepared(tmp_path, *argv) == (2, {})
    assert capsys.readouterr().err.startswith(said)


def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Puts these on PATH, and nothing else that runs containers."""
    for name, script in scripts.items():
        path = tmp_path / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_docker_is_used_where_it_has_compose_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before podman."""
    commands(tmp_path, monkeypatch, docker="exit 0", podman="exit 0", podman_compose="exit 0")
    assert engine.find_engine() == engine.Engine("docker", ("docker", "compose"))


@pytest.mark.parametrize("docker", ['[ "$1" != compose ]', '[ "$1" != info ]'], ids=["no plugin", "no daemon"])
def test_podman_is_used_where_docker_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: str) -> None:
    """A client alone runs nothing."""
    commands(tmp_path, monkeypatch, docker=docker, podman="exit 0", podman_compose="exit 0")
    assert engine.find_engine() == engine.Engine("podman", ("podman-compose",))


def test_without_an_engine_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A podman without its compose does not do."""
    commands(tmp_path, monkeypatch, podman="exit 0")
    with pytest.raises(
        engine.NoEngine, match=r"^no container engine: install Docker with its compose plugin and start"
    ):
        engine.find_engine()


def test_a_call_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """And tells what it said until then."""
    pid_file = tmp_path / "pid"
    command = ("sh", "-c", f"echo begun; sleep 300 & echo $! > {pid_file}; wait")
    begin_s = time.monotonic()
    with pytest.raises(engine.CallFailed, match=r"took longer than 1 s\n  \| begun") as caught:
        engine.call(command, timeout_s=1)
    assert caught.value.code is None
    assert time.monotonic() - begin_s < 60
    pid = int(pid_file.read_text())
    eventually(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_call_that_fails_tells_its_code_and_its_end() -> None:
    """Standard error too."""
    with pytest.raises(engine.CallFailed, match=r"ended with 3\n  \| out\n  \| err$") as caught:
        engine.call(("sh", "-c", "echo out; echo err >&2; exit 3"), timeout_s=30)
    assert caught.value.code == 3
    assert engine.call(("cat",), timeout_s=30, given="said") == "said"


def test_the_files_of_the_stack_agree() -> None:
    """About who is who, and what is asked of a worker."""
    compose, dockerfile = ((_ROOT / name).read_text() for name in ("docker-compose.yml", "Dockerfile"))
    assert "USER 10001:10001" in dockerfile
    assert 'user: "999:1000"' in compose
    (probe,) = re.findall(r"^    CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert f"test: [CMD, {probe.replace(chr(34), '')[1:]}" in compose
    assert compose.count("no-new-privileges:true") == compose.count("cap_drop: [ALL]") == 2
    asked = {line.split("#")[0].strip("!") for line in (_ROOT / ".dockerignore").read_text().splitlines()}
    assert {"hardening", "dlq", "beat_schedules", "workers", "deploy", "constraints.txt", "*"} <= asked
