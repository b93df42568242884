"""``fetchd init``: what was said on the command line."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from fetchd.cli.init.credentials import Offered
from fetchd.cli.init.locate import Given, host_option
from fetchd.config import find_config
from fetchd.config.paths import new_config
from fetchd.discovery import MailAddress, parse_address
from fetchd.errors import UsageError
from fetchd.model import TlsMode
from fetchd.values import value

_Value = TypeVar("_Value")


@value
class Wishes:
    """What was said on the command line; "", None and False where nothing was."""

    add: bool = False
    address: str = ""
    host: str = ""
    port: int | None = None
    tls: str = ""
    allow_plaintext_password: bool = False
    user: str = ""
    password_file: Path | None = None
    password_env: str = ""
    password_stdin: bool = False
    client_id: str = ""
    client_secret_file: Path | None = None
    maildir: str = ""
    mbox: str = ""
    owner: str = ""
    leave: str = ""
    delete_after: str = ""
    interval: str = ""
    name: str = ""
    offline: bool = False
    yes: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Returns the options as they came.

        Raises:
            UsageError: two of them contradict each other, or one is empty.
        """
        empty = next((name for name, value in options.items() if value == ""), None)
        if empty is not None:
            raise UsageError(f"--{empty.replace('_', '-')} is empty")
        wishes = cls(**{name: value for name, value in options.items() if value is not None})
        for some, names in (
            ((wishes.maildir, wishes.mbox), "--maildir and --mbox"),
            ((wishes.leave, wishes.delete_after), "--keep or --delete and --delete-after"),
        ):
            if all(some):
                raise UsageError(f"{names} contradict each other: give one of them")
        if wishes.offered.said > 1:
            raise UsageError("several ways to log in are given: give one of --password-… and --client-id")
        return wishes

    @property
    def given(self) -> Given:
        """What was said of the server."""
        host = checked("--host", host_option, self.host) if self.host else ""
        return Given(host, self.port, TlsMode(self.tls) if self.tls else None)

    @property
    def whose(self) -> MailAddress | None:
        """Whose mail; None where no address was said."""
        return checked("--address", parse_address, self.address) if self.address else None

    @property
    def offered(self) -> Offered:
        """What was said of the login."""
        return Offered(
            self.password_file, self.password_env, self.password_stdin, self.client_id, self.client_secret_file
        )


def checked(option: str, read: Callable[[str], _Value], text: str) -> _Value:
    """Returns what an option's text means.

    Raises:
        UsageError: it means nothing.
    """
    try:
        return read(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def config_path(file: Path | None, config: Path | None, environ: Mapping[str, str], *, add: bool) -> Path:
    """Returns the file to make, or to add to.

    Args:
        file: as an argument.
        config: as ``-c``.
        environ: the process's.
        add: whether it has to exist.

    Raises:
        UsageError: it was named twice.
        ConfigError: there is no place for it, or none to add to.
    """
    if file is not None and config is not None and file != config:
        raise UsageError(f"two files are named, {config} and {file}: which one is it?")
    explicit = file or config
    if add:
        return find_config(explicit, environ)
    return explicit or new_config(environ)
