"""``fetchd login``: somebody allows fetchd to read an account's mail by OAuth 2, and the tokens are kept."""

import os
import random
import sys
import time
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import click

from fetchd.cli.completion import account_names
from fetchd.config import SecretReader, find_config, load
from fetchd.errors import SecretError, UsageError, printable
from fetchd.model import Secret, SecretCredential, SecretOAuth, Settings
from fetchd.oauth import browser, device
from fetchd.oauth.client import OAuthClient, new_state, new_verifier
from fetchd.oauth.files import TokenFiles
from fetchd.oauth.providers import Provider, provider_of
from fetchd.oauth.reader import refused_request
from fetchd.oauth.replies import Refusal
from fetchd.oauth.tokens import Tokens, granted, missing_scopes
from fetchd.observe.words import span


@click.command(short_help="Log an account in with OAuth 2.")
@click.argument("name", shell_complete=account_names)
@click.option("--device", "flow", flag_value="device", help="Enter a code on any device.")
@click.option("--browser", "flow", flag_value="browser", help="Use a browser that is sent back to this machine.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="With --browser: listen on this port, rather than on a free one.",
)
@click.option("--no-browser", is_flag=True, help="Start no browser, only print the address.")
@click.pass_obj
def login(config: Path | None, name: str, *, flow: str | None, port: int | None, no_browser: bool) -> None:
    """Allow fetchd to fetch the mail of an account with "oauth:", and keep the tokens.

    Microsoft's accounts, and those of providers that know it, log in on any device, by a code. Google's log in with a
    browser; where it cannot reach this machine, as over SSH, paste the address at which it ends here.
    """
    settings = load(find_config(config, os.environ), environ=os.environ)
    source = _source(settings, name)
    provider = provider_of(source)
    flow = _flow(provider, flow, port)
    client = OAuthClient(source, provider, secret=_client_secret(source, os.environ))
    files = TokenFiles.beside(settings.state)
    with files.locked(name) as file:
        file.prepare()  # what cannot be kept is not asked for
        file.discard()
    if flow == "device":
        reply = _by_device(client, provider, source)
    else:
        reply = _by_browser(client, provider, source, port=port or 0, start=not no_browser)
    tokens = granted(reply, source, provider, now=time.time(), chance=random.random())  # noqa: S311
    with files.locked(name) as file:
        file.write(tokens)
    _say_done(name, tokens, provider, missing=missing_scopes(reply, provider))


def _source(settings: Settings, name: str) -> SecretOAuth:
    account = settings.accounts.get(name)
    if account is None:
        from fetchd.config.fields import nearest  # noqa: PLC0415 - only for an answer to a misspelt name

        close = nearest(name, settings.accounts)
        meant = f'; did you mean "{close}"?' if close else f"; there are: {', '.join(sorted(settings.accounts)[:10])}"
        raise UsageError(f"no account {printable(name)!r}{meant}")
    if not isinstance(account.password, SecretOAuth):
        raise UsageError(
            f'{name} logs in with a password: nothing to do; with "oauth:" in its place it would use tokens '
            "(docs/oauth.md)"
        )
    return account.password


def _client_secret(source: SecretOAuth, environ: Mapping[str, str]) -> Secret | None:
    match source.client_secret:
        case None:
            return None
        case SecretCredential(name) if not environ.get("CREDENTIALS_DIRECTORY"):
            raise SecretError(
                f'client_secret: the systemd credential "{printable(name)}" is there for the service alone: run '
                f"CREDENTIALS_DIRECTORY=DIR fetchd login {source.account}, with the directory in which a file of that "
                "name holds it"
            )
        case stored:
            return SecretReader(environ).reveal(stored)


def _flow(provider: Provider, wish: str | None, port: int | None) -> str:
    flow = wish or ("device" if provider.device_authorization_endpoint and port is None else "browser")
    if flow == "device":
        if not provider.device_authorization_endpoint:
            raise UsageError(f"--device: {provider.no_device}; use --browser")
        if port is not None:
            raise UsageError("--port goes with --browser")
    elif not provider.authorization_endpoint:
        raise UsageError("--browser: no authorization_endpoint is configured; use --device")
    return flow


