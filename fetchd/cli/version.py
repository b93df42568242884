"""``fetchd --version``: of fetchd, and of all that it stands on."""

import platform
import sqlite3
import ssl
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import click
import yaml

from fetchd import __version__

PACKAGES: Final = (
    "authlib",
    "click",
    "dnspython",
    "httpx",
    "idna",
    "jinja2",
    "keyring",
    "prometheus-client",
    "pydantic",
    "python-socks",
    "pyyaml",
    "rich",
    "scramp",
    "structlog",
)
"""What fetchd depends on, extras included."""


def print_versions(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Prints the versions and ends, as click calls it for a flag."""
    if wanted and not context.resilient_parsing:
        click.echo("\n".join(versions()))
        context.exit()


def versions() -> Iterator[str]:
    """Yields a line for each program and library, fetchd's own first."""
    yield f"fetchd {__version__}"
    yield f"{platform.python_implementation()} {platform.python_version()}, {_system()}"
    yield ssl.OPENSSL_VERSION
    yield f"SQLite {sqlite3.sqlite_version}"
    for name in PACKAGES:
        yield f"{name} {_installed(name)}"


def _installed(name: str) -> str:
    """Returns a package's version; no version of it need be here, for an extra is not, or it was never installed."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
    # libyaml makes a configuration of thousands of accounts read within seconds.
    return f"{version}, {'with' if yaml.__with_libyaml__ else 'without'} libyaml" if name == "pyyaml" else version


def _system() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()}"
