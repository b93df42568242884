"""What a faulty server can be told to do, and octets as POP3 has them."""

import hashlib
import ssl
from dataclasses import dataclass
from typing import Final

GREETING: Final = b"greeting"
"""Where a fault stands that concerns the greeting."""


@dataclass(frozen=True, slots=True)
class Honest:
    """Does here what an honest server does.

    Attributes:
        send: False: it happens, and the client is not told.
        held: the answer goes out together with the next one, in one segment.
        cuts: where to cut the answer, in octets from its end; the client has taken a piece before the next goes out.
    """

    send: bool = True
    held: bool = False
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """Sends octets piece by piece; the client has taken a piece before the next one goes out."""

    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Flood:
    """Sends ``piece`` over and over: ``times`` times, or until the client has left."""

    piece: bytes
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Drip:
    """Sends these octets over and over, one every so many seconds, until the client has left."""

    octets: bytes
    every: float


@dataclass(frozen=True, slots=True)
class Handshake:
    """Does a TLS handshake."""

    context: ssl.SSLContext


def verb_of(line: bytes) -> bytes:
    return line.partition(b" ")[0].upper()


def digest(stored: bytes) -> bytes:
    return hashlib.sha256(stored).digest()


def stuffed(message: bytes) -> bytes:
    """Returns a message as it goes over the wire (RFC 1939 §3)."""
    ended = message if not message or message.endswith(b"\r\n") else message + b"\r\n"
    return (b"\r\n" + ended).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def listed(*lines: bytes) -> bytes:
    """Returns a positive reply of many lines."""
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"
