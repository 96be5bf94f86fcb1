"""Children of the test's own process, which never go on to run its tests."""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["forked"]


def forked(run: Callable[[], object], timeout_s: int = 60) -> int:
    """Runs something in a child of this process, and waits for its end.

    Whatever is raised there ends the child. Were it to leave this function, a second pytest would go on with the first
    one's tests, and take its servers down at the end.

    Args:
        run: what it does.
        timeout_s: when it is killed by SIGALRM, in seconds.

    Returns:
        0 if it returned None or what is true, 1 if something else, or raised; the signal that killed it, negative.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest's would raise
            signal.alarm(timeout_s)
            answer = run()
            code = 0 if answer is None or answer else 1
        except BaseException:  # noqa: BLE001 - whatever it is
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
