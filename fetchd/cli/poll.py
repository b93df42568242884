"""``fetchd poll``: asks the daemon that runs to poll accounts now."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from fetchd.cli.completion import account_names
from fetchd.config import find_config, load
from fetchd.control import UnknownNamesError, ask_for_polls, places
from fetchd.errors import UsageError, printable
from fetchd.observe.words import span
from fetchd.schedule import Prompted
from fetchd.wording import counted


@click.command(short_help="Ask the running fetchd to poll now.")
@click.argument("names", nargs=-1, metavar="[NAME]…", shell_complete=account_names)
@click.pass_obj
def poll(config: Path | None, names: tuple[str, ...]) -> None:
    """Ask the running fetchd to poll these accounts now; all of them without a NAME.

    An account on hold, or backing off after failures, is polled too; not so one whose server has said when to come
    again. The answer comes at once: what the polls bring is in the log and in "fetchd status".
    """
    settings = load(find_config(config, os.environ), environ=os.environ)
    where = places(os.environ, settings.state, settings.source)
    try:
        told = ask_for_polls(where, names, source=settings.source)
    except UnknownNamesError as error:
        raise UsageError(_which(error)) from error
    for line in _summed_up(told) if not names else map(_line, told):
        click.echo(line)


def _line(told: Prompted) -> str:
    if told.running:
        return f"{told.name}: is being polled, and is polled again right after"
    if told.delay:
        return f"{told.name}: in {span(told.delay)}, since the server wants no login before (LOGIN-DELAY)"
    return f"{told.name}: now" + (", though it was on hold" if told.held else "")


def _summed_up(told: Sequence[Prompted]) -> list[str]:
    """Returns one line on all accounts, and one for each whose poll does not simply start."""
    exceptions = [one for one in told if one.running or one.delay or one.held]
    now = len(told) - sum(one.running or one.delay > 0 for one in told)
    everything = counted(len(told), "account")
    of_all = everything if now == len(told) else f"{now:,} of {everything}"
    return [f"{of_all}: now", *map(_line, exceptions)]


def _which(error: UnknownNamesError) -> str:
    from fetchd.config.fields import nearest  # noqa: PLC0415 - only for an answer to a misspelt name

    name = error.unknown[0]
    close = nearest(name, error.known)
    meant = f'; did you mean "{close}"?' if close else f"; there are: {', '.join(sorted(error.known)[:10])}"
    return f"no account {printable(name)!r}{meant}"
