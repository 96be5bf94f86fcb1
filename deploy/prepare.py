"""What the stack needs before its first start: passwords of its own, and a place for Redis' data.

The service ``prepare`` runs it each time the stack goes up, as root with no capability but CHOWN. What is there
stays. ``prepare redis_password < file`` sets one instead.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

__all__ = ["main"]

#: Whom the files belong to: in the image, and in that of Redis.
_APP, _REDIS = (10001, 10001), (999, 1000)
_PASSWORD, _CONF, _FLOWER = "redis_password", "redis.conf", "flower_basic_auth"
#: What Redis takes without quotes in a configuration, and so do URLs.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")


def main(argv: list[str], *, directory: Path, data: Path) -> int:
    """Prepares; returns the exit code.

    Args:
        argv: nothing, or the name of the one secret that standard input has.
        directory: where secrets are kept.
        data: of Redis.
    """
    if argv:
        name, given = argv[0], sys.stdin.readline().strip()
        if len(argv) > 1 or name not in (_PASSWORD, _FLOWER):
            print(f"expected {_PASSWORD} or {_FLOWER}, and its value on standard input", file=sys.stderr)
            return 2
        if fault := _fault_of(name, given):
            print(f"{name} {fault}", file=sys.stderr)
            return 2
        _write(directory, name, given)
    else:
        if not (directory / _CONF).exists():
            _write(directory, _PASSWORD, secrets.token_urlsafe(32))
        if not (directory / _FLOWER).exists():
            _write(directory, _FLOWER, f"flower:{secrets.token_urlsafe(18)}")
    os.chown(data, *_REDIS)
    return 0


def _fault_of(name: str, given: str) -> str:
    user, colon, password = given.rpartition(":")
    if name == _FLOWER and not (user and colon and password):
        return "is expected as user:password"
    if name == _PASSWORD and not (given and _PLAIN.issuperset(given)):
        return "may have letters, digits and -_.~ only, and at least one of them"
    return ""


def _write(directory: Path, name: str, value: str) -> None:
    """Each file is readable by one user, and there as a whole or not at all; Redis' own comes last."""
    _place(directory / name, value, _APP)
    if name == _PASSWORD:
        _place(directory / _CONF, f"requirepass {value}", _REDIS)


def _place(path: Path, text: str, owner: tuple[int, int]) -> None:
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w") as sink:
        sink.write(f"{text}\n")
    os.chown(draft, *owner)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], directory=Path("/secrets"), data=Path("/data")))
