"""``fetchd init``: how the account logs in, and what the configuration says of it."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from fetchd.cli.init.interview import Interview, password_from_stdin
from fetchd.config import fields
from fetchd.errors import UsageError
from fetchd.model import Secret
from fetchd.providers import Provider
from fetchd.values import value

_OAUTH_DOC: Final = "docs/oauth.md"


@value
class Login:
    """How an account logs in.

    Attributes:
        key: ``password`` or ``oauth``.
        mapping: what is written under that key already.
        password: to be put into a file of its own, which goes under ``file``; None where there is nothing to put.
        client_secret: the same, of an OAuth application.
    """

    key: str
    mapping: Mapping[str, object] = field(default_factory=dict)
    password: Secret | None = None
    client_secret: Secret | None = None


@value
class Offered:
    """What was said of the login on the command line; "", None and False where nothing was."""

    password_file: Path | None = None
    password_env: str = ""
    password_stdin: bool = False
    client_id: str = ""
    client_secret_file: Path | None = None

    @property
    def said(self) -> int:
        """How many ways to log in were named: more than one is one too many."""
        ways = (self.password_file is not None, bool(self.password_env), self.password_stdin, bool(self.client_id))
        return sum(ways)


def missing_login(provider: Provider | None) -> str:
    """Returns what to give where nothing was said of the login, and nobody can be asked."""
    if provider is not None and provider.needs_oauth:
        return f"the login ({provider.name} takes OAuth alone): give --client-id ID (see {_OAUTH_DOC})"
    return "the password: give --password-file FILE, --password-env VARIABLE or --password-stdin"


def choose_login(offered: Offered, provider: Provider | None, *, user: str, interview: Interview) -> Login:
    """Returns how to log in, as it was said, or asked for.

    Raises:
        UsageError: something that was said is no good, or nothing was, and nobody can be asked.
    """
    if provider is not None and provider.enable:
        interview.say(f"At {provider.name}: {provider.enable}")
    if offered.client_id or _wants_oauth(offered, provider, interview):
        return _oauth(offered, provider, interview)
    if offered.password_file is not None:
        return Login("password", {"file": str(_readable(offered.password_file, "--password-file"))})
    if offered.password_env:
        return Login("password", {"env": _said(offered.password_env)})
    if offered.password_stdin:
        return Login("password", password=Secret(password_from_stdin()))
    if not interview.terminal:
        raise UsageError(missing_login(provider))
    if provider is not None and provider.password:
        interview.say(f"At {provider.name}: {provider.password}")
    return Login("password", password=Secret(interview.password(f"Password of {user} (not shown)")))


def _wants_oauth(offered: Offered, provider: Provider | None, interview: Interview) -> bool:
    if offered.said or provider is None or not provider.oauth:
        return False
    if provider.needs_oauth:
        interview.say(f"{provider.name} takes no passwords from programs, only OAuth.")
        return True
    return interview.sure("Log in with OAuth, and not with an app password?", proposed=False)


def _oauth(offered: Offered, provider: Provider | None, interview: Interview) -> Login:
    if provider is None or not provider.oauth:
        raise UsageError(
            f"--client-id: nothing is known of this provider's OAuth: give a password, and see {_OAUTH_DOC} for "
            "oauth: {provider: custom, …}"
        )
    if not offered.client_id:
        interview.say(f"OAuth needs an application of your own at {provider.name}, made once: {_OAUTH_DOC} says how.")
    client = offered.client_id or interview.text("Client id of that application", fields.one_word, option="--client-id")
    mapping: dict[str, object] = {"provider": provider.oauth, "client_id": _word(client)}
    if offered.client_secret_file is not None:
        file = str(_readable(offered.client_secret_file, "--client-secret-file"))
        return Login("oauth", {**mapping, "client_secret": {"file": file}})
    if provider.oauth != "google":
        return Login("oauth", mapping)
    if not interview.terminal:
        raise UsageError("the application's secret is missing, which Google's have: give --client-secret-file FILE")
    return Login("oauth", mapping, client_secret=Secret(interview.password("Client secret (not shown)")))


def _word(client: str) -> str:
    try:
        return fields.one_word(client)
    except ValueError as error:
        raise UsageError(f"--client-id: {error}") from error


def _said(variable: str) -> str:
    try:
        return fields.variable(variable)
    except ValueError as error:
        raise UsageError(f"--password-env: {error}") from error


def _readable(path: Path, option: str) -> Path:
    if not path.is_file():
        raise UsageError(f"{option} {path}: there is no such file")
    return path.absolute()
