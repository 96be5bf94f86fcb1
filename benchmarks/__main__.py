"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from benchmarks.catalogue import MEASURES
from benchmarks.machine import describe
from benchmarks.report import Report
from benchmarks.stage import Stage
from hardening.core.errors import HardeningError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.catalogue import Measure

_RESULTS = Path(__file__).parent / "results"


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]}, epilog=f"NAMES: {', '.join(MEASURES)}; default: all."
)
@click.argument("names", nargs=-1, type=click.Choice(list(MEASURES)), metavar="[NAMES]...")
@click.option("--quick", is_flag=True, help="Small sizes and few rounds: a look, not a result.")
@click.option("--json", "json_file", metavar="FILE", help="Where to write JSON; see below for the default.")
@click.option("--redis", "server", metavar="PATH", help="The server to measure on; default: the one on PATH.")
@click.option("--rounds", type=click.IntRange(1, 100), help="Rounds of every measure; default: each its own number.")
@click.option("--strict", is_flag=True, help="A missed target is a failure, too.")
def main(**options: Any) -> None:
    """Measures hardened against stock Celery in the same run.

    The whole run is kept in benchmarks/results/latest.json. Any other, with --quick, with --rounds or of some measures
    only, goes to partial.local.json beside it, which git ignores.

    Exits with 0 when everything could be measured, 1 when something could not, 2 when nothing was asked for that
    exists.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    names = list(dict.fromkeys(options["names"])) or list(MEASURES)
    is_whole = len(names) == len(MEASURES) and not (options["quick"] or options["rounds"])
    path = Path(options["json_file"] or _RESULTS / ("latest.json" if is_whole else "partial.local.json"))
    console = Console(highlight=False)
    began_s = time.monotonic()
    with ExitStack() as stack:
        stage = _stage(stack, options)
        try:
            report = _begin(stage)
        except HardeningError as error:
            raise click.UsageError(str(error)) from error
        try:
            run({name: MEASURES[name] for name in names}, stage, report)
        except KeyboardInterrupt:
            stack.close()
            report.took_s = time.monotonic() - began_s
            report.print(console)
            click.echo("Stopped; nothing is left running, and no JSON was written.", err=True)
            sys.exit(130)
    report.took_s = time.monotonic() - began_s
    report.print(console)
    _write(report, path)
    sys.exit(1 if report.failures or (options["strict"] and report.missed) else 0)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _stage(stack: ExitStack, options: dict[str, Any]) -> Stage:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
    screen = Console(stderr=True)
    tell: Callable[[str], None] = lambda _: None  # noqa: E731
    if screen.is_terminal:
        tell = stack.enter_context(screen.status("starting")).update
    return Stage(directory, server=options["server"], quick=options["quick"], rounds=options["rounds"], tell=tell)


def _begin(stage: Stage) -> Report:
    """An empty report; finds out early whether there is a server."""
    with stage.redis() as server:
        placement = asdict(stage.placement) if stage.placement else None
        return Report({**describe(server.client), "placement": placement}, stage.quick)


def run(measures: Mapping[str, Measure], stage: Stage, report: Report) -> None:
    """Takes every measure; one that fails does not keep the others from being taken."""
    tell, began_s = stage.tell, time.monotonic()
    for number, (name, measure) in enumerate(measures.items(), 1):
        head = f"{name} ({number} of {len(measures)})"
        stage.tell = lambda text, head=head: tell(f"{time.monotonic() - began_s:4.0f} s  {head}: {text}")  # type: ignore[misc]
        try:
            report.rows[name] = measure.run(stage)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and the others go on
            report.failures[name] = _line(error)
        report.notes[name] = measure.about


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _write(report: Report, path: Path) -> None:
    try:
        report.write(path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    click.echo(f"Written to {path}.", err=True)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
