"""SCRAM-SHA-1 and SCRAM-SHA-256, with -PLUS (RFC 5802, RFC 7677): the password stays here, the server proves itself.

The cryptography is scramp's. What a server may put into it is checked here first, whatever scramp's version. scramp is
imported when first needed: that costs 60 ms and more, and few servers have SCRAM.
"""

import re
import secrets
from typing import Any, Final

from fetchd.errors import AuthenticationError, ProtocolError, SecretError, printable
from fetchd.model import Reply, Secret
from fetchd.pop3.binding import ChannelBinding

FEWEST_ITERATIONS: Final = 4096
"""RFC 5802 §5.1, RFC 7677 §4. With a single one, whoever poses as the server could try passwords at leisure."""
MOST_ITERATIONS: Final = 2_000_000
"""About a second of processor time; the most that is recommended anywhere is some 1,400,000 (OWASP, for SHA-1)."""

# RFC 5802 §7. "m=" in front, an extension that must be understood, does not match: there is none.
_EXTENSIONS: Final = r"(?:,[A-Za-z]=[^,\0]+)*"
_SERVER_FIRST: Final = re.compile(r"r=([!-+\--~]+),s=[A-Za-z0-9/+=]+,i=([1-9][0-9]{0,18})" + _EXTENSIONS)
_SERVER_FINAL: Final = re.compile(r"v=[A-Za-z0-9/+=]+" + _EXTENSIONS)
_SERVER_ERROR: Final = re.compile(r"e=([^,\0]+)" + _EXTENSIONS)


class Scram:
    """One exchange by a mechanism of the SCRAM family.

    User and password are prepared by SASLprep (RFC 4013) as stored strings: a code point that Unicode 3.2 did not have
    is refused in both, though RFC 5802 §5.1 would let it pass in a user. See :func:`is_portable`.

    Args:
        name: for example ``SCRAM-SHA-256-PLUS``.
        user: UTF-8.
        password: UTF-8.
        binding: the TLS channel. With -PLUS the exchange is bound to it. Without, the server is told that we would have
            bound it, had that been offered: one that did offer it learns that somebody took it off the list. None says
            that we cannot.
        nonce: for tests.

    Raises:
        SecretError: SASLprep forbids the user or the password, or one is empty or not UTF-8; or -PLUS lacks a binding.
    """

    reveals_password: Final = False
    one_line: Final = True

    def __init__(
        self,
        name: str,
        user: bytes,
        *,
        password: Secret,
        binding: ChannelBinding | None = None,
        nonce: str | None = None,
    ) -> None:
        scramp = _scramp()
        texts = _text(user), _text(password.reveal())
        if not all(texts):
            raise SecretError(f"{name}: the user or the password is empty, or not UTF-8")
        self.name = name
        self.detail = ""
        self._nonce = nonce or secrets.token_urlsafe(24)
        self._scramp_error: type[Exception] = scramp.ScramException
        self._verified = False
        self._steps = [self._server_final, self._server_first]
        channel = binding and (binding.kind, binding.octets)
        try:
            self._client = scramp.ScramClient([name], *texts, channel_binding=channel, c_nonce=self._nonce)
        except scramp.ScramException as error:
            raise SecretError(f"{name} cannot carry the user or the password: {error}") from error

    def initial(self) -> bytes:
        """Returns the client-first message."""
        first: str = self._client.get_client_first()
        return first.encode()

    def answer(self, challenge: bytes) -> bytes:
        """Returns the answer to the server-first message, then to the server-final one.

        Raises:
            ProtocolError: a message is not one, its nonce does not continue ours, or its iterations are too few or too
                many.
            AuthenticationError: the server's signature is wrong.
        """
        if not self._steps:
            raise self._broken("one challenge too many")
        message = _text(challenge)
        if message is None:
            raise self._broken("a challenge that is not UTF-8")
        step = self._steps.pop()
        refused = _SERVER_ERROR.fullmatch(message)
        if refused is not None:
            # RFC 5802 §7: the exchange is over. In POP3 the server says so with -ERR once we have answered nothing.
            self._steps.clear()
            self.detail = printable(refused[1])
            return b""
        return step(message)

    def succeeded(self) -> None:
        """Agrees if the server has proven that it knows the password.

        Raises:
            AuthenticationError: it has not.
        """
        if not self._verified:
            raise self._unproven("without a signature", Reply(ok=True))

    def _server_first(self, message: str) -> bytes:
        match = _SERVER_FIRST.fullmatch(message)
        if match is None:
            raise self._broken("not a server-first message")
        if not match[1].startswith(self._nonce) or match[1] == self._nonce:
            raise self._broken("the server's nonce does not continue ours")
        if not FEWEST_ITERATIONS <= int(match[2]) <= MOST_ITERATIONS:
            raise self._broken(f"{match[2]} iterations: not between {FEWEST_ITERATIONS} and {MOST_ITERATIONS}")
        try:
            self._client.set_server_first(message)
            final: str = self._client.get_client_final()
        except self._scramp_error as error:
            raise self._broken(printable(str(error))) from error
        return final.encode()

    def _server_final(self, message: str) -> bytes:
        if not _SERVER_FINAL.fullmatch(message):
            raise self._broken("not a server-final message")
        try:
            self._client.set_server_final(message)
        except self._scramp_error as error:
            raise self._unproven("with a wrong signature", Reply(ok=False)) from error
        self._verified = True
        return b""

    def _broken(self, why: str) -> ProtocolError:
        return ProtocolError(f"{self.name}: {why}")

    def _unproven(self, how: str, reply: Reply) -> AuthenticationError:
        return AuthenticationError(
            f"{self.name}: the server comes {how}, so it does not know the password: it is not the one that it "
            "claims to be",
            reply,
        )


def is_portable(user: bytes, password: Secret) -> bool:
    """Returns whether every server that has SCRAM makes the same of a user and a password.

    That is where SASLprep leaves both as they are. What it forbids cannot be sent; what it changes, such as a no-break
    space or an accent that is a character of its own, is taken for another password by servers that have no SASLprep,
    Dovecot among them.
    """
    texts = _text(user), _text(password.reveal())
    return all(text is not None and _is_unchanged(text) for text in texts)


def _is_unchanged(text: str) -> bool:
    if text.isascii():
        return text.isprintable() and bool(text)
    scramp = _scramp()
    try:
        # scramp has no public SASLprep but this.
        first: str = scramp.ScramClient(["SCRAM-SHA-1"], text, "x", c_nonce="x").get_client_first()
    except scramp.ScramException:
        return False
    return first == f"n,,n={text.replace('=', '=3D').replace(',', '=2C')},r=x"


def _scramp() -> Any:
    import scramp  # type: ignore[import-untyped]  # noqa: PLC0415 - see the module's docstring; it comes without types

    return scramp


def _text(octets: bytes) -> str | None:
    # None and not an exception: a UnicodeDecodeError carries what it could not decode, and that may be the password.
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return None
