"""All sources at once, and what they know when the time is over."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from fetchd.discovery import srv
from fetchd.discovery.address import MailAddress
from fetchd.discovery.autoconfig import LIMIT_OCTETS, AutoconfigError, NotAutoconfigError, parse_autoconfig
from fetchd.discovery.finding import Finding, Findings, Rank, ordered
from fetchd.discovery.probe import ProbeError, probe
from fetchd.discovery.web import Web, WebError
from fetchd.model import TlsMode

if TYPE_CHECKING:
    from dns.resolver import Resolver

SECONDS: Final = 5.0
"""For all of it: somebody sits and waits."""

Source = Callable[[], Findings]
"""Asks somebody; may block, may raise."""


def guesses(address: MailAddress) -> tuple[Finding, ...]:
    """Returns servers that an address may have its mailbox on, by the names that such hosts usually have."""
    source = "a guess by its name"
    hosts = [f"{label}.{address.domain}" for label in ("pop", "mail", "pop3")]
    return tuple(Finding(host, 995, TlsMode.IMPLICIT, source, Rank.GUESS) for host in hosts)


def search(
    address: MailAddress,
    *,
    seconds: float = SECONDS,
    names: "Callable[[float], Resolver]" = srv.resolver,
    web: Web | None = None,
    look: Callable[..., Finding] = probe,
) -> Findings:
    """Returns what the network knows of an address's POP3 server, within so many seconds.

    Of the address itself its own domain alone is told (autoconfig.DOMAIN, over https); others hear the domain.

    Args:
        address: whose.
        seconds: for all sources together.
        names: makes a resolver for a number of seconds.
        web: what gets files.
        look: what finds out whether a guess is right.
    """
    if "." not in address.domain:
        return Findings()  # localhost and the like: nobody out there knows it
    asked = Web() if web is None else web
    domain = address.domain
    fetch = partial(_from_web, address, asked, seconds=seconds)
    sources: list[Source] = [
        *(partial(_by_service, domain, one, names, seconds=seconds) for one in srv.SERVICES),
        *(partial(fetch, url, source=source, rank=rank) for url, source, rank in _places(address)),
        lambda: _by_exchangers(address, names(seconds), asked, seconds=seconds),
        *(partial(_looked, one, look, seconds=seconds) for one in _probed(address)),
    ]
    found = list(_ask_all(sources, seconds))
    servers = [one for answer in found for one in answer.servers]
    known = [one for one in servers if one.rank is not Rank.GUESS]
    notes = tuple(dict.fromkeys(note for answer in found for note in answer.notes))
    return Findings(ordered(known or servers), notes)


def _ask_all(sources: Iterable[Source], seconds: float) -> Iterable[Findings]:
    """Asks all at once; who has not answered when the time is over is left behind, in a thread that holds nobody up."""
    answers: queue.SimpleQueue[Findings] = queue.SimpleQueue()
    left = 0
    for source in sources:
        left += 1
        threading.Thread(target=_ask, args=(source, answers), daemon=True).start()
    deadline = time.monotonic() + seconds
    for _ in range(left):
        try:
            yield answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return


def _ask(source: Source, answers: "queue.SimpleQueue[Findings]") -> None:
    try:
        answers.put(source())
    except Exception:  # noqa: BLE001 - a source that fails knows nothing: the next one may
        answers.put(Findings())


def _by_service(
    domain: str, service: tuple[str, TlsMode], names: "Callable[[float], Resolver]", *, seconds: float
) -> Findings:
    """Asks for one kind of record: where DNS is silent about the other, this one's answer is not held up by it."""
    return srv.ask_services(domain, names(seconds), services=(service,))


def _places(address: MailAddress) -> list[tuple[str, str, Rank]]:
    """Returns where autoconfig may be: the address, who that is, and the rank of a finding there."""
    domain = address.domain
    told = quote(address.text, safe="")
    return [
        (
            f"https://autoconfig.{domain}/mail/config-v1.1.xml?emailaddress={told}",
            f"https://autoconfig.{domain}",
            Rank.DOMAIN,
        ),
        (f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml", f"https://{domain}", Rank.DOMAIN),
        (_database(domain), "Thunderbird's list of providers", Rank.DATABASE),
    ]


def _database(domain: str) -> str:
    return f"https://autoconfig.thunderbird.net/v1.1/{domain}"


def _from_web(address: MailAddress, web: Web, url: str, *, source: str, rank: Rank, seconds: float) -> Findings:
    """Returns what one file says. Hosts that do not answer are the rule, and no word is lost about them."""
    try:
        text = web.get(url, limit=LIMIT_OCTETS, seconds=seconds)
    except WebError as error:
        quiet = str(error) == "it does not answer"
        return Findings(notes=() if quiet else (f"{source} is of no use: {error}",))
    if text is None:
        return Findings()
    try:
        return parse_autoconfig(text, address, source=source, rank=rank)
    except NotAutoconfigError:
        return Findings()
    except AutoconfigError as error:
        return Findings(notes=(f"{source} is of no use: what it sends {error}",))


def _by_exchangers(address: MailAddress, names: "Resolver", web: Web, *, seconds: float) -> Findings:
    """Returns what is known of the provider whose hosts take the domain's mail.

    That these hosts do is the word of DNS alone, so nothing of this is vouched for.
    """
    deadline = time.monotonic() + seconds
    above = [name for host in srv.ask_exchangers(address.domain, names) for name in srv.domains_above(host)]
    for domain in dict.fromkeys(name for name in above if name != address.domain):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        source = f"Thunderbird's list of providers, of {domain}, where mail to {address.domain} goes"
        answer = _from_web(address, web, _database(domain), source=source, rank=Rank.EXCHANGER, seconds=left)
        if answer.servers:
            return Findings(tuple(replace(one, is_vouched=False) for one in answer.servers))
    return Findings()


def _probed(address: MailAddress) -> list[Finding]:
    implicit = guesses(address)
    return [*implicit, *(Finding(one.host, 110, TlsMode.STARTTLS, one.source, one.rank) for one in implicit)]


def _looked(guess: Finding, look: Callable[..., Finding], *, seconds: float) -> Findings:
    try:
        return Findings((look(guess, seconds=seconds),))
    except ProbeError as error:
        said = str(error)
        return Findings(notes=(f"{guess.host}, port {guess.port}, is of no use: {said}",) if said else ())
