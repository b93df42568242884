"""Which way to log in: of those that the server offers and the line permits, the strongest first.

Never one that tells a listener the password or the token, unless nobody listens or the account's owner says so.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fetchd.errors import PolicyError, Retry, TlsError, UsageError, printable
from fetchd.model import CERTIFICATE_WAY, CHALLENGED_WAYS, LOGIN_WAYS, PASSWORD_WAYS, TOKEN_WAYS, Secret
from fetchd.pop3.binding import ChannelBinding
from fetchd.pop3.mechanisms import CramMd5, External, Login, Plain
from fetchd.pop3.oauth import OAuthBearer, XOAuth2
from fetchd.pop3.sasl import Mechanism
from fetchd.pop3.scram import Scram, is_portable
from fetchd.values import value

APOP: Final = "APOP"
USER: Final = "USER"
"""USER and PASS. This one and APOP are commands of their own; all other ways are SASL mechanisms, sent by AUTH."""

_SCRAM: Final = frozenset(way for way in PASSWORD_WAYS if way.startswith("SCRAM-"))
_SCRAM_PLUS: Final = frozenset(way for way in _SCRAM if way.endswith("-PLUS"))
_SIMPLE: Final[dict[str, Callable[[bytes, Secret], Mechanism]]] = {
    CramMd5.name: CramMd5,
    Plain.name: Plain,
    Login.name: Login,
}
_REVEALING: Final = frozenset(LOGIN_WAYS) - {*CHALLENGED_WAYS, CERTIFICATE_WAY}


@value
class PasswordLogin:
    """What to log in with where there is a password."""

    user: bytes
    password: Secret


@value
class TokenLogin:
    """What to log in with where there is an OAuth 2 access token.

    Attributes:
        host, port: the server that the token is meant for, as OAUTHBEARER tells it; may be left out.
    """

    user: bytes
    token: Secret
    host: str = ""
    port: int = 0


@value
class ExternalLogin:
    """What to log in with where our TLS certificate says who we are.

    Attributes:
        identity: who to act as; empty for whoever the certificate names.
    """

    identity: bytes = b""


Credentials = PasswordLogin | TokenLogin | ExternalLogin


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the server offers, now and on this line: a list from before TLS is none (RFC 2595 §4).

    Attributes:
        sasl: the parameters of the capability SASL; None where the server does not say what it has (no CAPA).
        apop: whether the greeting has a timestamp (``mechanisms.apop_timestamp``).
        user: whether USER and PASS may be tried: CAPA lists USER, or there is no CAPA.
        private: whether nobody can listen: TLS, or a line within this host.
        binding: the TLS channel, if it can be named.
    """

    sasl: Collection[str] | None = None
    apop: bool = False
    user: bool = True
    private: bool = False
    binding: ChannelBinding | None = None

    def __str__(self) -> str:
        named = [*sorted(self.sasl or ()), *([APOP] if self.apop else []), *([USER] if self.user else [])]
        return printable(", ".join(named)) or "nothing"


def choose(credentials: Credentials, offer: Offer, *, allow_plaintext: bool = False, wish: str = "") -> list[str]:
    """Returns the ways to log in that may be tried, the strongest first; there is at least one.

    Args:
        credentials: what there is to log in with.
        offer: what the server offers.
        allow_plaintext: password and token may go over a line that others can listen in on.
        wish: the one way to use, and no other; "" for any.

    Raises:
        UsageError: there is no such way as wished for, or it does not take these credentials.
        PolicyError: the server does not offer what is wished for, or nothing that there is.
        TlsError: all that is left would tell a listener the password or the token.
    """
    ways, wished = _ways(credentials, offer), wish.upper()
    if wished and wished not in ways:
        raise UsageError(
            f'no way to log in with this is called "{printable(wish)}"; there are: {", ".join(sorted(ways))}'
        )
    offered = [way for way in ways if wished in {"", way} and _is_offered(way, credentials, offer, wished=bool(wished))]
    if not offered:
        what = wished or f"none of {', '.join(sorted(ways))}"
        raise PolicyError(f"the server offers {offer}: {what} cannot be used with it on this line")
    unheard = offer.private or allow_plaintext
    safe = [way for way in offered if unheard or (way not in _REVEALING and (way != APOP or wished))]
    if not safe:
        raise TlsError(
            f"the line is not encrypted, so no secret is sent over it (the server offers {offer}): use tls: implicit "
            "or starttls, or allow_plaintext_password",
            retry=Retry.HOLD,
        )
    return safe


def is_revealing(way: str) -> bool:
    """Returns whether a way sends the password or the token itself."""
    return way in _REVEALING


def mechanism(way: str, credentials: Credentials, offer: Offer) -> Mechanism:
    """Returns a new mechanism for a way that :func:`choose` returned, ``APOP`` and ``USER`` excepted.

    Raises:
        SecretError: it cannot carry the password or the token.
        UsageError: it cannot carry the user, or does not take these credentials.
    """
    match credentials:
        case PasswordLogin(user, password) if way in _SCRAM:
            return Scram(way, user, password=password, binding=_binding(way, offer))
        case PasswordLogin(user, password) if way in _SIMPLE:
            return _SIMPLE[way](user, password)
        case TokenLogin(user, token) if way == XOAuth2.name:
            return XOAuth2(user, token)
        case TokenLogin(user, token, host, port) if way == OAuthBearer.name:
            return OAuthBearer(user, token, host=host, port=port)
        case ExternalLogin(identity) if way == External.name:
            return External(identity)
    raise UsageError(f"no SASL mechanism for these credentials: {printable(way)}")


def _ways(credentials: Credentials, offer: Offer) -> tuple[str, ...]:
    match credentials:
        case PasswordLogin(user, password):
            if offer.private and not is_portable(user, password):
                # Whether SCRAM would work depends on the server, and a password that is refused may lock us out.
                return tuple(sorted(PASSWORD_WAYS, key=_SCRAM.__contains__))
            return PASSWORD_WAYS
        case TokenLogin():
            return TOKEN_WAYS
        case ExternalLogin():
            return (CERTIFICATE_WAY,)


def _is_offered(way: str, credentials: Credentials, offer: Offer, *, wished: bool) -> bool:
    if way == APOP:
        return offer.apop
    if way == USER:
        return offer.user
    if way in _SCRAM_PLUS and not _can_bind(offer, wished=wished):
        return False
    if offer.sasl is None:
        # A guess: for a password there are USER and PASS instead.
        return wished or not isinstance(credentials, PasswordLogin)
    return way in _names(offer)


def _can_bind(offer: Offer, *, wished: bool) -> bool:
    # Which binding a server means by -PLUS, it does not say. Dovecot 2.4 means tls-unique up to TLS 1.2, tls-exporter
    # on 1.3, as RFC 5802 §6.1 and RFC 9266 have it, and hangs up on anybody with tls-server-end-point.
    return offer.binding is not None and (wished or offer.binding.kind == "tls-unique")


def _binding(way: str, offer: Offer) -> ChannelBinding | None:
    # RFC 5802 §6: "we could have, had you offered it" is for servers that do not offer it; the others refuse it.
    if way in _SCRAM_PLUS or (offer.sasl is not None and not _names(offer).intersection(_SCRAM_PLUS)):
        return offer.binding
    return None


def _names(offer: Offer) -> frozenset[str]:
    return _upper(tuple(offer.sasl or ()))


@lru_cache(maxsize=32)
def _upper(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.upper() for name in names)
