"""What the keys of an account must agree on, and what accounts must not share. Pure: no file is looked at.

Each check takes an account as merged with the defaults and tells the report; a key that is no good by itself is left
alone here, for that has been said.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from fetchd.config.fields import listed
from fetchd.config.nodes import Steps
from fetchd.config.report import Report, shown_name
from fetchd.config.schema import AccountKeys
from fetchd.config.sections import NoticesKeys, PlainPassword
from fetchd.config.units import format_duration
from fetchd.model import CHALLENGED_WAYS, POP3_PORT, POP3S_PORT, TOKEN_WAYS, UNIX_PREFIX, HttpAddress, TlsMode
from fetchd.values import value

REQUIRED: Final = ("host", "user", "password", "deliver")
SHORT_INTERVAL: Final = 60
"""Seconds: polling more often than this gets clients locked out at several providers (FACTS §5)."""


@value
class Candidate:
    """An account as merged with the defaults, before it is judged.

    Attributes:
        keys: the values that count.
        own: the keys that the account itself gives.
        blamed: the keys, its own or inherited, that are known to be no good.
    """

    name: str
    keys: AccountKeys
    own: frozenset[str]
    blamed: frozenset[str]

    def path(self, key: str) -> Steps:
        """Returns where a key's value was written; the account itself where nobody wrote it."""
        if key in self.own:
            return ("accounts", self.name, key)
        return ("defaults", key) if key in self.keys.model_fields_set else ("accounts", self.name)

    def nearer(self, one: str, other: str) -> Steps:
        """Returns the path of the key that the account gives itself; of the first where it gives both or neither."""
        return self.path(other) if one not in self.own and other in self.own else self.path(one)

    def sound(self, *keys: str) -> bool:
        """Returns whether nothing is known against these keys."""
        return self.blamed.isdisjoint(keys)


def port(keys: AccountKeys) -> int:
    """Returns the port to connect to: as given, else the one that is registered for the TLS mode."""
    return keys.port or (POP3S_PORT if keys.tls.mode is TlsMode.IMPLICIT else POP3_PORT)


def is_loopback(host: str) -> bool:
    """Returns whether a host is this one: a Unix socket, ``localhost`` and below (RFC 6761 §6.3), 127.0.0.0/8, ::1."""
    if _is_unix(host):
        return True
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_unix(host: str) -> bool:
    return host.startswith(UNIX_PREFIX)


def check_http(address: HttpAddress | None, report: Report) -> None:
    """Warns where others than this machine can see the status page: it asks for no password."""
    if address is not None and not is_loopback(address.host):
        text = "other machines can reach this, and the status page names the accounts and tells their errors"
        report.warn(("http",), f"{text}: let a firewall or a proxy with a login stand before it, or write a port alone")


def check_notices(notices: NoticesKeys | None, candidates: Iterable[Candidate], report: Report) -> None:
    """Warns of accounts that can be told of by a message nowhere."""
    if notices is None or not notices.deliver:
        return
    into_mbox = [one.name for one in candidates if one.keys.deliver is not None and one.keys.deliver.mbox is not None]
    if into_mbox:
        more = f" (as do {len(into_mbox) - 1} more)" if into_mbox[1:] else ""
        text = f"{shown_name(into_mbox[0])} delivers into an mbox{more}, which takes no notices"
        advice = (
            "the command alone tells of it" if notices.command else "nobody is told of it; a `command` could do that"
        )
        report.warn(("notices", "deliver"), f"{text}: {advice}")


def check_account(candidate: Candidate, report: Report) -> None:
    """Tells the report what is wrong with one account."""
    _missing(candidate, report)
    _tokens(candidate, report)
    keys = candidate.keys
    # Behind a proxy, localhost is the proxy's own, and the way there is not this machine's. A socket has no proxy.
    here = keys.host is not None and is_loopback(keys.host) and (keys.proxy is None or _is_unix(keys.host))
    if candidate.sound("tls", "host", "proxy") and keys.host and not here:
        _plain_line(candidate, report)
        _port_of_mode(candidate, report)
    _times(candidate, report)
    _unix_socket(candidate, report)


def _missing(candidate: Candidate, report: Report) -> None:
    missing = [key for key in REQUIRED if getattr(candidate.keys, key) is None and candidate.sound(key)]
    if "password" in missing and (candidate.keys.oauth is not None or not candidate.sound("oauth")):
        missing.remove("password")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        report.error(("accounts", candidate.name), f"{listed(missing, 'and')} {verb} missing")


