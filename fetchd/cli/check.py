"""``fetchd check``: whether the configuration can be used, without touching the network."""

import os
from pathlib import Path

import click

from fetchd.cli.summary import counted
from fetchd.config import find_config, load


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def check(config: Path | None, quiet: bool) -> None:
    """Check the configuration: all errors at once, with file and line."""
    path = find_config(config, os.environ)
    settings = load(path, environ=os.environ)
    if quiet:
        return
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{path}: {counted(len(settings.accounts), 'account')}, no errors; the store is {settings.state}")
