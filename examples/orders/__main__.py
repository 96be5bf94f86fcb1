"""The command: ``python -m examples.orders``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

import click
from rich.console import Console

from examples.orders.crew import Crew
from examples.orders.gateway import Gateway
from examples.orders.order import generate
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import HardeningError

if TYPE_CHECKING:
    from examples.orders.audit import Audit


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--orders", default=60, show_default=True, type=click.IntRange(4, 10_000), help="How many come.")
@click.option("--seed", default=1, show_default=True, help="Of everything random.")
@click.option("--json", "books", type=click.File("w", lazy=False), help="Write the books there, too.")
@click.option("--keep-logs", is_flag=True, help="Keep the logs of the workers and of the beat.")
def main(orders: int, seed: int, books: IO[str] | None, *, keep_logs: bool) -> None:
    """Runs an order service for a day of some seconds, and kills one of its two workers halfway.

    Exits with 0 only when the books agree: nothing was lost, nothing was done twice.
    """
    signal.signal(signal.SIGTERM, _terminate)
    directory = Path(tempfile.mkdtemp(prefix="orders-"))
    keep = True
    try:
        audit = _run(orders, seed, directory)
        keep = keep_logs or bool(audit.faults())
    except HardeningError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        keep = keep_logs
        click.echo("Stopped; nothing is left running.", err=True)
        sys.exit(130)
    finally:
        if keep:
            click.echo(f"Logs: {directory}", err=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if books:
        books.write(json.dumps(audit.to_json(), indent=2) + "\n")
    sys.exit(audit.exit_code)


def _run(count: int, seed: int, directory: Path) -> Audit:
    console, begin_s = Console(highlight=False), time.monotonic()

    def tell(text: str) -> None:
        console.print(f"{time.monotonic() - begin_s:5.1f} s  {text}")

    with EmbeddedRedis(port=0) as redis, Gateway(seed=seed, sick_after=count // 2) as gateway:
        os.environ.update(ORDERS_REDIS=redis.broker_url, ORDERS_GATEWAY=gateway.url, XDG_STATE_HOME=str(directory))
        from examples.orders.day import Day, DayError  # noqa: PLC0415 - the app reads where its Redis is when it is made

        with Crew(directory) as crew:
            try:
                audit = Day(generate(count, seed=seed), crew, gateway, tell).run()
            except DayError as error:
                raise click.ClickException(str(error)) from error
    console.print(audit.table())
    for fault in audit.faults():
        console.print(f"- {fault}", style="red")
    console.print(audit.verdict, style="bold red" if audit.faults() else "bold green", soft_wrap=True)
    return audit


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main(prog_name="python -m examples.orders")
