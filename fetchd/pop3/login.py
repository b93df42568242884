"""Logging in: the strongest way that the server offers and the line permits, and never in the hearing of others.

A way is a SASL mechanism (RFC 5034), APOP, or USER and PASS (RFC 1939 §7): ``choice.py`` puts them in order. A server
that refuses the strongest may just have no secret of that kind for this user (GNU mailutils and solid-pop3d offer APOP
to everybody, and refuse it with ``[AUTH]``); so one way that sends the password itself is tried after it, where nobody
listens. What worked is remembered and comes first the next time, so that no account collects failed logins.
"""

from typing import Final

from fetchd.errors import AuthenticationError, NetworkError, ProtocolError, SecretError
from fetchd.model import Capabilities, Reply, Secret
from fetchd.pop3.choice import (
    Credentials,
    ExternalLogin,
    Offer,
    PasswordLogin,
    TokenLogin,
    choose,
    is_revealing,
    mechanism,
)
from fetchd.pop3.commands import apop, auth
from fetchd.pop3.commands import password as pass_command
from fetchd.pop3.commands import user as user_command
from fetchd.pop3.conversation import Conversation
from fetchd.pop3.mechanisms import apop_digest
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.protocol import State
from fetchd.pop3.refusals import refused_login
from fetchd.pop3.sasl import Exchange
from fetchd.pop3.transport import Transport
from fetchd.values import value

_FORBIDDEN: Final = frozenset(b"\r\n\0")


def credentials_for(
    wish: str, user: str | bytes, password: str | bytes | Secret, *, is_token: bool = False
) -> Credentials:
    """Returns the credentials that a way of logging in takes; a ``str`` goes over the wire as UTF-8.

    With ``is_token`` they are a token's, whatever the way: one that does not take a token is refused by ``choose``.
    """
    name = user.encode() if isinstance(user, str) else user
    if is_token:
        return TokenLogin(name, _as_secret(password))
    match wish.upper():
        case "EXTERNAL":
            return ExternalLogin(name)
        case "XOAUTH2" | "OAUTHBEARER":
            return TokenLogin(name, _as_secret(password))
        case _:
            return PasswordLogin(name, _as_secret(password))


def offered(transport: Transport, capabilities: Capabilities, *, timestamp: bytes | None) -> Offer:
    """Returns what a server offers on this line, by what it says now.

    A server that has CAPA and names neither SASL nor USER is asked for USER all the same: many forget to list it.
    """
    return Offer(
        sasl=capabilities.parameters("SASL") if capabilities.items else None,
        apop=timestamp is not None,
        user="USER" in capabilities or "SASL" not in capabilities,
        private=bool(transport.tls_version) or transport.is_local,
        binding=transport.channel_binding,
    )


def log_in(
    conversation: Conversation,
    credentials: Credentials,
    *,
    offer: Offer,
    timestamp: bytes | None = None,
    allow_plaintext: bool = False,
    wish: str = "",
    memory: ServerMemory,
) -> str:
    """Logs in, and returns the way that worked.

    Args:
        conversation: in the AUTHORIZATION state.
        credentials: what there is to log in with.
        offer: what the server offers on this line.
        timestamp: of the greeting, for APOP.
        allow_plaintext: password and token may go over a line that others can listen in on.
        wish: the one way to use; "" for any.
        memory: of this account; it is told how this login went.

    Raises:
        TlsError: the line is neither encrypted nor local, and all ways need it to be; nothing was sent.
        SecretError: the password holds CR, LF or NUL; nothing was sent.
        PolicyError: the server offers no way that fits.
        UsageError: there is no such way, or the session is not in the AUTHORIZATION state; nothing was sent.
        AuthenticationError, MailboxBusyError, LoginDelayError, POP3Error: the server said ``-ERR``.
    """
    _check_secret(conversation, credentials)
    ways = memory.order(choose(credentials, offer, allow_plaintext=allow_plaintext, wish=wish))
    attempt = _Attempt(conversation, credentials, offer, timestamp or b"")
    *others, last = _worth_trying(ways)
    for way in others:
        try:
            return _by(way, attempt, memory)
        except AuthenticationError:
            if conversation.state is State.BROKEN:  # it was the server that could not prove who it is
                raise
    return _by(last, attempt, memory)


def _by(way: str, attempt: "_Attempt", memory: ServerMemory) -> str:
    try:
        attempt.by(way)
    except (NetworkError, ProtocolError):
        memory.broken_ways.add(way)
        raise
    memory.way = way
    memory.broken_ways.discard(way)
    return way


def _worth_trying(ways: list[str]) -> list[str]:
    """Returns the first, and the first that sends the password itself, which works wherever the password is right.

    Channel binding (``-PLUS``) is no exception: who sits in the middle with a certificate that we trust could as well
    leave it out of the list. Only a mechanism that the configuration names protects from that.
    """
    first, *others = ways
    if is_revealing(first):
        return [first]
    return [first, *[way for way in others if is_revealing(way)][:1]]


@value
class _Attempt:
    conversation: Conversation
    credentials: Credentials
    offer: Offer
    timestamp: bytes

    def by(self, way: str) -> None:
        """Logs in one way.

        Raises:
            POP3Error: refused; what the server said within the exchange is part of the message.
        """
        detail = ""
        match way, self.credentials:
            case "USER", PasswordLogin():
                reply = self._by_user(self.credentials)
            case "APOP", PasswordLogin():
                digest = apop_digest(self.timestamp, self.credentials.password)
                reply = self.conversation.ask(apop(self.credentials.user, digest))
            case _:
                reply, detail = self._by_sasl(way)
        if not reply.ok:
            said = f" ({detail})" if detail else ""
            raise refused_login(reply, f"{self.conversation.transport.peer}: the login by {way} was refused{said}")

    def _by_user(self, login: PasswordLogin) -> Reply:
        """In lock-step: a server that refuses the user is not told the password."""
        reply = self.conversation.ask(user_command(login.user))
        return self.conversation.ask(pass_command(login.password.reveal())) if reply.ok else reply

    def _by_sasl(self, way: str) -> tuple[Reply, str]:
        """An initial response that the mechanism would rather send when asked goes with AUTH if that is refused."""
        exchange = Exchange(mechanism(way, self.credentials, self.offer))
        reply = self._exchange(exchange)
        if not reply.ok and exchange.is_unheard and not reply.code:
            exchange = Exchange(mechanism(way, self.credentials, self.offer), one_line=True)
            reply = self._exchange(exchange)
        return reply, exchange.detail

    def _exchange(self, exchange: Exchange) -> Reply:
        reply = self.conversation.exchange(auth(exchange.arguments()), exchange.answer)
        if reply.ok:
            with self.conversation.unbroken("the reply to AUTH"):
                exchange.succeeded()
        return reply


def _check_secret(conversation: Conversation, credentials: Credentials) -> None:
    if _FORBIDDEN.intersection(secret_of(credentials)):
        raise SecretError(
            f"{conversation.transport.peer}: the password holds CR, LF or NUL, which no POP3 command can carry"
        )


def secret_of(credentials: Credentials) -> bytes:
    """Returns the password or the token; empty where there is none."""
    match credentials:
        case PasswordLogin(password=secret) | TokenLogin(token=secret):
            return secret.reveal()
        case ExternalLogin():
            return b""


def _as_secret(password: str | bytes | Secret) -> Secret:
    if isinstance(password, Secret):
        return password
    return Secret(password.encode() if isinstance(password, str) else password)
