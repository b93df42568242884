"""``fetchd import``: another fetcher's configuration as fetchd's, and what it has seen into fetchd's store."""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from fetchd.cli import EXIT_FAILED
from fetchd.config.paths import home
from fetchd.errors import ConfigError, UsageError
from fetchd.migration import accounts, fetchmail
from fetchd.migration.accounts import Here, OldConfiguration
from fetchd.migration.getmail import from_getmailrc
from fetchd.migration.mpop import from_mpoprc
from fetchd.migration.places import TOOLS, configurations
from fetchd.migration.render import render

LIMIT_OCTETS: Final = 64 * 2**20
"""The largest file that is read."""
_DUMP_TIMEOUT: Final = 30.0
_FETCHMAIL_REFUSES: Final = stat.S_IRWXG & ~stat.S_IXGRP | stat.S_IRWXO


@click.command("import")
@click.argument("tool", type=click.Choice(TOOLS))
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]…")
@click.option(
    "--write-secrets",
    "secrets",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write each password into a file of its own in DIR (mode 0600), and name it in the YAML.",
)
@click.option("--seen", is_flag=True, help="Take over what the old fetcher has seen, into the store of -c CONFIG.")
@click.option("--dry-run", is_flag=True, help="With --seen: compare with the servers, and write nothing.")
@click.option("--offline", is_flag=True, help="With --seen: do not ask the servers; take the unique-ids as they are.")
@click.option("-y", "--yes", is_flag=True, help="With --seen: go on where nothing matches.")
@click.option(
    "--delivered-by-old",
    is_flag=True,
    help="With --seen: the old fetcher has delivered all of it, so fetchd may delete it as leave_on_server says.",
)
@click.pass_obj
def import_(
    config: Path | None,
    *,
    tool: str,
    files: tuple[Path, ...],
    secrets: Path | None,
    seen: bool,
    dry_run: bool,
    offline: bool,
    yes: bool,
    delivered_by_old: bool,
) -> int:
    """Take over from fetchmail, getmail or mpop.

    Without --seen: print the old configuration (FILE, or where that fetcher looks for it) as fetchd's YAML; what has
    no counterpart becomes a comment. No password is printed.

    With --seen: read what the old fetcher remembers (FILE or a directory, or where it keeps it), compare that with the
    servers, and remember it, so that nothing is fetched twice. Stop the old fetcher and fetchd before. Messages that
    are taken over are never deleted by fetchd, unless --delivered-by-old says that they may.
    """
    if not seen:
        if dry_run or offline or yes or delivered_by_old:
            raise UsageError("--dry-run, --offline, --yes and --delivered-by-old go with --seen")
        return _convert(tool, files, secrets)
    if secrets is not None:
        raise UsageError("--write-secrets goes with the configuration, not with --seen")
    if dry_run and offline:
        raise UsageError("--dry-run compares with the servers, so it does not go with --offline")
    from fetchd.cli.seen import Wishes, take_over_seen  # noqa: PLC0415 - the session and the store, only for --seen

    wishes = Wishes(dry_run=dry_run, offline=offline, yes=yes, delivered=delivered_by_old)
    return take_over_seen(config, tool, files, wishes)


def _convert(tool: str, files: Sequence[Path], secrets: Path | None) -> int:
    here = this_machine()
    found = accounts.apart(_read(tool, path, here) for path in files or [_default(tool)])
    if not any(one.accounts for one in found):
        raise ConfigError(*(f"{one.source}: there is no account in it" for one in found))
    written = _write_secrets(found, secrets) if secrets is not None else {}
    # YAML is UTF-8, whatever the terminal is.
    click.echo(render(tool, found, secrets=written).encode(), nl=False)
    if all(account.unused for one in found for account in one.accounts):
        click.echo("none of these accounts is one that fetchd would poll: the comments above say why", err=True)
        return EXIT_FAILED
    return 0


def _default(tool: str) -> Path:
    places = configurations(tool, user_home(), os.environ)
    for place in places:
        if os.path.lexists(place):
            return place
    looked = ", ".join(map(str, places))
    raise UsageError(f"no configuration of {tool}'s found: looked for {looked}; name the file")


def _read(tool: str, path: Path, here: Here) -> OldConfiguration:
    path = path.absolute()
    octets = read_octets(path)
    if tool == "getmail":
        return from_getmailrc(octets, str(path), here=here)
    if tool == "mpop":
        return from_mpoprc(octets, str(path), here=here)
    return _dumped(path, here) or fetchmail.from_rc(octets, str(path), here=here)


def _dumped(path: Path, here: Here) -> OldConfiguration | None:
    """Returns what fetchmail itself reads in the file; None, and why on standard error, where fetchd has to."""
    program = shutil.which("fetchmail")
    if program is None:
        click.echo("note: fetchmail is not installed here, so fetchd has read its configuration by itself", err=True)
        return None
    info = path.stat()
    if info.st_mode & _FETCHMAIL_REFUSES or info.st_uid != os.geteuid():
        why = f"it is another user's, or others can read it: mode {stat.S_IMODE(info.st_mode):04o}"
        click.echo(f"note: fetchmail refuses {path} ({why}), so fetchd has read it by itself", err=True)
        return None
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and no secret
            [program, "--configdump", "--fetchmailrc", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DUMP_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        # What it says may quote the file; our own parser says where it is wrong.
        click.echo(f"note: fetchmail --configdump does not read {path}, so fetchd has tried by itself", err=True)
        return None
    try:
        return fetchmail.from_dump(done.stdout.decode("latin-1"), str(path), here=here)
    except ConfigError:
        click.echo(f"note: fetchmail --configdump garbles what is in {path}, so fetchd has read it by itself", err=True)
        return None


def _write_secrets(found: Sequence[OldConfiguration], directory: Path) -> dict[str, str]:
    """Writes each password that is known into a file of its own; returns account → file."""
    directory = directory.absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    from fetchd.config.placing import place_secret  # noqa: PLC0415 - with the loader, and only for --write-secrets

    written = {}
    for account in (account for one in found for account in one.accounts):
        if account.password is None or account.password_command:
            continue
        path = directory / account.name
        place_secret(path, account.password.reveal())
        click.echo(f"wrote {path}", err=True)
        written[account.name] = str(path)
    return written


def read_octets(path: Path) -> bytes:
    """Returns a file's content.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(LIMIT_OCTETS + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(octets) > LIMIT_OCTETS:
        raise ConfigError(f"{path}: larger than {LIMIT_OCTETS >> 20} MiB: this is no file of a fetcher's")
    return octets


def user_home() -> Path:
    """Returns the home directory of whoever runs this.

    Raises:
        UsageError: there is none.
    """
    found = home(os.environ)
    if found is None:
        raise UsageError("HOME is not set: name the file")
    return found


def this_machine() -> Here:
    """Returns what the old configuration's local users are on this machine."""
    number = os.geteuid()
    try:
        user = pwd.getpwuid(number).pw_name
    except KeyError:
        user = os.environ.get("USER", "") or str(number)
    own = home(os.environ)

    def home_of(name: str) -> str | None:
        if name == user and own is not None:
            return str(own)
        try:
            return pwd.getpwnam(name).pw_dir
        except (KeyError, ValueError):
            return None

    return Here(user, is_root=number == 0, home=home_of)
