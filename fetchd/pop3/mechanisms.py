"""The SASL mechanisms of few words: PLAIN, LOGIN, EXTERNAL and CRAM-MD5; and APOP, which is none but looks like one."""

import hashlib
import hmac
import re
from typing import Final

from fetchd.errors import ProtocolError, SecretError, UsageError
from fetchd.model import Secret

GREETING_LIMIT: Final = 512
"""The most octets of a greeting in which a timestamp is looked for (RFC 1939 §3)."""

# RFC 1939 §7 wants a msg-id of RFC 822. No part of the pattern can match what the next one begins with: one pass, be
# there ever so many "<" and "@".
_TIMESTAMP: Final = re.compile(rb"<[!-;=?A-~]+@[!-;=?A-~]+>")


class Plain:
    """PLAIN (RFC 4616): user and password in clear text, in one message.

    Raises:
        SecretError: the password holds NUL, which is the separator.
        UsageError: the user does.
    """

    name: Final = "PLAIN"
    reveals_password: Final = True
    one_line: Final = True
    detail: Final = ""

    def __init__(self, user: bytes, password: Secret) -> None:
        if b"\0" in password.reveal():
            raise SecretError("PLAIN: the password holds NUL")
        self._user = _without_nul(self.name, user)
        self._password = password

    def initial(self) -> bytes:
        """Returns both; the server derives the authorization identity from the user."""
        return b"\0%b\0%b" % (self._user, self._password.reveal())

    def answer(self, _challenge: bytes) -> bytes:
        """Raises ProtocolError: nothing is left to say."""
        raise _superfluous(self.name)

    def succeeded(self) -> None:
        """Agrees."""


class Login:
    """LOGIN (draft-murchison-sasl-login): user, then password, in clear text, each upon a prompt of any wording."""

    name: Final = "LOGIN"
    reveals_password: Final = True
    one_line: Final = False
    detail: Final = ""

    def __init__(self, user: bytes, password: Secret) -> None:
        self._left = [password, Secret(user)]

    def initial(self) -> None:
        """Returns None: the server prompts."""

    def answer(self, _prompt: bytes) -> bytes:
        """Returns the user, then the password."""
        if not self._left:
            raise _superfluous(self.name)
        return self._left.pop().reveal()

    def succeeded(self) -> None:
        """Agrees if both prompts came."""
        if self._left:
            raise _premature(self.name)


class External:
    """EXTERNAL (RFC 4422 appendix A): the server knows us already, by our TLS certificate for example.

    Args:
        identity: who to act as; empty for whoever the certificate names.

    Raises:
        UsageError: the identity holds NUL.
    """

    name: Final = "EXTERNAL"
    reveals_password: Final = False
    one_line: Final = True
    detail: Final = ""

    def __init__(self, identity: bytes = b"") -> None:
        self._identity = _without_nul(self.name, identity)

    def initial(self) -> bytes:
        """Returns the identity."""
        return self._identity

    def answer(self, _challenge: bytes) -> bytes:
        """Raises ProtocolError: nothing is left to say."""
        raise _superfluous(self.name)

    def succeeded(self) -> None:
        """Agrees."""


class CramMd5:
    """CRAM-MD5 (RFC 2195): the password keys a digest of what the server says. The server proves nothing."""

    name: Final = "CRAM-MD5"
    reveals_password: Final = False
    one_line: Final = False
    detail: Final = ""

    def __init__(self, user: bytes, password: Secret) -> None:
        self._user = user
        self._password = password
        self._answered = False

    def initial(self) -> None:
        """Returns None: the server challenges."""

    def answer(self, challenge: bytes) -> bytes:
        """Returns the user and the keyed digest of the challenge."""
        if self._answered:
            raise _superfluous(self.name)
        if not challenge:
            raise ProtocolError(f"{self.name}: an empty challenge")
        self._answered = True
        digest = hmac.new(self._password.reveal(), challenge, "md5").hexdigest()
        return b"%b %b" % (self._user, digest.encode("ascii"))

    def succeeded(self) -> None:
        """Agrees if there was a challenge."""
        if not self._answered:
            raise _premature(self.name)


def apop_timestamp(greeting: bytes) -> bytes | None:
    """Returns the timestamp by which a greeting offers APOP (RFC 1939 §7), its angle brackets included.

    That is the last msg-id in it, for a greeting may name a postmaster too; None where there is none that is well
    formed. Strictness is what keeps a man in the middle from having us digest octets of his choice, which is how APOP
    passwords were broken (CVE-2007-1558). Whether a server uses a timestamp twice, nobody can tell from one greeting.

    Args:
        greeting: the text behind ``+OK``.
    """
    if len(greeting) > GREETING_LIMIT:
        return None
    found = _TIMESTAMP.findall(greeting)
    return bytes(found[-1]) if found else None


def apop_digest(timestamp: bytes, password: Secret) -> bytes:
    """Returns the digest that APOP sends (RFC 1939 §7): 32 lower-case hexadecimal digits.

    Raises:
        ProtocolError: the timestamp is not one that :func:`apop_timestamp` gives.
    """
    if not _TIMESTAMP.fullmatch(timestamp):
        raise ProtocolError("APOP: the greeting's timestamp is not a msg-id")
    # MD5 is what the protocol has; where it must not be used for security, it is TLS that protects the password.
    return hashlib.md5(timestamp + password.reveal(), usedforsecurity=False).hexdigest().encode("ascii")


def _without_nul(name: str, identity: bytes) -> bytes:
    if b"\0" in identity:
        raise UsageError(f"{name}: the user holds NUL")
    return identity


def _superfluous(name: str) -> ProtocolError:
    return ProtocolError(f"{name}: one challenge too many")


def _premature(name: str) -> ProtocolError:
    return ProtocolError(f"{name}: success before the exchange was over")
