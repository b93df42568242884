"""``fetchd check``: whether the configuration can be used, and with ``--connect`` whether the servers agree."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fetchd.cli.completion import account_names
from fetchd.config import find_config, load
from fetchd.errors import UsageError
from fetchd.model import SecretOAuth, Settings
from fetchd.observe.escape import shown_text
from fetchd.wording import counted

if TYPE_CHECKING:
    from fetchd.trial import Trial


@click.command(short_help="Check the configuration, and try it at the servers.")
@click.option("--connect", is_flag=True, help="Log in everywhere and look; nothing is fetched or deleted.")
@click.option(
    "-a",
    "--account",
    "names",
    multiple=True,
    metavar="NAME",
    help="With --connect: only this account.",
    shell_complete=account_names,
)
@click.option("--json", "as_json", is_flag=True, help="With --connect: print what was found as JSON.")
@click.option("--strict", is_flag=True, help="Exit with 1 where there are warnings.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def check(
    config: Path | None, *, connect: bool, names: tuple[str, ...], as_json: bool, strict: bool, quiet: bool
) -> int:
    """Check the configuration: all errors at once, with file and line, and warnings of what will hurt.

    With --connect, fetchd logs in to every account as well and leaves again, also while the daemon runs: it tells what
    protects the line, what waits, and what the next poll would do. An account whose server is busy does not count as
    failed.

    The exit code is 0 where all is well, 1 where an account failed (or, with --strict, there are warnings), and 78
    where the configuration cannot be used.
    """
    if (names or as_json) and not connect:
        raise UsageError("-a and --json go with --connect")
    path = find_config(config, os.environ)
    settings = load(path, environ=os.environ, thorough=True)
    warnings = settings.warnings if connect else (*settings.warnings, *_not_logged_in(settings))
    if not quiet:
        for warning in warnings:
            click.echo(f"warning: {shown_text(warning)}", err=True)
    if connect:
        is_well = _try(settings, names, as_json=as_json, quiet=quiet)
    else:
        is_well = True
        if not quiet:
            click.echo(f"{path}: {_verdict(settings, len(warnings))}; the store is {shown_text(str(settings.state))}")
    return 0 if is_well and not (strict and warnings) else 1


def _verdict(settings: Settings, warnings: int) -> str:
    also = f", {counted(warnings, 'warning')}" if warnings else ""
    return f"{counted(len(settings.accounts), 'account')}, no errors{also}"


def _not_logged_in(settings: Settings) -> list[str]:
    """Returns a line for each account that waits for ``fetchd login``; to --connect, the login itself says so."""
    sources = [one.password for one in settings.accounts.values() if isinstance(one.password, SecretOAuth)]
    if not sources:
        return []
    from fetchd.oauth.files import TokenFiles  # noqa: PLC0415 - only for accounts that have tokens
    from fetchd.oauth.reader import why_not  # noqa: PLC0415 - likewise

    files, now = TokenFiles.beside(settings.state), time.time()
    found = ((source.account, why_not(source, files, now=now)) for source in sources)
    return [f"accounts.{account}.oauth: {text}" for account, text in found if text]


def _try(settings: Settings, names: Sequence[str], *, as_json: bool, quiet: bool) -> bool:
    """Tries the accounts and shows what came of it; returns whether none failed."""
    from fetchd.cli import trials as shown  # noqa: PLC0415 - likewise
    from fetchd.errands import try_accounts  # noqa: PLC0415 - the network side: a check of the file does without
    from fetchd.trial import State  # noqa: PLC0415 - likewise

    wanted = [name for name in settings.accounts if name in names] if names else list(settings.accounts)
    with _progress(len(wanted), visible=sys.stderr.isatty() and not quiet) as tell:
        trials = try_accounts(settings, names, tell=tell)
    now = time.time()
    if as_json:
        click.echo(shown.as_json(trials, wanted=wanted, warnings=settings.warnings, now=now))
    elif quiet:
        for trial in trials:
            if trial.state is State.FAILED:
                click.echo(shown_text(f"{trial.account.name}: {trial.error}"), err=True)
    else:
        _show(trials, now)
        click.echo(shown.summary(trials, len(wanted)))
    if len(trials) < len(wanted):
        raise click.Abort  # Ctrl-C, and what was found by then has been said
    return all(trial.state is not State.FAILED for trial in trials)


def _show(trials: "Sequence[Trial]", now: float) -> None:
    from fetchd.cli import trials as shown  # noqa: PLC0415 - see above

    if not trials:
        return
    if not sys.stdout.isatty():
        click.echo("\n".join(shown.plain(trials, now=now)))
        return
    from fetchd.cli.progress import Terminal  # noqa: PLC0415 - on a terminal only: rich is heavy

    console = Terminal()
    console.print(shown.picture(trials, now=now, console=console), "")


@contextmanager
def _progress(wanted: int, *, visible: bool) -> Iterator["Callable[[Trial], None]"]:
    """Shows on standard error how many accounts are tried, while they are."""
    if not visible:
        yield lambda _: None
        return
    from fetchd.cli.progress import Terminal  # noqa: PLC0415 - on a terminal only: rich is heavy

    ended = 0
    with Terminal(stderr=True).status(f"Logging in: 0 of {counted(wanted, 'account')}") as status:

        def tell(_: "Trial") -> None:
            nonlocal ended
            ended += 1
            status.update(f"Logging in: {ended:,} of {counted(wanted, 'account')}")

        yield tell
