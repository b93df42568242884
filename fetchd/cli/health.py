"""``fetchd health``: whether the daemon that runs works, for a container's HEALTHCHECK and the like."""

import os
from pathlib import Path

import click

from fetchd.config import find_config, load
from fetchd.config.paths import default_state
from fetchd.control import ControlError, ask_for_health, places
from fetchd.errors import ConfigError
from fetchd.model import HttpAddress


@click.command(short_help="Ask the running fetchd whether it works.")
@click.pass_obj
def health(config: Path | None) -> int:
    """Ask the running fetchd whether its main loop turns and its store can be written.

    One line says so. The exit code is 0 if all is well, else 1. An account that fails is no reason to be unhealthy:
    "fetchd status" tells of accounts.
    """
    path = find_config(config, os.environ)
    state, http = _whereabouts(path)
    try:
        is_healthy, text = ask_for_health(places(os.environ, state, path), source=path)
    except ControlError as error:
        is_healthy, text = _over(http) or (False, str(error))
    click.echo("healthy" if is_healthy else f"unhealthy: {text}")
    return 0 if is_healthy else 1


def _whereabouts(path: Path) -> tuple[Path, HttpAddress | None]:
    """Returns where the daemon's store is, and its HTTP endpoint.

    The file may have been broken after the daemon started, which goes on with what it had: that is not unhealthy.
    """
    try:
        settings = load(path, environ=os.environ)
    except ConfigError:
        return default_state(os.environ), None
    return settings.state, settings.http


def _over(http: HttpAddress | None) -> tuple[bool, str] | None:
    """Returns what ``/healthz`` says; None where there is none, or it does not answer."""
    if http is None:
        return None
    from fetchd.observe.ask import ask_health  # noqa: PLC0415 - http.client is heavy, and seldom needed

    return ask_health(http)
