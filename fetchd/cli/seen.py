"""``fetchd import TOOL --seen``: the old fetcher's files beside what the servers list, and into the store."""

import errno
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from fetchd.app import log_to
from fetchd.cli.import_ import read_octets, user_home
from fetchd.config import find_config, load
from fetchd.errands import taking_over
from fetchd.errors import ConfigError, UsageError, printable
from fetchd.migration.places import memories
from fetchd.migration.uids import OldUids, parse_fetchids, parse_oldmail, parse_uidls
from fetchd.model import Fate, Settings
from fetchd.takeover import Compared
from fetchd.values import value
from fetchd.wording import counted

_HEADS: Final = ("account", "remembered", "matched", "new", "gone")
_MAY_BE: Final = (FileNotFoundError, NotADirectoryError, PermissionError)
"""What may be wrong with a place that nobody named: there is nothing, or it is another user's."""


@value
class Wishes:
    """The options: compare only, ask no server, answer yes, and that the old fetcher has delivered all of it."""

    dry_run: bool
    offline: bool
    yes: bool
    delivered: bool


def take_over_seen(config: Path | None, tool: str, files: Sequence[Path], wishes: Wishes) -> int:
    """Compares, asks where nothing matches, and writes; returns the exit code.

    Raises:
        ConfigError: the configuration, or a file of the old fetcher's, cannot be used.
        UsageError: the old fetcher has left nothing behind, or nothing of a configured account.
        StoreError: the store cannot be used: another fetchd works on it, say.
    """
    settings = load(find_config(config, os.environ), environ=os.environ)
    old = list(_read(tool, files))
    _say_unclaimed(old, settings, tool)
    emit = log_to(sys.stderr, settings.log)
    theirs = _shared_out(old, settings)
    if not theirs:
        raise UsageError(f"{tool} remembers nothing of any account that is configured: compare host and user")
    with taking_over(settings, writes=not wishes.dry_run, emit=emit) as takeover:
        compared = [
            takeover.compare(account, theirs[account.name], offline=wishes.offline)
            for account in settings.accounts.values()
            if account.name in theirs
        ]
        _say_shared(old, theirs, tool)
        _say_unknown(theirs, settings, tool)
        _show(compared, tool)
        failed = sum(one.error is not None for one in compared)
        if wishes.dry_run:
            suspect = sum(one.is_suspect for one in compared)
            click.echo("Nothing was written (--dry-run).")
            return int(failed > 0 or suspect > 0)
        wanted = [one for one in compared if one.error is None and _agreed(one, tool, yes=wishes.yes)]
        for one in wanted:
            takeover.take_over(one, fate=Fate.DELIVERED if wishes.delivered else Fate.SKIPPED)
    _sum_up(wanted, wishes)
    return int(len(wanted) < len(compared))


def _shared_out(old: Sequence[OldUids], settings: Settings) -> dict[str, list[OldUids]]:
    """Returns account → what the old fetcher remembers of it; nothing of those of which it remembers nothing."""
    theirs: dict[str, list[OldUids]] = {}
    for one in old:
        may_be = [account for account in settings.accounts.values() if one.belongs_to(account.host, account.user)]
        just = [account for account in may_be if one.is_just_of(account.host, account.port, account.user)]
        if not one.entries:
            continue
        for account in just or may_be:
            theirs.setdefault(account.name, []).append(one)
    return theirs


def _read(tool: str, files: Sequence[Path]) -> Iterator[OldUids]:
    """Yields what the old fetcher remembers, from the files that were named, or from where it keeps them."""
    parse: Mapping[str, Callable[[bytes, Path], list[OldUids]]] = {
        "fetchmail": lambda octets, path: parse_fetchids(octets, str(path)),
        "getmail": lambda octets, path: parse_oldmail(octets, str(path), path.name),
        "mpop": lambda octets, path: parse_uidls(octets, str(path)),
    }
    places = list(files) or memories(tool, user_home(), os.environ)
    # Two names may lead to one file, whose entries count once.
    found = list({os.path.realpath(path): path for path in _files(tool, places, named=bool(files))}.values())
    if not found:
        looked = ", ".join(map(str, places))
        raise UsageError(f"{tool} has left no unique-ids behind: looked in {looked}; name the file")
    for path in found:
        yield from parse[tool](read_octets(path), path)


