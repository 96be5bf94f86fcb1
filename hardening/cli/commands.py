"""The group of commands that ``celery`` finds by its entry point."""

from __future__ import annotations

import click
from celery.bin.base import handle_preload_options

from hardening.cli.beat import beat
from hardening.cli.cancel import cancel
from hardening.cli.config import config
from hardening.cli.detach import detach
from hardening.cli.health import health
from hardening.cli.status import status
from hardening.cli.verify import verify

__all__ = ["hardening"]


@click.group()
@click.pass_context
@handle_preload_options
def hardening(ctx: click.Context) -> None:
    """Ask a hardened deployment how it is, cancel a message, or leave it.

    \b
    Exit codes:
      0  done; for verify: the ledger balances; for health: a worker here lives
      1  failed or refused; for verify: the ledger does not balance; for cancel: it was too late; for health: none does
      2  called in a way that makes no sense
    """  # noqa: D301 - click wants the control character itself


for _command in (status, verify, health, config, detach, cancel, beat):
    hardening.add_command(_command)
