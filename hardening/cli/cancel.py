"""``celery -A APP hardening cancel``."""

from __future__ import annotations

import click
from celery.bin.base import CeleryCommand

from hardening.core.console import deployment_of, one_line, say

__all__ = ["cancel"]

_FAILED = 1


@click.command(cls=CeleryCommand)
@click.argument("receipt")
@click.option("--terminate", is_flag=True, help="Also kill the task, if it runs.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="How long to wait for a worker that holds it.",
)
@click.pass_context
def cancel(ctx: click.Context, *, receipt: str, terminate: bool, timeout: float) -> None:
    """Cancel the message of a RECEIPT, unless it has been begun. Exits with 1 when it was not cancelled."""
    from hardening.core.errors import HardeningError  # noqa: PLC0415 - every celery call imports this module
    from hardening.delivery import Receipt  # noqa: PLC0415

    with deployment_of(ctx) as (app, _, _):
        try:
            answer = Receipt(receipt, app).cancel(timeout=timeout, terminate=terminate)
        except HardeningError as error:
            raise click.ClickException(one_line(str(error))) from None
        if answer:
            before = ", before this call" if answer.is_repeat else ""
            say(f"{answer.outcome.value}: it was in the {answer.place}, and will not run{before}")
            return
        say(f"too late: it is {answer.state.value}{_MEANING.get(answer.state.value, '')}")
        ctx.exit(_FAILED)


_MEANING = {
    "started": "; its worker was sent a revoke, so that it is not retried",
    "dead": "; see `celery dlq`",
    "unknown": ", not where its receipt says: a stock worker may have taken it",
}
