"""E-mail addresses and host names as people and servers write them. Pure."""

import re
from typing import Final

from fetchd.values import value

LAST_PORT: Final = 65535
LONGEST_USER: Final = 255
"""Octets of a user name: RFC 2449 §4 lets a POP3 command be that long."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}", re.ASCII)
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_LONGEST_LOCAL: Final = 64
"""Octets before the @ (RFC 5321 §4.5.3.1.1)."""


@value
class MailAddress:
    """One address.

    Attributes:
        text: as it was written, without blanks around it.
        local: what stands before the last @, as it was written; quotes included.
        domain: what stands behind it, in lower case, in the ASCII form of DNS (RFC 5890: ``xn--…``).
    """

    text: str
    local: str
    domain: str


def parse_address(text: str) -> MailAddress:
    """Returns an address taken apart.

    Raises:
        ValueError: it is none; the text says why.

    >>> parse_address("Alice+pop@Bücher.example").domain
    'xn--bcher-kva.example'
    """
    text = text.strip()
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise ValueError("an e-mail address is expected, as in alice@example.org")
    if not text.isprintable():
        raise ValueError("the address holds a character that cannot be printed: type it anew")
    if len(local.encode()) > _LONGEST_LOCAL:
        raise ValueError(f"more than {_LONGEST_LOCAL} octets stand before the @: that is no e-mail address")
    quoted = _QUOTED.fullmatch(local) is not None
    if not quoted and any(character in local for character in ' "<>(),:;@\\[]'):
        raise ValueError("the address alone is expected, without a name, brackets or blanks, as in alice@example.org")
    return MailAddress(text, local, ascii_domain(domain))


def ascii_domain(domain: str) -> str:
    """Returns a domain in lower case and in the ASCII form that DNS knows (IDNA 2008, with the mapping of UTS 46).

    Raises:
        ValueError: it is no domain's name.
    """
    name = domain.removesuffix(".").lower()
    if not name.isascii():
        import idna  # noqa: PLC0415 - big tables, for few

        try:
            name = idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            name = ""
    if not is_host(name):
        raise ValueError("what stands behind the @ is not the name of a domain, as example.org is")
    return name


def is_host(name: str) -> bool:
    """Returns whether this is a host's name in lower case: letters, digits and hyphens, and no IP address."""
    return _HOST.fullmatch(name) is not None


def is_within(host: str, domain: str) -> bool:
    """Returns whether a host is the domain itself, or stands below it."""
    return host == domain or host.endswith(f".{domain}")


def is_user(name: str) -> bool:
    """Returns whether a server may have meant this as a user's name: one printable line that POP3 can carry."""
    return 0 < len(name.encode("utf-8", "replace")) <= LONGEST_USER and name.isprintable()
