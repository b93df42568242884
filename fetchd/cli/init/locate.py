"""``fetchd init``: which server it is, from what was said, what is known, what the network says, or by asking."""

from collections.abc import Callable
from typing import Final

from fetchd import providers
from fetchd.cli.init.interview import Interview
from fetchd.config import addresses, fields
from fetchd.discovery import Finding, Findings, MailAddress, guesses
from fetchd.discovery.finding import Rank
from fetchd.errors import UsageError
from fetchd.model import POP3_PORT, POP3S_PORT, UNIX_PREFIX, TlsMode
from fetchd.providers import Provider
from fetchd.values import value

Search = Callable[[MailAddress], Findings]
"""Asks the network; takes seconds."""

_SAID: Final = {
    TlsMode.IMPLICIT: "TLS",
    TlsMode.STARTTLS: "STARTTLS",
    TlsMode.NONE: "NOT PROTECTED: everyone on the way can read the password and the mail",
}


@value
class Given:
    """What was said of the server on the command line: "" and None where nothing was."""

    host: str = ""
    port: int | None = None
    tls: TlsMode | None = None


def provider_of(address: MailAddress | None, host: str) -> Provider | None:
    """Returns whom a mailbox is with, by its server, else by its address."""
    known = providers.of_host(host)
    if known is None and address is not None and not host:
        known = providers.of_domain(address.domain)
    return known


def locate(address: MailAddress | None, given: Given, *, interview: Interview, search: Search | None) -> Finding:
    """Returns the server to use.

    Args:
        address: whose mail; None where the server is given.
        given: what was said of it.
        interview: who can be asked.
        search: asks the network; None for ``--offline``.

    Raises:
        UsageError: the provider has no POP3; or nothing can be found and nobody be asked.
    """
    if given.host:
        return _as_given(given, given.host, "", Rank.SRV)
    assert address is not None, "an address, where no host is given"
    provider = providers.of_domain(address.domain)
    if provider is not None and not provider.hosts:
        raise UsageError(provider.no_pop3 or f"{provider.name} has no POP3")
    if provider is not None:
        source = f"fetchd's own list of providers ({provider.name})"
        user = address.local if provider.local_part else address.text
        found = Finding(provider.hosts[0], provider.port, provider.tls, source, Rank.SRV, user=user, is_vouched=True)
        interview.say(f"{provider.name}: {described(found)}")
        return found if given == Given() else _as_given(given, found.host, found.user, Rank.SRV)
    return _unknown(address, given, interview=interview, search=search)


def described(found: Finding) -> str:
    """Returns where a server is and how it is reached, as ``pop.example.org, port 995, TLS``."""
    return f"{found.host}, port {found.port}, {_SAID[found.tls]}"


def _unknown(address: MailAddress, given: Given, *, interview: Interview, search: Search | None) -> Finding:
    findings = Findings()
    if search is not None:
        interview.say(f"Looking for the POP3 server of {address.domain} (up to 5 seconds) …")
        findings = search(address)
    for note in findings.notes:
        interview.say(f"  note: {note}")
    wanted = tuple(one for one in findings.servers if _fits(one, given))
    if interview.terminal:
        return _chosen(address, wanted, given, interview=interview)
    return _taken(address, wanted, interview)


def _fits(one: Finding, given: Given) -> bool:
    return given.port in {None, one.port} and given.tls in {None, one.tls}


def _taken(address: MailAddress, found: tuple[Finding, ...], interview: Interview) -> Finding:
    """Returns the best finding, where nobody can be asked: one that nobody on the way can have made up."""
    if not found:
        raise UsageError(f"nobody knows the POP3 server of {address.domain}: give --host")
    best = found[0]
    if best.tls is TlsMode.NONE:
        raise UsageError(f"{best.source} names a server without TLS, which is not taken unseen: give --host and --tls")
    if not best.is_vouched:
        raise UsageError(
            f"{best.source} name {best.host}, which is not within {address.domain}, and nobody signed for it: if that "
            f"is your provider, give --host {best.host}"
        )
    interview.say(f"Found: {described(best)} (from {best.source})")
    return best


def _chosen(address: MailAddress, found: tuple[Finding, ...], given: Given, *, interview: Interview) -> Finding:
    if not found:
        interview.say('  Nothing was found: the provider\'s help pages name its POP3 (or "incoming mail") server.')
        return _typed(address, given, interview)
    shown = [f"{described(one)}\n       from {_whence(one, address)}" for one in found]
    number = interview.choice("Which server", [*shown, "another one"])
    if number > len(found):
        return _typed(address, given, interview)
    return found[number - 1]


def _whence(one: Finding, address: MailAddress) -> str:
    if one.is_vouched:
        return one.source
    return f"{one.source}; not within {address.domain}, and not signed: take it only if you know it as your provider's"


def _typed(address: MailAddress, given: Given, interview: Interview) -> Finding:
    guess = guesses(address)[0]
    host = interview.text("POP3 server", addresses.host_name, proposed=guess.host, option="--host")
    port = given.port or interview.text("Port", _port, proposed=str(_usual_port(given.tls)), option="--port")
    return _as_given(Given(host, port, given.tls), host, "", Rank.GUESS)


def _port(answer: str) -> int:
    if not (answer.isascii() and answer.isdigit() and 1 <= int(answer[:6]) <= addresses.LAST_PORT):
        raise ValueError(f"a port is expected, 1 to {addresses.LAST_PORT}; 995 is usual")
    return int(answer)


def _usual_port(tls: TlsMode | None) -> int:
    return POP3_PORT if tls in {TlsMode.STARTTLS, TlsMode.NONE} else POP3S_PORT


def _as_given(given: Given, host: str, user: str, rank: Rank) -> Finding:
    """Returns a server as it was said, with TLS unless something else was: on port 110 that is STARTTLS."""
    tls = given.tls or (TlsMode.STARTTLS if given.port == POP3_PORT else TlsMode.IMPLICIT)
    return Finding(host, given.port or _usual_port(tls), tls, "", rank, user=user, is_vouched=True)


def host_option(text: str) -> str:
    """Returns the host of ``--host``.

    Raises:
        ValueError: it is none.
    """
    host = addresses.host(fields.one_line(text))
    if host.startswith(UNIX_PREFIX):
        raise ValueError(
            "a Unix socket is not set up here: write the account by hand; docs/configuration.md has the keys"
        )
    return host