def _files(tool: str, places: Sequence[Path], *, named: bool) -> Iterator[Path]:
    pattern = {"getmail": "oldmail-*", "mpop": "[!.]*"}.get(tool, "*")
    others: set[Path] = set()
    for place in places:
        try:
            yield from _at(place, pattern)
        except OSError as error:
            if named or not isinstance(error, _MAY_BE):
                raise ConfigError(f"{place}: {error.strerror}") from error
            if isinstance(error, PermissionError):
                others.add(place.parent)
    for directory in sorted(others):  # Debian's /var/lib/fetchmail, say, which is most often not meant
        click.echo(f"note: {directory}: Permission denied: what {tool} may remember there is left out", err=True)


def _at(place: Path, pattern: str) -> Iterator[Path]:
    place.stat()  # says what is wrong, where it cannot be reached
    if not os.access(place, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    yield from sorted(path for path in place.glob(pattern) if path.is_file()) if place.is_dir() else [place]


def _say_unclaimed(old: Sequence[OldUids], settings: Settings, tool: str) -> None:
    for one in old:
        if one.entries and not any(one.belongs_to(each.host, each.user) for each in settings.accounts.values()):
            whose = printable(f"{one.user} at {one.host}" if one.user else one.host)
            entries = counted(len(one.entries), "unique-id")
            click.echo(f"note: {one.source}: {tool} remembers {entries} of '{whose}', which no account is", err=True)


def _say_shared(old: Sequence[OldUids], theirs: Mapping[str, Sequence[OldUids]], tool: str) -> None:
    for one in old:
        names = [name for name, own in theirs.items() if any(each is one for each in own)]
        if len(names) > 1:
            click.echo(
                f"note: {one.source}: {' and '.join(names)} have one host and user, so both get what {tool} remembers "
                "of it. Where they are two mailboxes whose servers number mail alike, mail of one would count as "
                "fetched for the other: do not take them over then",
                err=True,
            )


def _say_unknown(theirs: Collection[str], settings: Settings, tool: str) -> None:
    unknown = [name for name in settings.accounts if name not in theirs]
    if unknown:
        click.echo(
            f"note: nothing is taken over for {', '.join(unknown)}, of which {tool} remembers nothing. Where {tool} "
            "has fetched for one of these, compare host and user, or name that file, too",
            err=True,
        )


def _show(compared: Sequence[Compared], tool: str) -> None:
    rows = [_HEADS, *(_row(one) for one in compared)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    for name, *numbers in rows:
        cells = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))
        click.echo("  ".join([name.ljust(widths[0]), *cells]))
    for one in compared:
        for line in _remarks(one, tool):
            click.echo(f"{one.account}: {line}", err=True)


def _row(one: Compared) -> tuple[str, ...]:
    if one.match is None:
        return one.account, f"{one.remembered:,}", "-", "-", "-"
    gone = sum(known.copies for known in one.match.stale.values())
    return (one.account, *(f"{number:,}" for number in (one.remembered, one.match.messages, one.match.unmatched, gone)))


def _remarks(one: Compared, tool: str) -> Iterator[str]:
    if one.error is not None:
        yield f"cannot be compared, and is left out: {one.error}. Repeat this before fetchd polls it"
    if one.uncertain:
        entries = counted(one.uncertain, "unique-id")
        yield f"{tool} may have changed {entries} when it wrote them down: without --offline the server tells"
    if one.match is not None and one.match.ambiguous:
        entries = counted(one.match.ambiguous, "unique-id")
        yield f"{entries} may stand for one message or another: fetchd fetches all of these"
    if one.is_suspect:
        yield (
            f"not one of the unique-ids that {tool} remembers is listed: is this the same mailbox, and has the "
            "provider moved it since? fetchd would fetch all that is new above"
        )


def _agreed(one: Compared, tool: str, *, yes: bool) -> bool:
    """Returns whether an account is to be taken over: one in which nothing matches only if somebody says so."""
    if not one.is_suspect or yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        click.echo(f"{one.account}: left out; --yes takes it over all the same", err=True)
        return False
    return click.confirm(f"{one.account}: nothing matches. Go on, and remember what {tool} does?", err=True)


def _sum_up(taken: Sequence[Compared], wishes: Wishes) -> None:
    if not taken:
        click.echo("Nothing was written.")
        return
    known = sum(one.match.messages if one.match is not None else one.remembered for one in taken)
    messages = counted(known, "message")
    what = "may be deleted as leave_on_server says" if wishes.delivered else "fetchd deletes none of them"
    click.echo(f"{counted(len(taken), 'account')}: {messages} will not be fetched again; {what}")
