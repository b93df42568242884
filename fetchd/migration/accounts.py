"""An account as another fetcher had it, told in fetchd's terms, with what cannot be carried over. Pure."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fetchd.errors import ConfigError
from fetchd.model import POP3_PORT, POP3S_PORT, Secret, Tls, TlsMode
from fetchd.values import value

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._@+-]+")
_LONGEST_NAME: Final = 64
_SESSION: Final = 3600
_USER_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_LONGEST_HOST: Final = 253
_PLAIN_LINE: Final = (
    "the line was not, or not surely, encrypted. fetchd insists on it; where the server has no TLS at all, write "
    '"tls: none" and "allow_plaintext_password: true": everyone on the way can read the password then'
)
_LOOPBACK: Final = re.compile(r"localhost\.?|(?:.*\.)?localhost|127(?:\.[0-9]+){3}|::1")


@value
class Here:
    """The machine that the old configuration is read on.

    Attributes:
        user: who runs this.
        is_root: whether fetchd runs as root here, and may deliver as others.
        home: a local user's home directory; None where there is no such user.
    """

    user: str
    is_root: bool
    home: Callable[[str], str | None]


@value
class Note:
    """An option that has no counterpart: its name, and why, or what to do instead. Never its value."""

    option: str
    why: str


@value
class Deliver:
    """Where the mail goes: ``kind`` is maildir or mbox, ``owner`` a local user, or "" for whoever runs fetchd."""

    kind: str
    path: str
    owner: str = ""


@value
class OldAccount:
    """One account of the old configuration.

    Attributes:
        name: wanted in ``accounts:``; :func:`named` makes it valid and unique.
        origin: where it stands in the old configuration, as a line for a human.
        port: None for the one that goes with the TLS mode.
        password: None where the old configuration does not hold it.
        password_command: prints the password, or the token; empty for none.
        delete_after: as ``Policy.delete_after``: None keeps the mail on the server, 0 deletes it at once; seconds.
        interval, timeout: seconds; None for fetchd's own.
        remarks: key of the YAML → what to know about its value.
        notes: what was not carried over.
        unused: why fetchd shall not poll it; "" where it shall.
    """

    name: str
    origin: str
    host: str
    user: str
    deliver: Deliver
    port: int | None = None
    tls: Tls = field(default_factory=Tls)
    password: Secret | None = None
    password_command: tuple[str, ...] = ()
    mechanism: str = ""
    delete_after: int | None = None
    max_size: int | None = None
    max_messages: int | None = None
    interval: int | None = None
    timeout: int | None = None
    source_address: str = ""
    proxy: str = ""
    remarks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[Note, ...] = ()
    unused: str = ""


@value
class OldConfiguration:
    """All that one file holds: its accounts, and what was not carried over of what concerns all of them."""

    source: str
    accounts: tuple[OldAccount, ...]
    notes: tuple[Note, ...] = ()


def refused(source: str, line: int, text: str) -> ConfigError:
    """Returns the error for a file that cannot be read; ``text`` holds no value of an option."""
    return ConfigError(f"{source}:{line}: {text}")


def check_address(host: str, user: str) -> str:
    """Returns why no POP3 server can be asked for this account; "" where one can."""
    if not is_host(host):
        return "its server is no host name and no address"
    if not user or not user.isprintable():
        return "it has no user name" if not user else "its user name holds characters that no POP3 command can carry"
    return ""


def is_host(text: str) -> bool:
    """Returns whether a text is a host name or an IP address."""
    if _HOST.fullmatch(text) and len(text) <= _LONGEST_HOST and not text.replace(".", "").isdigit():
        return True
    return is_address(text)


def is_address(text: str) -> bool:
    """Returns whether a text is an IP address."""
    try:
        return ipaddress.ip_address(text) is not None and "%" not in text
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine, as far as its name tells."""
    return host.startswith("unix:") or _LOOPBACK.fullmatch(host.lower()) is not None


