"""SASL as POP3 carries it (RFC 4422, RFC 5034), without I/O: challenges in, answers out.

A :class:`Mechanism` knows what to say; an :class:`Exchange` puts it into lines: base64, the initial response where it
may go with AUTH, and the limits of both. Neither ever quotes in an error what it sent or what the server sent back: a
server that echoes would have us log the password.
"""

import binascii
import re
from typing import Final, Protocol

from fetchd.errors import ProtocolError

CHALLENGE_LIMIT: Final = 64 * 1024
"""The most octets of a challenge in base64. The longest real ones, OAuth's JSON errors, have some hundred."""
AUTH_LINE_LIMIT: Final = 255
"""The most octets of an AUTH command with its CRLF (RFC 2449 §4). A longer initial response waits for the server's go
(RFC 5034 §4); the lines after AUTH have no such limit."""

# binascii's strict mode lets padding through where none belongs (Python 3.11).
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class Mechanism(Protocol):
    """The client's side of one authentication by one SASL mechanism. An instance serves once.

    Every method raises ``ProtocolError`` where the server broke the exchange: cancel it then with ``*``.
    """

    @property
    def name(self) -> str:
        """The mechanism's name as registered, in upper case."""
        ...

    @property
    def reveals_password(self) -> bool:
        """Whether whoever listens learns the password or the token."""
        ...

    @property
    def one_line(self) -> bool:
        """Whether the initial response should go with AUTH, where it fits."""
        ...

    @property
    def detail(self) -> str:
        """What the server said within the exchange about why it refuses: one printable line, or ""."""
        ...

    def initial(self) -> bytes | None:
        """Returns the initial response, which may be empty; None where the server speaks first."""
        ...

    def answer(self, challenge: bytes, /) -> bytes:
        """Returns the answer, which may be empty, to the server's next challenge.

        Raises:
            AuthenticationError: the server is not who it says it is (SCRAM).
        """
        ...

    def succeeded(self) -> None:
        """Is told that the server said ``+OK``; returns if the mechanism agrees.

        Raises:
            AuthenticationError: the server has not proven who it is (SCRAM): trust nothing that it says.
        """
        ...


class Exchange:
    """One AUTH command and what follows it, as lines without their CRLF (RFC 5034 §4).

    Args:
        mechanism: a new one.
        one_line: True sends the initial response with AUTH, however long it is; False waits for the server's go; None
            does as the mechanism would, and as the limit allows.
    """

    def __init__(self, mechanism: Mechanism, *, one_line: bool | None = None) -> None:
        self._mechanism = mechanism
        self._one_line = one_line
        self._held_back: bytes | None = None

    @property
    def detail(self) -> str:
        """What the server said within the exchange about why it refuses: one printable line, or ""."""
        return self._mechanism.detail

    @property
    def is_unheard(self) -> bool:
        """Whether the initial response was held back, and the server has not asked for it."""
        return self._held_back is not None

    def arguments(self) -> bytes:
        """Returns what follows ``AUTH`` and a blank in the command. Call it once, first."""
        name = self._mechanism.name.encode("ascii")
        initial = self._mechanism.initial()
        if initial is None:
            return name
        # RFC 5034 §4: an initial response without octets is written "=", lest it look like none.
        with_initial = b"%b %b" % (name, encode(initial) or b"=")
        if self._fits(with_initial):
            return with_initial
        self._held_back = initial
        return name

    def answer(self, text: bytes) -> bytes:
        """Returns the line that answers a continuation, ``text`` being what follows its ``+``.

        Raises:
            ProtocolError: the challenge is not base64, is too long, or breaks the exchange.
            AuthenticationError: the server is not who it says it is.
        """
        challenge = decode(text)
        if self._held_back is None:
            return encode(self._mechanism.answer(challenge))
        if challenge:
            raise ProtocolError(f"{self._mechanism.name}: a challenge before the client's first word")
        initial, self._held_back = self._held_back, None
        return encode(initial)

    def succeeded(self) -> None:
        """Is told that the server said ``+OK``; returns if the mechanism agrees.

        Raises:
            ProtocolError: the server called it a success before it had asked for anything.
            AuthenticationError: the server has not proven who it is.
        """
        if self._held_back is not None:
            raise ProtocolError(f"{self._mechanism.name}: success before the client's first word")
        self._mechanism.succeeded()

    def _fits(self, arguments: bytes) -> bool:
        if self._one_line is not None:
            return self._one_line
        return self._mechanism.one_line and len(b"AUTH \r\n") + len(arguments) <= AUTH_LINE_LIMIT


def decode(text: bytes) -> bytes:
    """Returns a challenge's octets from its base64 (RFC 4648 §4), padded and without anything else in it.

    Args:
        text: what follows the ``+``; blanks around it do not count, and nothing is an empty challenge.

    Raises:
        ProtocolError: it is not base64, or longer than ``CHALLENGE_LIMIT``.
    """
    if len(text) > CHALLENGE_LIMIT:
        raise ProtocolError(f"AUTH: a challenge of more than {CHALLENGE_LIMIT} octets")
    base64 = text.strip(b" ")
    if not _BASE64.fullmatch(base64):
        raise ProtocolError("AUTH: a challenge that is not base64")
    return binascii.a2b_base64(base64)


def encode(octets: bytes) -> bytes:
    """Returns octets in base64, on one line."""
    return binascii.b2a_base64(octets, newline=False)
