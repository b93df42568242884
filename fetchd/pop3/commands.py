"""The commands that a POP3 client sends, as values (RFC 1939, 2449, 2595)."""

import re
from enum import Enum, auto
from typing import Final

from fetchd.errors import UsageError, printable
from fetchd.values import value

_VERB: Final = re.compile(r"[A-Z0-9-]{1,40}")
_FORBIDDEN: Final = re.compile(rb"[\r\n\0]")
_SECRET: Final = frozenset({"PASS", "APOP", "AUTH"})

_NOT_BY_HAND: Final = {
    "USER": "login()",
    "PASS": "login()",
    "APOP": "login()",
    "AUTH": "login()",
    "STLS": 'connect(tls="starttls")',
    "QUIT": "quit()",
    "CAPA": "capabilities()",
    "RETR": "retrieve()",
    "TOP": "retrieve_header()",
}
_LIST_WITHOUT_ARGUMENT: Final = {"LIST": "list_messages()", "UIDL": "unique_ids()"}


class ReplyKind(Enum):
    """What a positive reply to a command consists of. A negative one is always one line."""

    LINE = auto()
    """The status line only."""
    LINES = auto()
    """The status line and a list: lines of a bounded length, many to an event."""
    BODY = auto()
    """The status line and a message: octets."""
    EXCHANGE = auto()
    """Challenges (``+`` and base64), each to be answered by a line, and the status line at the end (RFC 5034 §4)."""


@value
class Command:
    """One command. ``str`` and ``repr`` show it without secrets.

    Attributes:
        verb: the keyword, in upper case.
        args: everything behind it.
        kind: what its positive reply consists of.

    Raises:
        UsageError: it could not be sent as one line; nothing was sent.
    """

    verb: str
    args: bytes = b""
    kind: ReplyKind = ReplyKind.LINE

    def __post_init__(self) -> None:
        if not _VERB.fullmatch(self.verb):
            raise UsageError(f"not a POP3 command: {printable(self.verb)!r}")
        if not self.args.isalnum() and _FORBIDDEN.search(self.args):  # a message number needs no search
            raise UsageError(f"{self.verb}: an argument of a command must not hold CR, LF or NUL")

    @property
    def octets(self) -> int:
        """How many octets :meth:`encode` returns."""
        return len(self.verb) + (1 + len(self.args) if self.args else 0) + len(b"\r\n")

    def encode(self) -> bytes:
        """Returns the command as it goes over the wire."""
        return (
            b"%b %b\r\n" % (self.verb.encode("ascii"), self.args) if self.args else self.verb.encode("ascii") + b"\r\n"
        )

    def __str__(self) -> str:
        if not self.args:
            return self.verb
        return f"{self.verb} ***" if self.verb in _SECRET else f"{self.verb} {printable(self.args)}"

    def __repr__(self) -> str:
        return f"Command({str(self)!r})"


CAPA: Final = Command("CAPA", kind=ReplyKind.LINES)
STLS: Final = Command("STLS")
STAT: Final = Command("STAT")
LIST: Final = Command("LIST", kind=ReplyKind.LINES)
UIDL: Final = Command("UIDL", kind=ReplyKind.LINES)
NOOP: Final = Command("NOOP")
RSET: Final = Command("RSET")
QUIT: Final = Command("QUIT")
UTF8: Final = Command("UTF8")
"""RFC 6856 §2: without it, a server may wrap a message that has a raw UTF-8 header into another one."""


def user(name: bytes) -> Command:
    """Returns USER (RFC 1939 §7)."""
    return Command("USER", name)


def password(secret: bytes) -> Command:
    """Returns PASS (RFC 1939 §7); blanks in a password belong to it."""
    return Command("PASS", secret)


def apop(user: bytes, digest: bytes) -> Command:
    """Returns APOP (RFC 1939 §7); the digest is in hexadecimal."""
    return Command("APOP", b"%b %b" % (user, digest))


def auth(arguments: bytes) -> Command:
    """Returns AUTH (RFC 5034 §4): the mechanism's name, and perhaps an initial response in base64."""
    return Command("AUTH", arguments, ReplyKind.EXCHANGE)


def retr(number: int) -> Command:
    """Returns RETR for one message (RFC 1939 §5)."""
    return Command("RETR", _number(number), ReplyKind.BODY)


def list_one(number: int) -> Command:
    """Returns LIST for one message (RFC 1939 §5): its positive reply is one line, and names the message."""
    return Command("LIST", _number(number))


def top(number: int, lines: int) -> Command:
    """Returns TOP for a message's header and ``lines`` lines of its body (RFC 1939 §7)."""
    return Command("TOP", b"%b %d" % (_number(number), lines), ReplyKind.BODY)


def dele(number: int) -> Command:
    """Returns DELE for one message (RFC 1939 §5)."""
    return Command("DELE", _number(number))


def by_hand(verb: str, *args: str | bytes | int) -> Command:
    """Returns any command whose reply is one line; a ``str`` goes over the wire as UTF-8.

    Raises:
        UsageError: its reply is of many lines, or it changes the session: there is a method for it.
    """
    name = verb.upper()
    method = _NOT_BY_HAND.get(name) or (None if args else _LIST_WITHOUT_ARGUMENT.get(name))
    if method is not None:
        raise UsageError(f"{name}: use {method}")
    return Command(name, b" ".join(arg if isinstance(arg, bytes) else str(arg).encode() for arg in args))


def _number(number: int) -> bytes:
    if number < 1:
        raise UsageError(f"not a message number: {number}")
    return b"%d" % number
