"""The long form of the fault tests: hundreds of kills, and every message accounted for.

    python -m tests.faults.chaos --kills 500 --seed 1

Runs rounds until there have been so many kills. Each round has a Redis of its own, two or three workers of
mixed pools behind proxies, and a steady load of every kind of message. Workers are killed, frozen, restarted
and cut off at moments drawn from the seed; in every other round Redis keeps an append-only file and is killed,
too. Then everybody is well again, everything drains, and the round is judged: nothing may be lost, every
duplicate must have a fault that answers for it, and the ledger must balance at every reading.

The report is written after every round; run again with the same options, it goes on where it stopped, also for
more kills than before. Exit code 1: something was lost, unbalanced or over bound;
130: it was interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tests.faults.chaos_plan import RoundPlan
from tests.faults.chaos_report import OtherRunError, Outcome, Report
from tests.faults.chaos_round import Round
from tests.faults.chaos_stock import StockRound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.chaos_verdict import Fault

__all__ = ["main"]

#: Rounds that break one after the other before it gives up.
_MOST_BROKEN = 3
#: Complaints that are shown; the report has all.
_MOST_COMPLAINTS = 40
_POOLS = ("prefork", "threads", "solo")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=500, help="SIGKILLs of workers and of pool children, together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="default: chaos-report.json, or chaos-stock-report.json")
    parser.add_argument("--pools", type=_pools, default=_POOLS, help="some of prefork,threads,solo")
    parser.add_argument("--minutes-max", type=float, default=float("inf"), help="begin no round after so long")
    parser.add_argument("--stock", action="store_true", help="the control arm: the same kills on plain Celery")
    options = parser.parse_args(arguments)
    options.report = options.report or Path("chaos-stock-report.json" if options.stock else "chaos-report.json")
    return options


def _pools(text: str) -> tuple[str, ...]:
    pools = tuple(text.split(","))
    if unknown := set(pools) - set(_POOLS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: expected some of {', '.join(_POOLS)}")
    return pools


def _teller(number: int) -> Callable[[Fault], None]:
    begin_s = time.monotonic()

    def tell(fault: Fault) -> None:
        held = f"in flight {fault.inflight}, begun {fault.begun}" if fault.inflight else ""
        words = (
            f"round {number}",
            f"{fault.at_s - begin_s:5.1f} s",
            f"{fault.kind:13}",
            fault.victim,
            held,
            fault.note,
        )
        sys.stderr.write(f"{'  '.join(word for word in words if word)}\n")

    return tell


def _run_round(plan: RoundPlan, *, stock: bool) -> Outcome:
    make = StockRound if stock else Round
    round_ = make(plan, _teller(plan.number))
    outcome: Outcome | None = None
    try:
        with round_:
            outcome = round_.run()
    except Exception as error:  # noqa: BLE001 - the edge: one round that breaks is a finding, not the end
        outcome = Outcome(number=plan.number, crews=[str(crew) for crew in plan.crews], aof=plan.aof, is_broken=True)
        outcome.findings.append(f"broken: {type(error).__name__}: {error}")
        outcome.faults = round_.faults
    finally:
        if outcome is None or outcome.is_clean or stock:
            round_.forget()
    outcome.evidence = "" if outcome.is_clean or stock else str(round_.directory)
    return outcome


def _tell_outcome(outcome: Outcome) -> None:
    state = "clean" if outcome.is_clean else "BAD" if outcome.is_bad else "odd"
    told = f"{outcome.sent} sent, {len(outcome.wrong)} wrong, {outcome.duplicates} duplicates, {outcome.dead} dead"
    sys.stderr.write(f"round {outcome.number}  {state}: {told}, {outcome.seconds:.0f} s\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; the exit code."""
    options = _parse(arguments)
    identity: dict[str, Any] = {"pools": list(options.pools), "stock": options.stock}
    try:
        report = Report.resume(options.report, options.seed, identity)
    except OtherRunError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_s, broken, interrupted = time.monotonic() + options.minutes_max * 60, 0, False
    try:
        while report.kills < options.kills and time.monotonic() < end_s and broken < _MOST_BROKEN:
            left = options.kills - report.kills
            plan = RoundPlan.draw(
                options.seed, len(report.rounds) + 1, kills=left, pools=options.pools, stock=options.stock
            )
            report.rounds.append(_run_round(plan, stock=options.stock))
            report.save(options.report)
            broken = broken + 1 if report.rounds[-1].is_broken else 0
            _tell_outcome(report.rounds[-1])
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the round that was going on does not count\n")
        interrupted = True
    console = Console(width=110)
    console.print(report.table())
    complaints = [] if options.stock else report.complaints()
    for complaint in complaints[:_MOST_COMPLAINTS]:
        console.print(complaint, markup=False, highlight=False, soft_wrap=True)
    if len(complaints) > _MOST_COMPLAINTS:
        console.print(f"and {len(complaints) - _MOST_COMPLAINTS} more, see {options.report}")
    console.print(report.verdict(kills=options.kills), markup=False, highlight=False, soft_wrap=True)
    if interrupted:
        return 130
    return int(report.is_bad and not options.stock)


if __name__ == "__main__":
    sys.exit(main())
