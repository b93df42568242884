"""What one line from a server means: status replies, STAT, LIST, UIDL and CAPA (RFC 1939, 2449, 3206).

Numbers are ``[0-9]{1,19}`` on octets, so that no sign, hexadecimal digit, foreign digit or number of 5,000 digits gets
through. A line that POP3 does not allow is a ``ProtocolError``; its text is escaped before it enters the message.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from fetchd.errors import ProtocolError, printable
from fetchd.model import Capabilities, Reply, UniqueId

MOST_DIGITS: Final = 19
MOST_OCTETS: Final = 2**63 - 1
"""The largest size of a message that is believed: what is larger fits no file, and no column of a database."""

_STATUS: Final = re.compile(rb"(\+OK|-ERR)(?:[ ]+(.*)|)", re.IGNORECASE | re.DOTALL)
# RFC 2449 §8: resp-level is any printable character but "/" and "]".
_RESPONSE_CODE: Final = re.compile(rb"\[([!-\\^-~]+)\][ ]*")
_STAT: Final = re.compile(rb"([0-9]{1,19})[ ]+([0-9]{1,19})(?:[ ]|\Z)")
_TLS_RECORD: Final = range(0x14, 0x18)
_TLS_HINT: Final = "this looks like TLS: the port may want implicit TLS (port 995)"
_STRANGERS: Final = (
    (re.compile(rb"\* "), "this looks like an IMAP server"),
    (re.compile(rb"HTTP/"), "this looks like a web server"),
    (re.compile(rb"SSH-"), "this looks like an SSH server"),
    (re.compile(rb"[0-9]{3}[ -]"), "this looks like an SMTP or FTP server"),
)


def is_positive(line: bytes | str) -> bool:
    """Returns whether a server's line is a positive reply, that is whether it begins with ``+``."""
    return line.startswith(b"+") if isinstance(line, bytes) else line.startswith("+")


def reject_tls_record(first: int) -> None:
    """Tells by the first octet of a greeting that the server speaks TLS: no line end may ever follow it.

    Raises:
        ProtocolError: it does.
    """
    if first in _TLS_RECORD:
        raise ProtocolError(f"not a POP3 reply; {_TLS_HINT}")


def parse_status(line: bytes) -> Reply:
    """Returns a status reply (RFC 1939 §3), with its response code (RFC 2449 §8) wherever one stands.

    Args:
        line: without its line end.

    Raises:
        ProtocolError: it is neither ``+OK`` nor ``-ERR``, or holds NUL. The message names a likely mistake.
    """
    match = _STATUS.fullmatch(line)
    if match is None:
        raise ProtocolError(f'not a POP3 reply: "{printable(line)}"{_hint(line)}')
    if b"\0" in line:
        raise ProtocolError(f'a reply holds NUL: "{printable(line)}"')
    text = match[2] or b""
    code = _RESPONSE_CODE.match(text) if text.startswith(b"[") else None
    return Reply(
        ok=match[1][:1] == b"+",
        text=text[code.end() :] if code else text,
        code=code[1].decode("ascii").upper() if code else "",
    )


def _hint(line: bytes) -> str:
    for pattern, hint in _STRANGERS:
        if pattern.match(line):
            return f"; {hint}"
    return ""


def parse_stat(text: bytes) -> tuple[int, int]:
    """Returns the number of messages and their octets from the text of STAT's reply (RFC 1939 §5).

    Raises:
        ProtocolError: it does not begin with two numbers.
    """
    match = _STAT.match(text)
    if match is None:
        raise ProtocolError(f'not two numbers: "{printable(text)}"')
    return int(match[1]), int(match[2])


def parse_listing(line: bytes) -> tuple[int, int]:
    """Returns one line of LIST (RFC 1939 §5) as message number and size in octets.

    The number has to be right, for we shall ask by it. The size is a hint that nobody relies on, and real servers send
    -1, or nothing: whatever is not a number counts as unknown, and is given as 0.

    Raises:
        ProtocolError: the line does not begin with a message number.
    """
    number, _, size = line.partition(b" ")
    claimed = size.strip(b" ").partition(b" ")[0]
    octets = int(claimed) if _is_number(claimed) else 0
    return _message_number(number, line), octets if octets <= MOST_OCTETS else 0


def named_message(reply: Reply) -> int | None:
    """Returns which message the reply to LIST for one message is about (RFC 1939 §5); None where it names none."""
    match = _STAT.match(reply.text) if reply.ok else None
    return int(match[1]) if match else None


def parse_unique_id(line: bytes) -> tuple[int, UniqueId]:
    """Returns one line of UIDL (RFC 1939 §7) as message number and unique-id.

    The unique-id is everything behind the blanks that follow the number: opaque, of any length, with any octet that is
    not NUL or a line end; blanks in it and at its end belong to it.

    Raises:
        ProtocolError: the line does not begin with a message number, or has no unique-id.
    """
    number, _, uid = line.partition(b" ")
    uid = uid.lstrip(b" ")
    if not uid:
        raise ProtocolError(f'no unique-id: "{printable(line)}"')
    return _message_number(number, line), UniqueId(uid)


def parse_capabilities(lines: Iterable[bytes]) -> Capabilities:
    """Returns the lines of CAPA (RFC 2449 §5); a capability that is sent twice has the parameters of both lines.

    Servers say the same again and again: equal answers are one object.
    """
    return _parse_capabilities(tuple(lines))


@lru_cache(maxsize=32)
def _parse_capabilities(lines: tuple[bytes, ...]) -> Capabilities:
    items: dict[str, dict[str, None]] = {}
    for line in lines:
        words = [printable(word) for word in line.split()]
        if words:
            items.setdefault(words[0].upper(), {}).update(dict.fromkeys(words[1:]))
    return Capabilities({name: tuple(parameters) for name, parameters in items.items()})


def _is_number(digits: bytes) -> bool:
    return len(digits) <= MOST_DIGITS and digits.isdigit()


def _message_number(digits: bytes, line: bytes) -> int:
    if not _is_number(digits) or not (number := int(digits)):
        raise ProtocolError(f'no message number: "{printable(line)}"')
    return number
