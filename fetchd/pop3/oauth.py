"""Logging in with an OAuth 2 access token: OAUTHBEARER, and XOAUTH2, which came before it and is all that some have.

A server that refuses the token says why in one more challenge, which has to be answered before it says ``-ERR``.
"""

from typing import Final

from fetchd.errors import ProtocolError, SecretError, UsageError, printable
from fetchd.model import Secret

_SEPARATOR: Final = b"\x01"


class _Bearer:
    """What the two have in common: one message from us, and at most one challenge, which is an error."""

    def __init__(self, name: str, token: Secret, *, acknowledgement: bytes) -> None:
        self._name = name
        self._token = token
        self._acknowledgement = acknowledgement
        self._refused = False
        self.detail = ""
        # RFC 6750 §2.1 allows still fewer; this is what cannot end the message, or the header in it, early.
        if not token.reveal() or any(octet not in range(0x21, 0x7F) for octet in token.reveal()):
            raise SecretError(f"{name}: the access token is empty, or holds a blank or an octet that is not ASCII")

    def authorization(self) -> bytes:
        return b"auth=Bearer %b" % self._token.reveal()

    def answer(self, challenge: bytes) -> bytes:
        if self._refused:
            raise ProtocolError(f"{self._name}: one challenge too many")
        self._refused = True
        echoed = self._token.reveal() in challenge
        self.detail = "(not shown, for it holds the token)" if echoed else printable(challenge.strip())
        return self._acknowledgement

    def succeeded(self) -> None:
        if self._refused:
            raise ProtocolError(f"{self._name}: success after the server refused the token")


class OAuthBearer:
    """OAUTHBEARER (RFC 7628).

    Args:
        user: the mailbox.
        token: the access token.
        host, port: the server that the token is meant for; left out where empty.

    Raises:
        SecretError: the token is not one.
        UsageError: the user or the host holds a control character.
    """

    name: Final = "OAUTHBEARER"
    reveals_password: Final = True
    one_line: Final = False

    def __init__(self, user: bytes, token: Secret, *, host: str = "", port: int = 0) -> None:
        self._user = _without_controls(self.name, user)
        self._host = _without_controls(self.name, host.encode())
        self._port = port
        self._bearer = _Bearer(self.name, token, acknowledgement=_SEPARATOR)

    @property
    def detail(self) -> str:
        """The server's error, mostly JSON (RFC 7628 §3.2.2)."""
        return self._bearer.detail

    def initial(self) -> bytes:
        """Returns the gs2 header (RFC 5801 §4) and the key/value pairs."""
        escaped = self._user.replace(b"=", b"=3D").replace(b",", b"=2C")
        pairs = [b"n,a=%b," % escaped]
        if self._host:
            pairs.append(b"host=%b" % self._host)
        if self._port:
            pairs.append(b"port=%d" % self._port)
        return _SEPARATOR.join([*pairs, self._bearer.authorization(), b"", b""])

    def answer(self, challenge: bytes) -> bytes:
        """Returns the dummy response that lets the server fail (RFC 7628 §3.2.3)."""
        return self._bearer.answer(challenge)

    def succeeded(self) -> None:
        """Agrees unless the server refused the token before."""
        self._bearer.succeeded()


class XOAuth2:
    """XOAUTH2 (https://developers.google.com/gmail/imap/xoauth2-protocol).

    Args:
        user: the mailbox.
        token: the access token.

    Raises:
        SecretError: the token is not one.
        UsageError: the user holds a control character.
    """

    name: Final = "XOAUTH2"
    reveals_password: Final = True
    # Microsoft takes it only on a line of its own; all others take it there too.
    one_line: Final = False

    def __init__(self, user: bytes, token: Secret) -> None:
        self._user = _without_controls(self.name, user)
        self._bearer = _Bearer(self.name, token, acknowledgement=b"")

    @property
    def detail(self) -> str:
        """The server's error, mostly JSON."""
        return self._bearer.detail

    def initial(self) -> bytes:
        """Returns user and token."""
        return _SEPARATOR.join([b"user=%b" % self._user, self._bearer.authorization(), b"", b""])

    def answer(self, challenge: bytes) -> bytes:
        """Returns the empty response that lets the server fail."""
        return self._bearer.answer(challenge)

    def succeeded(self) -> None:
        """Agrees unless the server refused the token before."""
        self._bearer.succeeded()


def _without_controls(name: str, value: bytes) -> bytes:
    if any(octet < 0x20 or octet == 0x7F for octet in value):  # noqa: PLR2004 - ASCII's first blank, and DEL
        raise UsageError(f"{name}: the user or the host holds a control character")
    return value
