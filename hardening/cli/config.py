"""``celery -A APP hardening config``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import CeleryCommand

from hardening.core.console import Column, as_json, deployment_of, one_line, printable, say, say_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening.core.settings import Settings

__all__ = ["config"]

_OPTIONS = "broker_transport_options"


@click.command(cls=CeleryCommand)
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_context
def config(ctx: click.Context, *, json_: bool) -> None:
    """Show every setting, and what harden() sets in Celery's configuration."""
    with deployment_of(ctx) as (app, settings, _):
        brokers, given, conf = list(_brokers(app)), _settings(settings), _conf(app, settings)
    if json_:
        say(as_json({"broker": brokers, "settings": given, "celery": conf}, indent=2))
        return
    for broker in brokers:
        say(f"broker {printable(broker)}")
    for name, setting in given.items():
        same = "the default" if setting["value"] == setting["default"] else f"default {setting['default']}"
        say(f"\n{name} = {one_line(str(setting['value']))} ({same})")
        say(click.wrap_text(setting["meaning"], 78, initial_indent="  ", subsequent_indent="  "))
    say("\nset in Celery's configuration by harden(), unless told otherwise")
    columns = (Column("name"), Column("value", folds=True), Column("Celery's default", folds=True))
    say_table(ctx, columns, [(name, each["value"], each["default"]) for name, each in conf.items()])


def _brokers(app: Celery) -> Iterator[str]:
    """The addresses of the broker, with passwords masked."""
    urls: Any = app.conf.broker_write_url or app.conf.broker_url
    for url in urls.split(";") if isinstance(urls, str) else urls:
        scheme = url.partition("://")[0]
        masked = app.connection_for_write(url).as_uri()  # begins with the name of our transport
        yield f"{scheme}://{masked.partition('://')[2]}"


def _settings(settings: Settings) -> dict[str, dict[str, Any]]:
    from hardening.cli.meanings import meanings_of  # noqa: PLC0415 - every celery call imports this module

    meanings = meanings_of(type(settings))
    values = settings.model_dump(mode="json", exclude_none=True)
    return {
        f"hardening_{name}": {
            "value": values[name],
            "default": list(field.default) if isinstance(field.default, tuple) else field.default,
            "meaning": meanings.get(name, ""),
        }
        for name, field in type(settings).model_fields.items()
    }


def _conf(app: Celery, settings: Settings) -> dict[str, dict[str, Any]]:
    """What ``harden`` sets in an app that sets nothing itself, with what it is in this app.

    Of the transport's options only these are shown: others may hold passwords.
    """
    from celery import Celery  # noqa: PLC0415

    from hardening.overrides import conf_for  # noqa: PLC0415

    stock = Celery("stock", set_as_current=False, config_source={"broker_url": "redis://"})
    names = conf_for(stock, settings)
    options = names.pop(_OPTIONS)
    shown = {
        name: {"value": app.conf[name], "default": stock.conf.get(name)}
        for name in ("broker_transport", *sorted(names))
    }
    for name in sorted(options):
        shown[f"{_OPTIONS}.{name}"] = {"value": app.conf[_OPTIONS].get(name), "default": None}
    return shown
