"""Thunderbird's autoconfig: an XML text in, POP3 servers out. Pure.

The format: https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat. The text is a stranger's: a
DOCTYPE, and with it every entity of its own making, ends it, and so does nesting; a server that is not plainly
described is left out, and that is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from fetchd.discovery.address import LAST_PORT, MailAddress, is_host, is_user
from fetchd.discovery.finding import Finding, Findings, Rank
from fetchd.errors import printable
from fetchd.model import TlsMode

LIMIT_OCTETS: Final = 256 * 1024
"""The largest file; real ones have some thousand octets."""
_LIMIT_DEPTH: Final = 12
_LIMIT_SERVERS: Final = 20
_LIMIT_VALUE: Final = 1024
_PLACE: Final = ("clientConfig", "emailProvider", "incomingServer")
_MODES: Final[Mapping[str, TlsMode]] = {
    "SSL": TlsMode.IMPLICIT,
    "STARTTLS": TlsMode.STARTTLS,
    "plain": TlsMode.NONE,
}


class AutoconfigError(Exception):
    """A text that is no autoconfig, or none that is looked at; the message is a phrase."""


class NotAutoconfigError(AutoconfigError):
    """Something else, as the page that many a web server has for every address."""


@dataclass(slots=True)
class _Server:
    kind: str
    values: dict[str, list[str]] = field(default_factory=dict)

    def value(self, key: str) -> str:
        """Returns what is said first under a key, without the blanks around it; "" where nothing is."""
        return self.values.get(key, [""])[0].strip()


class _Reader:
    """Follows the parser's events, and keeps the incoming servers."""

    def __init__(self) -> None:
        self.servers: list[_Server] = []
        self._path: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._path.append(name)
        if self._path[0] != _PLACE[0]:
            raise NotAutoconfigError("is not the XML of an autoconfig")
        if len(self._path) > _LIMIT_DEPTH:
            raise AutoconfigError("is nested deeper than any autoconfig")
        if tuple(self._path) == _PLACE:
            if len(self.servers) >= _LIMIT_SERVERS:
                raise AutoconfigError(f"names more than {_LIMIT_SERVERS} servers")
            self.servers.append(_Server(attributes.get("type", "")))
        elif tuple(self._path[:-1]) == _PLACE:
            self.servers[-1].values.setdefault(name, []).append("")

    def end(self, name: str) -> None:  # noqa: ARG002 - expat's signature
        self._path.pop()

    def text(self, text: str) -> None:
        if tuple(self._path[:-1]) != _PLACE:
            return
        values = self.servers[-1].values[self._path[-1]]
        values[-1] += text
        if len(values[-1]) > _LIMIT_VALUE:
            raise AutoconfigError("holds a value that is too long")


def _refuse_doctype(*_: object) -> None:
    raise AutoconfigError("has a DOCTYPE, which no autoconfig needs")


def parse_autoconfig(text: bytes, address: MailAddress, *, source: str, rank: Rank) -> Findings:
    """Returns the POP3 servers that an autoconfig names for an address.

    Args:
        text: the file, as it came over a verified line.
        address: what the placeholders stand for.
        source: for :class:`Finding`.
        rank: the same.

    Raises:
        AutoconfigError: this is no autoconfig, or a hostile one.
    """
    servers = _read(text)
    found: list[Finding] = []
    refused: list[str] = []
    for server in servers:
        if server.kind != "pop3":
            continue
        try:
            found.append(_finding(server, address, source=source, rank=rank))
        except ValueError as error:
            refused.append(f"{source} names a POP3 server that cannot be used: {error}")
    if not found and not refused:
        refused.append(f"{source} names no POP3 server" + (", only IMAP" if servers else ""))
    return Findings(tuple(found), tuple(refused[:1]))


def _read(text: bytes) -> list[_Server]:
    if len(text) > LIMIT_OCTETS:
        raise AutoconfigError(f"is larger than {LIMIT_OCTETS >> 10} KiB")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the others: an encoding that nobody knows
        raise NotAutoconfigError("is not the XML of an autoconfig") from error
    return reader.servers


def _finding(server: _Server, address: MailAddress, *, source: str, rank: Rank) -> Finding:
    host = _filled(server.value("hostname"), address).removesuffix(".").lower()
    if not is_host(host):
        raise ValueError(f'"{printable(host)}" is not a host name')
    port = server.value("port")
    if not (port.isascii() and port.isdigit() and len(port) <= len(str(LAST_PORT)) and 0 < int(port) <= LAST_PORT):
        raise ValueError(f'"{printable(port)}" is not a port')
    mode = _MODES.get(server.value("socketType"))
    if mode is None:
        raise ValueError(f'"{printable(server.value("socketType"))}" is not a way to protect the line')
    user = _filled(server.value("username"), address)
    if user and not is_user(user):
        raise ValueError("its user name is not one line of text")
    ways = {way.strip() for way in server.values.get("authentication", ())}
    return Finding(host, int(port), mode, source, rank, user=user, is_vouched=True, wants_oauth=ways == {"OAuth2"})


def _filled(text: str, address: MailAddress) -> str:
    """Returns a value with what stands for parts of the address replaced; what an address holds is not looked at."""
    parts = {
        "%EMAILADDRESS%": address.text,
        "%EMAILLOCALPART%": address.local,
        "%EMAILDOMAIN%": address.domain,
    }
    out = ""
    while text:
        known = next((name for name in parts if text.startswith(name)), None)
        out, text = (out + parts[known], text[len(known) :]) if known else (out + text[0], text[1:])
    return out
