"""Running a function in a process of its own, which is killed when its time is up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardening.boundaries.errors import IsolationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["isolate"]

_ENTRY = Path(__file__).with_name("isolated.py")
_LONGEST_S = 7 * 86_400.0


def isolate(function: Callable[..., Any] | str, *args: Any, timeout: float, **kwargs: Any) -> Any:
    """Runs a function in a process of its own: what it crashes, leaks or blocks is not this one.

    The process is a fresh Python, about 50 ms away, with this one's import path and environment; it works from any
    process, also from the children of a prefork pool, which may have no children by ``multiprocessing``. It is in a
    session of its own, and it and what it started are killed when the time is up, when the function has returned, and
    when this process dies. What it prints goes to standard error.

    Does not guarantee: that what left the session (a daemon) is killed.

    Args:
        function: of a module, not of ``__main__``: itself, or as ``module:name``.
        *args: JSON.
        timeout: for all of it together, in seconds.
        **kwargs: JSON.

    Returns:
        What the function returned, as JSON has it: tuples become lists.

    Raises:
        IsolationError: it has no result: its time was up, it raised, its process died, or its result is no JSON.
        ValueError: the function cannot be found by its name, or the timeout makes no sense.
        TypeError: an argument is no JSON.
    """
    if not 0 < timeout <= _LONGEST_S:
        raise ValueError(f"timeout is {timeout!r}, expected seconds, more than 0 and at most {_LONGEST_S:g}")
    name = function if isinstance(function, str) else _name_of(function)
    if name.count(":") != 1:
        raise ValueError(f"function is {name!r}, expected module:name")
    request = json.dumps({"function": name, "args": args, "kwargs": kwargs, "path": sys.path})
    lifeline, held = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_ENTRY), str(lifeline)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[lifeline], start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(lifeline)
    try:
        answer, _ = process.communicate(request.encode(), timeout)
    except subprocess.TimeoutExpired:
        raise IsolationError(name, "timeout", f"its time of {timeout:g} s was up") from None
    finally:
        if process.returncode is None:
            _kill(process)
        os.close(held)
    return _result(name, answer, process.returncode)


def _name_of(function: Any) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function or module == "__main__":
        raise ValueError(f"function is {function!r}, expected one that another process can import by its name")
    return f"{module}:{name}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Its whole session; its pid is still its own, for nobody has waited for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _result(name: str, answer: bytes, code: int) -> Any:
    try:
        told = json.loads(answer)
    except ValueError:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise IsolationError(name, "died", f"its process ended with {how}") from None
    if "result" in told:
        return told["result"]
    raise IsolationError(name, told["why"], told["text"], told["remote"])
