"""``fetchd init``: the first ten minutes: from an e-mail address to a configuration that has been tried."""

import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from fetchd.cli.init.conclude import finish, write
from fetchd.cli.init.draft import draft, missing
from fetchd.cli.init.interview import Interview, Terminated, edit_lines, is_terminal, leaving_cleanly, undisturbed
from fetchd.cli.init.wishes import Wishes, config_path
from fetchd.config import load, placing
from fetchd.config.paths import home
from fetchd.config.writing import NewAccount, require_block
from fetchd.discovery import search
from fetchd.errors import UsageError
from fetchd.model import Account, TlsMode


@click.command(short_help="Make a configuration: asks, finds the server, tries it.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--add", is_flag=True, help="Add an account to the configuration that is there.")
@click.option("--address", metavar="ADDRESS", help="The e-mail address whose mail is to be fetched.")
@click.option("--host", metavar="HOST", help="The POP3 server, where it is not to be looked for.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Its port. Default: 995 with TLS.")
@click.option(
    "--tls",
    type=click.Choice([mode.value for mode in TlsMode]),
    help="How the line is protected: TLS from the start, STARTTLS, or not at all. Default: implicit.",
)
@click.option(
    "--allow-plaintext-password", is_flag=True, help="With --tls none: let everyone on the way read the password."
)
@click.option("--user", metavar="USER", help="The name to log in with. Default: as the provider wants it.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that holds the password; it stays where it is.",
)
@click.option("--password-env", metavar="VARIABLE", help="An environment variable that will hold the password.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, into a file of its own.")
@click.option("--client-id", metavar="ID", help="Log in with OAuth, by the application that has this id.")
@click.option(
    "--client-secret-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that holds that application's secret, where it has one (Google's have).",
)
@click.option("--maildir", metavar="DIRECTORY", help="Where the mail goes. Default on a terminal: ~/Maildir.")
@click.option("--mbox", metavar="FILE", help="Where the mail goes, as one file.")
@click.option("--owner", metavar="USER", help="Whose mailbox that is, where fetchd runs as root.")
@click.option("--keep", "leave", flag_value="true", default=None, help="Mail stays on the server (the default).")
@click.option("--delete", "leave", flag_value="false", help="Mail is deleted there as soon as it is on disk here.")
@click.option("--delete-after", metavar="AGE", help="Mail is deleted there after this time, as in 14d.")
@click.option("--interval", metavar="DURATION", help="How often to ask. Default: 5m, or what the provider allows.")
@click.option("--name", metavar="NAME", help="What the account is called. Default: made of the address.")
@click.option("--offline", is_flag=True, help="Ask nobody in the network where the server is.")
@click.option("-y", "--yes", is_flag=True, help="Take what is proposed, and ask only what nobody can guess.")
@click.pass_context
def init(context: click.Context, /, file: Path | None, **options: object) -> None:
    """Make a configuration: asks for an e-mail address, finds its server, and tries it.

    FILE is where fetchd will look for it: $FETCHD_CONFIG, $XDG_CONFIG_HOME/fetchd/fetchd.yaml, or for root
    /etc/fetchd/fetchd.yaml. A file that exists is never overwritten. Without a terminal nothing is asked, and what is
    missing has to be given by options.
    """
    wishes = Wishes.of(options)
    path = config_path(file, context.obj, os.environ, add=wishes.add)
    interview = Interview(terminal=is_terminal() and not wishes.password_stdin, accept=wishes.yes)
    written: list[Path] = []
    try:
        with leaving_cleanly():
            context.exit(_run(path, wishes, interview, written))
    except (KeyboardInterrupt, click.Abort, Terminated) as stop:
        click.echo(f"\nStopped: {f'{written[0]} is written' if written else 'nothing was written'}.", err=True)
        context.exit(128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT))


def _run(path: Path, wishes: Wishes, interview: Interview, written: list[Path]) -> int:
    """Does all of it; what is written is noted, for whoever stops in between. Returns the exit code."""
    others = _others(path, wishes)
    lacking = missing(wishes)
    if lacking and not interview.terminal:
        raise UsageError("\n        ".join(("nobody can be asked here, and this is missing:", *lacking)))
    if interview.terminal:
        edit_lines()
        what = "One more account for" if wishes.add else "This makes"
        interview.say(f"{what} {path}. Ctrl-C stops it, and nothing is written before the end.\n")
    account, login = draft(wishes, interview=interview, search=search, home=home(os.environ), names=others)
    _require_another(account, others.values())
    with undisturbed():
        write(path, account, login, add=wishes.add, interview=interview, environ=os.environ)
        written.append(path)
    return finish(path, account, login, interview=interview, environ=os.environ)


def _others(path: Path, wishes: Wishes) -> Mapping[str, Account]:
    """Returns the accounts that the file has; before anything is asked, whether it can be used.

    Raises:
        UsageError: it exists, and is not to be added to.
        ConfigError: it is to be added to, and has errors.
    """
    if wishes.add:
        others = load(path, environ=os.environ).accounts
        require_block(placing.read(path)[0], path)
        return others
    if os.path.lexists(path):
        raise UsageError(placing.taken(path))
    return {}


def _require_another(account: NewAccount, others: Iterable[Account]) -> None:
    """Sees that a mailbox is not fetched twice.

    Raises:
        UsageError: the file has it.
    """
    place = (account.host.lower(), account.port, account.user)
    for other in others:
        if (other.host.lower(), other.port, other.user) == place:
            raise UsageError(
                f"the account {other.name} fetches this mailbox already ({account.user} at {account.host}, port "
                f"{account.port}): its mail would come twice; if that is meant, write the account by hand"
            )