def secured(mode: TlsMode, host: str, port: int | None) -> tuple[TlsMode, str]:
    """Returns the TLS mode that fits host and port, and a remark where it is not the one that was wanted.

    fetchd never sends a password over a plain line to another machine unless somebody has written so by hand.
    """
    if is_loopback(host):
        return mode, ""
    if port == POP3S_PORT and mode is not TlsMode.IMPLICIT:
        return TlsMode.IMPLICIT, "port 995 speaks TLS from the first octet, whatever the old configuration says"
    if port == POP3_PORT and mode is TlsMode.IMPLICIT:
        return TlsMode.STARTTLS, "port 110 begins in the clear, whatever the old configuration says"
    if mode is TlsMode.NONE:
        return (
            TlsMode.STARTTLS,
            _PLAIN_LINE,
        )
    return mode, ""


def local_maildir(user: str, here: Here) -> tuple[Deliver, str]:
    """Returns the Maildir in a local user's home, and a remark that says so."""
    name = user if _USER_NAME.fullmatch(user) else here.user
    home = here.home(name)
    owner = name if here.is_root and home is not None and name != here.user else ""
    where = Deliver("maildir", f"{home or '/home/' + name}/Maildir", owner)
    unknown = "" if home is not None else f'; there is no user "{name}" on this machine'
    return where, f"CHECK THIS: chosen by fetchd for the local user {name}{unknown}"


def named(accounts: Iterable[OldAccount]) -> tuple[OldAccount, ...]:
    """Returns the accounts, each under a name that fetchd takes and no other has."""
    taken: set[str] = set()
    result = []
    for account in accounts:
        wanted = _NOT_IN_A_NAME.sub("-", account.name).lstrip("._@+-")[:_LONGEST_NAME] or "account"
        name, number = wanted, 2
        while name in taken:
            ending = f"-{number}"
            name, number = wanted[: _LONGEST_NAME - len(ending)] + ending, number + 1
        taken.add(name)
        result.append(replace(account, name=name))
    return tuple(result)


def address_name(user: str, host: str) -> str:
    """Returns what to call an account: the user's address."""
    return user if "@" in user else f"{user}@{host}"


def secret(text: str | bytes | None) -> Secret | None:
    """Returns a password; None for none, and for one with a line end or NUL in it, which POP3 cannot carry."""
    octets = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return Secret(octets) if octets and not any(one in octets for one in b"\r\n\0") else None


def limit(number: int | None) -> int | None:
    """Returns a limit as fetchd has it: None for none, which the old tools write as 0."""
    return number if number is not None and number > 0 else None


def patience(seconds: int, usual: int) -> int | None:
    """Returns a timeout that is not the tool's usual one, and not longer than a session of fetchd's."""
    return min(seconds, _SESSION) if seconds != usual and seconds > 0 else None


def octets_of(fingerprint: str) -> bytes | None:
    """Returns a SHA-256 fingerprint's octets; None where the text is none, such as an MD5 one."""
    digits = re.sub(r"[:\s]", "", fingerprint)
    return bytes.fromhex(digits) if re.fullmatch(r"[0-9A-Fa-f]{64}", digits) else None


def path_of(text: str, directory: str) -> Path | None:
    """Returns a path as written, from the directory of the old configuration where it is relative; None for none."""
    if not text or not text.isprintable() or (text.startswith("~") and not text.startswith("~/")):
        return None
    return Path(text) if text.startswith(("/", "~")) else Path(directory) / text


def written_out(path: str, here: Here) -> str:
    """Returns a mailbox's path with ``~USER`` written out, and without the ``/`` after a Maildir's name.

    "" for a path that fetchd's configuration cannot have: with variables, or characters that cannot be printed.
    """
    path = re.sub(r"^\$(?:HOME|\{HOME\})/", "~/", path).rstrip("/") or "/"
    if "$" in path or not path.isprintable():
        return ""
    if not path.startswith("~") or path.startswith("~/"):
        return path
    user, _, rest = path[1:].partition("/")
    home = here.home(user or here.user) or f"/home/{user}"
    return f"{home}/{rest}" if rest else home


def plain(octets: bytes) -> str:
    """Returns a file's text; octets that are no UTF-8 are kept as they are, for one may be a password's."""
    return octets.decode(errors="surrogateescape")


def apart(configurations: Iterable[OldConfiguration]) -> list[OldConfiguration]:
    """Returns the configurations with names that no two accounts share, whichever file they come from."""
    found = list(configurations)
    renamed = iter(named(account for one in found for account in one.accounts))
    return [replace(one, accounts=tuple(next(renamed) for _ in one.accounts)) for one in found]
