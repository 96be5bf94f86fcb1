"""What runs in a child: one subject that answers questions until there are no more.

``python -m benchmarks.subject module:Class '{...}'``; each question and each answer is one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

from benchmarks.placement import Placement

__all__: list[str] = []


def main(subject: str, spec: str) -> None:
    """Makes the subject, says so, and answers. Whatever else is printed goes to standard error."""
    if processor := os.environ.get("BENCHMARKS_PROCESSOR"):
        Placement.hold(0, int(processor))
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def say(answer: Any) -> None:
            answers.write(f"{json.dumps(answer)}\n")
            answers.flush()

        module, _, name = subject.partition(":")
        answer = getattr(import_module(module), name)(**json.loads(spec))
        say("ready")
        for line in sys.stdin:
            say(answer(**json.loads(line)))


if __name__ == "__main__":
    main(*sys.argv[1:])