def _tokens(candidate: Candidate, report: Report) -> None:
    keys = candidate.keys
    if keys.oauth is None:
        return
    if keys.password is not None:
        report.error(candidate.nearer("oauth", "password"), "password and oauth are both given: remove one of them")
    elif keys.mechanism and keys.mechanism not in TOKEN_WAYS and candidate.sound("mechanism"):
        text = f"takes no token, and oauth gives one: write {listed(TOKEN_WAYS)}, or remove this line"
        report.error(candidate.path("mechanism"), f"{keys.mechanism} {text}")


def _plain_line(candidate: Candidate, report: Report) -> None:
    keys = candidate.keys
    if (
        keys.tls.mode is TlsMode.NONE
        and not keys.allow_plaintext_password
        and keys.mechanism not in CHALLENGED_WAYS
        and candidate.sound("allow_plaintext_password", "mechanism")
    ):
        report.error(
            candidate.nearer("tls", "host"),
            f"the {'token' if keys.oauth else 'password'} would go to {keys.host} over a plain line: "
            "write tls: implicit or tls: starttls, "
            "or, where everyone on the way may read it, allow_plaintext_password: true",
        )


def _port_of_mode(candidate: Candidate, report: Report) -> None:
    keys = candidate.keys
    if not candidate.sound("port"):
        return
    if keys.tls.mode is TlsMode.IMPLICIT and keys.port == POP3_PORT:
        fix = f"write tls: starttls, or port: {POP3S_PORT}"
        report.error(candidate.nearer("port", "tls"), f"port {POP3_PORT} begins in the clear, not with TLS: {fix}")
    elif keys.tls.mode is not TlsMode.IMPLICIT and keys.port == POP3S_PORT:
        fix = f"write tls: implicit, or port: {POP3_PORT}"
        report.error(candidate.nearer("port", "tls"), f"port {POP3S_PORT} speaks TLS from the first octet: {fix}")


def _unix_socket(candidate: Candidate, report: Report) -> None:
    keys = candidate.keys
    if keys.host is None or not _is_unix(keys.host):
        return
    for key, text in (
        ("port", "has no port"),
        ("proxy", "cannot be reached through a proxy"),
        ("source_address", "cannot be reached from an IP address"),
    ):
        if getattr(keys, key) is not None:
            report.error(candidate.nearer(key, "host"), f"a Unix socket {text}: remove {key}, or name another host")
    nameless = keys.tls.server_name is None and keys.tls.fingerprint is None
    if candidate.sound("tls") and keys.tls.mode is not TlsMode.NONE and nameless:
        text = "a Unix socket has no name to verify a certificate for: write tls: none, or give tls a server_name"
        report.error(candidate.nearer("tls", "host"), text)


def _times(candidate: Candidate, report: Report) -> None:
    keys = candidate.keys
    if candidate.sound("timeout", "session_timeout") and keys.session_timeout < keys.timeout:
        longest = f"session_timeout ({format_duration(keys.session_timeout)})"
        text = f"{longest} is shorter than timeout ({format_duration(keys.timeout)})"
        report.error(candidate.nearer("session_timeout", "timeout"), text)
    if candidate.sound("interval") and keys.interval < SHORT_INTERVAL:
        text = f"polling every {format_duration(keys.interval)} gets clients locked out at many providers; 5m is usual"
        report.warn(candidate.path("interval"), text)


def check_sharing(candidates: Iterable[Candidate], report: Report) -> None:
    """Warns of accounts that fetch the same maildrop: each would fetch all of its mail, or lock the other out."""
    known: dict[tuple[str, int, str], str] = {}
    for candidate in candidates:
        keys = candidate.keys
        if not keys.host or not keys.user or not candidate.sound("host", "port", "tls", "user"):
            continue
        first = known.setdefault((keys.host.rstrip(".").lower(), port(keys), keys.user), candidate.name)
        if first != candidate.name:
            where = f'"{shown_name(first)}" (line {report.line(("accounts", first))})'
            report.warn(("accounts", candidate.name), f"the same host, port and user as {where}: its mail comes twice")


def plain_passwords(candidates: Iterable[Candidate]) -> tuple[Steps, ...]:
    """Returns where in the file passwords stand in plain text, each place once."""
    places = dict[Steps, None]()
    for candidate in candidates:
        if isinstance(candidate.keys.password, PlainPassword):
            places[candidate.path("password")] = None
        if candidate.keys.oauth is not None and isinstance(candidate.keys.oauth.client_secret, PlainPassword):
            places[*candidate.path("oauth"), "client_secret"] = None
        proxy = candidate.keys.proxy
        if proxy is not None and proxy.url is not None and proxy.url.password is not None:
            places[candidate.path("proxy")] = None
        if proxy is not None and isinstance(proxy.password, PlainPassword):
            places[*candidate.path("proxy"), "password"] = None
    return tuple(places)