def _by_device(client: OAuthClient, provider: Provider, source: SecretOAuth) -> Mapping[str, Any]:
    begun = device.begin(client, provider)
    click.echo(f"To let fetchd fetch the mail of {source.user}, open this page on any device:\n")
    click.echo(f"    {begun.address}\n")
    click.echo(f"and enter the code {begun.user_code}")
    if begun.whole_address:
        click.echo(f"(or open {begun.whole_address})")
    waiting = _Waiting()

    def wait(pause: float, left: float) -> None:
        until = time.monotonic() + pause
        while (rest := until - time.monotonic()) > 0:
            waiting.show(left - pause + rest)
            time.sleep(min(1.0, rest))

    try:
        return device.finish(client, provider, begun, wait=wait)
    finally:
        waiting.end()


def _by_browser(
    client: OAuthClient, provider: Provider, source: SecretOAuth, *, port: int, start: bool
) -> Mapping[str, Any]:
    state, verifier = new_state(), new_verifier()
    with browser.Landing(port) as landing:
        redirect = provider.redirect.format(port=landing.port)
        url = client.authorization_url(state=state, verifier=verifier, redirect=redirect)
        click.echo(f"To let fetchd fetch the mail of {source.user}, open this page in a browser:\n\n    {url}\n")
        click.echo(
            "If the browser runs on another machine, it ends at an address that it cannot open, "
            f"http://{provider.redirect.split('/')[2].split(':')[0]}:…: paste that address here."
        )
        if start and _has_screen() and webbrowser.open(url):
            click.echo("A browser was started.")
        waiting = _Waiting()
        try:
            returned = landing.wait(
                state=state,
                terminal=_terminal(),
                tick=waiting.show,
                on_stray=lambda: click.echo("That address is not the one that this login ends at.", err=True),
            )
        finally:
            waiting.end()
    if returned.code is None:
        if returned.error == "access_denied":
            raise SecretError(f"somebody declined at {provider.name}: nothing has changed")
        raise SecretError(f"{provider.name} did not allow it: {returned.error}")
    reply = client.redeem(returned.code, verifier=verifier, redirect=redirect)
    if isinstance(reply, Refusal):
        raise refused_request(reply, provider)
    return reply


def _has_screen() -> bool:
    """Whether a browser would show up beside the terminal, rather than in it."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _terminal() -> IO[str] | None:
    try:
        sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return sys.stdin


class _Waiting:
    """A line that says how long there is to go; on a terminal only."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._last = ""

    def show(self, left: float) -> None:
        if self._shows:
            minutes, seconds = divmod(int(left), 60)
            self._last = f"\rWaiting, {minutes}:{seconds:02} left … "
            click.echo(self._last, nl=False, err=True)

    def end(self) -> None:
        if self._last:
            click.echo("\r" + " " * len(self._last) + "\r", nl=False, err=True)


def _say_done(name: str, tokens: Tokens, provider: Provider, *, missing: Sequence[str]) -> None:
    if missing:
        click.echo(
            f"{name}: {provider.name} did not grant {' '.join(missing)}, without which the mail server most likely "
            "refuses the token: run the command again, and allow all that is asked for.",
            err=True,
        )
    ends = replace(tokens, refused_at=None).ends_at()
    if tokens.refresh_token is None:
        click.echo(
            f"{name}: {provider.name} gave no refresh token, so this login lasts as long as one access token"
            f"{f', {span(ends - time.time())}' if ends else ''}: ask for a scope that allows offline access.",
            err=True,
        )
    lasts = f", and lasts {span(ends - time.time())} unless it is renewed" if ends and tokens.refresh_token else ""
    click.echo(f"{name} is logged in{lasts}.")
    click.echo(f"A fetchd that runs takes the token at its next poll of {name}; at once after: fetchd poll {name}")
