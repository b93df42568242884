"""What DNS says: SRV records for POP3 (RFC 6186 §3.3), and the hosts that take a domain's mail (MX, RFC 5321 §5)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from fetchd.discovery.address import LAST_PORT, is_host, is_within
from fetchd.discovery.finding import Finding, Findings, Rank
from fetchd.errors import printable
from fetchd.model import TlsMode

if TYPE_CHECKING:
    from dns.resolver import Resolver

MOST_RECORDS: Final = 4
"""Of one answer; the best of them."""
SERVICES: Final = (("_pop3s._tcp", TlsMode.IMPLICIT), ("_pop3._tcp", TlsMode.STARTTLS))
"""``_pop3`` means port 110: there STLS is insisted on, for a record that nobody signed must not take TLS away."""


class Service(NamedTuple):
    """One SRV record; its target is what came over the wire, as text, whatever it is."""

    priority: int
    weight: int
    port: int
    target: str


def judge_records(records: Iterable[Service], domain: str, *, mode: TlsMode) -> Findings:
    """Returns what SRV records say, and which of them are refused. Pure.

    The only vouched targets are those within the domain: anybody on the way could have put in another (RFC 6186 §6).
    """
    source = f"the SRV records of {domain}"
    found: list[Finding] = []
    notes: list[str] = []
    for record in sorted(records, key=lambda one: (one.priority, -one.weight))[:MOST_RECORDS]:
        host = record.target.removesuffix(".").lower()
        if not host:
            continue  # "." says that there is no such service (RFC 2782)
        if not is_host(host) or not 0 < record.port <= LAST_PORT:
            notes.append(f'{source} name "{printable(host)}", port {record.port}, which is no server')
            continue
        vouched = is_within(host, domain)
        found.append(Finding(host, record.port, mode, source, Rank.SRV, is_vouched=vouched))
    return Findings(tuple(found), tuple(notes[:1]))


def resolver(seconds: float) -> "Resolver":
    """Returns a resolver as this machine is set up (/etc/resolv.conf), whose answers come within so many seconds.

    Raises:
        dns.exception.DNSException: the machine is not set up for DNS.
    """
    from dns.resolver import Resolver  # noqa: PLC0415 - heavy, and for this alone

    made = Resolver()
    made.lifetime = seconds
    return made


def ask_services(domain: str, names: "Resolver", *, services: Iterable[tuple[str, TlsMode]] = SERVICES) -> Findings:
    """Returns what the SRV records of a domain say; nothing where it has none or DNS does not answer."""
    answers = [judge_records(_services(f"{label}.{domain}.", names), domain, mode=mode) for label, mode in services]
    return Findings(
        tuple(one for answer in answers for one in answer.servers),
        tuple(note for answer in answers for note in answer.notes),
    )


def _services(name: str, names: "Resolver") -> list[Service]:
    from dns.exception import DNSException  # noqa: PLC0415 - as above

    try:
        answer = names.resolve(name, "SRV", search=False)
    except DNSException:
        return []
    return [Service(one.priority, one.weight, one.port, one.target.to_text()) for one in answer]


def ask_exchangers(domain: str, names: "Resolver") -> list[str]:
    """Returns the hosts that take a domain's mail, the first one first; those alone that are host names."""
    from dns.exception import DNSException  # noqa: PLC0415 - as above

    try:
        answer = names.resolve(f"{domain}.", "MX", search=False)
    except DNSException:
        return []
    hosts = [one.exchange.to_text().removesuffix(".").lower() for one in sorted(answer, key=lambda one: one.preference)]
    return [host for host in hosts if is_host(host)][:MOST_RECORDS]


def domains_above(exchanger: str) -> tuple[str, ...]:
    """Returns the domains that a mail exchanger may belong to: its last two labels, and all but its first.

    >>> domains_above("mx.mail.example.co.uk")
    ('mail.example.co.uk', 'example.co.uk')
    """
    labels = exchanger.split(".")
    above = [".".join(labels[start:]) for start in range(1, len(labels) - 1)]
    return tuple(dict.fromkeys([*above[:1], *above[-2:]]))
