"""What was found out about a mailbox, and which of it comes first. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Final

from fetchd.model import TlsMode
from fetchd.values import value

MOST_FINDINGS: Final = 6
"""More than these nobody wants to choose from."""


class Rank(IntEnum):
    """Where a finding comes from, best first."""

    SRV = 0
    DOMAIN = 1
    """Autoconfig of the domain itself."""
    DATABASE = 2
    """Thunderbird's database of providers."""
    EXCHANGER = 3
    """Either of these, by the domain of the host that takes the domain's mail."""
    GUESS = 4


@value
class Finding:
    """One POP3 server that an address may have its mailbox on.

    Attributes:
        host: in lower case, ASCII.
        port, tls: how to reach it.
        source: who says so, as a phrase after "from": ``the SRV records of example.org``.
        rank: of that source.
        user: the name to log in with; "" where nothing is said of it, which mostly means the whole address.
        is_vouched: whether an attacker in the network cannot have made it up: it came over a verified line, or the
            host is the domain's own, so that its certificate will tell.
        wants_oauth: the server takes OAuth 2 tokens and no passwords.
    """

    host: str
    port: int
    tls: TlsMode
    source: str
    rank: Rank
    user: str = ""
    is_vouched: bool = False
    wants_oauth: bool = False


@value
class Findings:
    """What a search brought.

    Attributes:
        servers: the best one first.
        notes: what else has to be said, one line each: who was asked in vain with what result, what was refused.
    """

    servers: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


_ORDER: Final[Mapping[TlsMode, int]] = {TlsMode.IMPLICIT: 0, TlsMode.STARTTLS: 1, TlsMode.NONE: 2}


def ordered(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Returns findings without repetitions, the best first; a line in the clear comes last, whoever names it.

    What several sources agree on is one finding: with the user that any of them names, and vouched for if any is.
    """
    merged: dict[tuple[str, int, TlsMode], Finding] = {}
    for one in sorted(found, key=_key):
        place = (one.host, one.port, one.tls)
        merged[place] = _joined(merged[place], one) if place in merged else one
    return tuple(sorted(merged.values(), key=_key)[:MOST_FINDINGS])


def _key(one: Finding) -> tuple[bool, bool, int, int]:
    return (one.tls is TlsMode.NONE, not one.is_vouched, one.rank, _ORDER[one.tls])


def _joined(first: Finding, other: Finding) -> Finding:
    return replace(
        first,
        rank=min(first.rank, other.rank),
        user=first.user or other.user,
        is_vouched=first.is_vouched or other.is_vouched,
        wants_oauth=first.wants_oauth or other.wants_oauth,
        source=first.source if other.source in first.source else f"{first.source} and {other.source}",
    )
