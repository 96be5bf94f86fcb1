"""The other side of :func:`hardening.boundaries.isolation.isolate`: runs as a script, and imports nothing of ours.

It reads one request, answers with one JSON object on what was its standard output, and ends by killing its session.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from importlib import import_module
from typing import Any

__all__ = ["main", "run"]

#: The longest result, and how much of a traceback is told.
_MOST, _TRACEBACK = 2**24, 10_000


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Calls the function that a request names; says what came of it."""
    try:
        module, _, name = request["function"].partition(":")
        function: Any = import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except Exception as error:  # noqa: BLE001 - told to whoever waits
        return _failed("refused", f"it cannot be imported: {type(error).__name__}: {error}", error)
    try:
        result = function(*request["args"], **request["kwargs"])
    except BaseException as error:  # noqa: BLE001 - likewise, also of what leaves by sys.exit
        return _failed("raised", f"it raised {type(error).__name__}: {error}", error)
    try:
        size = len(json.dumps(result))
    except (TypeError, ValueError, RecursionError) as error:
        return _failed("refused", f"its result is no JSON: {error}", error)
    if size > _MOST:
        return _failed("refused", f"its result is longer than {_MOST} characters", None)
    return {"result": result}


def _failed(why: str, text: str, error: BaseException | None) -> dict[str, Any]:
    remote = "".join(traceback.format_exception(error)) if error is not None else ""
    return {"why": why, "text": text, "remote": remote[-_TRACEBACK:]}


def _end_with(lifeline: int) -> None:
    """Waits until the other side is no more, and then neither is this one."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Runs one request."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what the function prints is no answer
    lifeline = int(sys.argv[1])
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - its only parameter
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    request = json.loads(sys.stdin.buffer.read())
    sys.path[:] = request["path"]
    told = json.dumps(run(request)).encode()
    sys.stdout.flush()
    sys.stderr.flush()
    while told:
        told = told[os.write(answer, told) :]
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
