"""The command: ``python -m examples.webhooks``."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from examples.webhooks.drill import Drill, DrillError, Schedule
from examples.webhooks.endpoint import EndpointError
from examples.webhooks.events import read_events
from examples.webhooks.generator import generate
from examples.webhooks.screen import Screen
from hardening.core.errors import HardeningError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.webhooks.events import Event, Fault
    from examples.webhooks.report import Report

#: Faults in a file that are told one by one.
_FAULTS_SHOWN = 20


class _UsageError(click.ClickException):
    """What was asked cannot be done; one line."""

    exit_code = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--events", "file", metavar="FILE", help="JSON lines to deliver; default: generated ones.")
@click.option("--count", default=2000, show_default=True, type=click.IntRange(1), help="How many to generate.")
@click.option("--stock", is_flag=True, help="The same run on plain Celery, for comparison.")
@click.option("--seed", default=7, show_default=True, help="Of everything random.")
@click.option("--kills", default=3, show_default=True, type=click.IntRange(0, 10), help="How many workers to kill.")
@click.option("--json", "report_file", metavar="FILE", help="Write the report there, too.")
@click.option("--keep-logs", is_flag=True, help="Keep the logs of the workers and of the endpoint.")
def main(**options: Any) -> None:
    """Delivers webhooks over real HTTP while everything that can break does.

    Exits with 0 only when nothing was lost, 1 when something was, 2 when there was nothing to do.
    """
    signal.signal(signal.SIGTERM, _terminate)
    events = _events(options["file"], options["count"], options["seed"])
    report_file = _writable(options["report_file"])
    directory = Path(tempfile.mkdtemp(prefix="webhooks-"))
    keep = True
    try:
        report = _run(events, directory, options)
        keep = options["keep_logs"] or not (report.is_ok or report.is_stock)
    except (DrillError, EndpointError, HardeningError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        keep = options["keep_logs"]
        click.echo("Stopped; nothing is left running.", err=True)
        sys.exit(130)
    finally:
        if keep and any(directory.iterdir()):
            click.echo(f"Logs: {directory}", err=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if report_file is not None:
        report_file.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    sys.exit(report.exit_code)


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _events(file: str | None, count: int, seed: int) -> Sequence[Event]:
    if file is None:
        return generate(count, seed=seed)
    try:
        batch = read_events(Path(file))
    except OSError as error:
        raise _UsageError(f"{file}: {error.strerror}") from error
    _tell_faults(file, batch.faults)
    if not batch.events:
        raise _UsageError(f"{file}: there is no event in it to deliver")
    return batch.events


def _tell_faults(file: str, faults: Sequence[Fault]) -> None:
    for fault in faults[:_FAULTS_SHOWN]:
        click.echo(f"{file}, {fault}; not sent", err=True)
    if len(faults) > _FAULTS_SHOWN:
        click.echo(f"{file}: and {len(faults) - _FAULTS_SHOWN:,} more such lines; not sent", err=True)


def _writable(file: str | None) -> Path | None:
    if file is None:
        return None
    try:
        Path(file).touch()
    except OSError as error:
        raise _UsageError(f"{file}: {error.strerror}") from error
    return Path(file)


def _run(events: Sequence[Event], directory: Path, options: dict[str, Any]) -> Report:
    console = Console(highlight=False)
    shares = [0.15 + 0.6 * number / options["kills"] for number in range(options["kills"])]
    console.print(
        f"{len(events):,} events, {'plain Celery' if options['stock'] else 'hardened'}, seed {options['seed']}"
    )
    with Screen(console, len(events)) as screen:
        drill = Drill(
            events, directory, screen, stock=options["stock"], seed=options["seed"], schedule=Schedule(shares)
        )
        with drill:
            report = drill.run()
    console.print(report.table())
    console.print(report.verdict, style="bold green" if report.is_ok else "bold red", soft_wrap=True)
    return report


if __name__ == "__main__":
    main(prog_name="python -m examples.webhooks")
