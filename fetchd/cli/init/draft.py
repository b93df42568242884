"""``fetchd init``: from what was said and asked to one account."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from fetchd.cli.init.credentials import Login, choose_login, missing_login
from fetchd.cli.init.interview import Interview
from fetchd.cli.init.locate import Search, locate, provider_of
from fetchd.cli.init.target import choose_target
from fetchd.cli.init.wishes import Wishes, checked
from fetchd.config import fields
from fetchd.config.checks import is_loopback
from fetchd.config.units import format_duration
from fetchd.config.writing import NewAccount
from fetchd.discovery import Finding, MailAddress, parse_address
from fetchd.errors import UsageError
from fetchd.model import TlsMode
from fetchd.providers import Provider

_USUAL_INTERVAL: Final = 300
_LONGEST_INTERVAL: Final = 366 * 86400
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._+-]+")
_LONGEST_NAME: Final = 60
"""Of those that are made here: a name may have 64 characters, and a number may have to go behind it."""


def missing(wishes: Wishes) -> list[str]:
    """Returns what nobody can guess and was not said, one line each, with the option to give."""
    said = []
    if not wishes.address and not (wishes.host and wishes.user):
        said.append("the account: give --address ADDRESS, or --host HOST and --user USER")
    if not wishes.offered.said:
        said.append(missing_login(provider_of(wishes.whose, wishes.given.host)))
    if not (wishes.maildir or wishes.mbox or wishes.yes):
        said.append("where the mail goes: give --maildir DIRECTORY or --mbox FILE, or --yes for ~/Maildir")
    return said


def draft(
    wishes: Wishes, *, interview: Interview, search: Search, home: Path | None, names: Collection[str]
) -> tuple[NewAccount, Login]:
    """Returns an account, asked for where it was not said, and how it logs in.

    Args:
        wishes: what was said.
        interview: who can be asked.
        search: asks the network.
        home: what ``~/`` stands for.
        names: of the accounts that the file has already.

    Raises:
        UsageError: something that was said is no good, or missing with nobody to ask.
    """
    address = wishes.whose
    if address is None and not (wishes.host and wishes.user):
        address = interview.text("E-mail address", parse_address, option="--address ADDRESS")
    found = locate(address, wishes.given, interview=interview, search=None if wishes.offline else search)
    provider = provider_of(address, found.host) or provider_of(address, "")
    allowed = _allows_plain_line(found, wishes, interview)
    user = _user(found, address, wishes, interview=interview)
    login = choose_login(wishes.offered, provider, user=user, interview=interview)
    deliver = choose_target(wishes.maildir, wishes.mbox, wishes.owner, home=home, interview=interview)
    leave = _leave(wishes, interview)
    account = NewAccount(
        _name(address, user, wishes, host=found.host, names=names),
        found.host,
        found.port,
        found.tls,
        user,
        (login.key, login.mapping),
        deliver,
        leave_on_server=leave,
        interval=_interval(provider, wishes, interview),
        allow_plaintext_password=allowed,
        source=found.source,
    )
    return account, login


def _allows_plain_line(found: Finding, wishes: Wishes, interview: Interview) -> bool:
    """Returns whether the configuration has to allow a password over a plain line: never without a yes."""
    if found.tls is not TlsMode.NONE or is_loopback(found.host):
        return False
    if wishes.allow_plaintext_password:
        return True
    if not interview.terminal or wishes.yes:
        raise UsageError("--tls none: everyone on the way could read the password: add --allow-plaintext-password")
    if not interview.sure("Everyone on the way can read the password. Send it all the same?", proposed=False):
        raise UsageError("nothing was written: ask your provider for a server with TLS")
    return True


def _user(found: Finding, address: MailAddress | None, wishes: Wishes, *, interview: Interview) -> str:
    if wishes.user:
        return checked("--user", fields.one_line, wishes.user)
    proposed = found.user or (address.text if address else None)
    return interview.text("User name", fields.one_line, proposed=proposed, option="--user USER")


def _leave(wishes: Wishes, interview: Interview) -> str:
    if wishes.delete_after:
        checked("--delete-after", _age, wishes.delete_after)
        return wishes.delete_after
    if wishes.leave:
        return wishes.leave
    return "true" if interview.sure("Leave the mail on the server?", proposed=True) else "false"


def _age(text: str) -> int:
    return fields.duration(text, least=1, most=100 * _LONGEST_INTERVAL)


def _interval(provider: Provider | None, wishes: Wishes, interview: Interview) -> int:
    least = provider.least_interval if provider is not None else 0

    def read(text: str) -> int:
        seconds = fields.duration(text, least=1, most=_LONGEST_INTERVAL)
        if provider is not None and seconds < least:
            raise ValueError(f"{provider.name} locks out who asks more often than every {format_duration(least)}")
        return seconds

    if wishes.interval:
        return checked("--interval", read, wishes.interval)
    usual = format_duration(max(_USUAL_INTERVAL, least))
    return interview.text("Ask for new mail every", read, proposed=usual, option="--interval")


def _name(address: MailAddress | None, user: str, wishes: Wishes, *, host: str, names: Collection[str]) -> str:
    if wishes.name:
        name = checked("--name", fields.account_name, wishes.name)
        if name in names:
            raise UsageError(f"--name {name}: there is an account of that name already")
        return name
    local, domain = (address.local, address.domain) if address else (user.partition("@")[0], host)
    return free_name(local, domain, names)


def free_name(local: str, domain: str, names: Collection[str]) -> str:
    """Returns a name for an account that no other has.

    >>> free_name("Alice", "gmx.net", ()), free_name("alice", "gmx.net", ["alice-gmx"])
    ('alice-gmx', 'alice-gmx-2')
    """
    labels = domain.split(".")
    label = labels[-2] if len(labels) > 1 and not labels[-1].isdigit() else domain
    name = (
        "-".join(_NOT_IN_NAMES.sub("-", part).strip("-") for part in (local, label))
        .lower()
        .lstrip("-._+")[:_LONGEST_NAME]
        or "account"
    )
    free = (name, *(f"{name}-{number}" for number in range(2, len(names) + 3)))
    return next(one for one in free if one not in names)
