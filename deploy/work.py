"""Sends work as a producer does, and waits for it. Runs in a container of the stack, read from standard input."""

from __future__ import annotations

import json
import sys
from collections import Counter

from hardening import send_many
from workers.tasks import echo


def main(count: int, seconds: float, timeout_s: float) -> None:
    """Sends so many messages, each of which takes so long, and prints what became of them as JSON."""
    receipts = send_many(echo, ((number,) for number in range(count)), kwargs={"after_s": seconds})
    print(f"sent {len(receipts)}", flush=True)
    wrong = [number for number, receipt in enumerate(receipts) if receipt.result(timeout=timeout_s) != number]
    states = Counter(str(receipt.wait("acked", timeout=timeout_s)) for receipt in receipts)
    print(json.dumps({"states": states, "wrong": wrong}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
