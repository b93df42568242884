"""What is kept of a login: the tokens, and when to renew them. Pure; times are Unix seconds."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from fetchd.errors import ProtocolError
from fetchd.model import Secret, SecretOAuth
from fetchd.oauth.providers import Provider
from fetchd.values import value

LIMIT_OCTETS: Final = 48 * 2**10
"""The longest token that is taken. Real ones have at most a few thousand octets."""
_VERSION: Final = 1
_LEAD: Final = 300.0
"""Seconds before its end from which on an access token is renewed; up to twice as many, by chance."""
_PART: Final = 4
"""Of a token that lives shortly, a quarter of its life is the lead."""
_LONGEST: Final = 10 * 366 * 86_400.0
_LATEST: Final = 1e15
"""Unix seconds: no clock is there, and JSON knows whole numbers that no float holds."""
_NO_RIGHTS: Final = frozenset({"offline_access", "openid", "profile", "email"})
_AT_LEAST: Final = 0x21
_BEYOND: Final = 0x7F


@value
class Tokens:
    """An account's tokens.

    Attributes:
        user, client_id, token_endpoint: of the account when somebody logged in: tokens go nowhere else.
        refresh_token: None where the provider gave none; then a login lasts as long as its access token.
        obtained_at: when the access token was asked for.
        expires_at: when it runs out; None where the provider does not say.
        renew_at: from when on to renew it.
        login_expires_at: when the refresh token runs out; None where nobody can tell.
        refused_at: when the provider refused the refresh token.
    """

    user: str
    client_id: str
    token_endpoint: str
    access_token: Secret
    refresh_token: Secret | None
    obtained_at: float
    expires_at: float | None = None
    renew_at: float | None = None
    login_expires_at: float | None = None
    refused_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Returns whether to renew before use."""
        return self.refused_at is not None or (self.renew_at is not None and now >= self.renew_at)

    def is_good(self, now: float) -> bool:
        """Returns whether the access token should still be accepted."""
        return self.refused_at is None and (self.expires_at is None or now < self.expires_at)

    def ends_at(self) -> float | None:
        """Returns when somebody has to log in again; None where nobody can tell."""
        if self.refused_at is not None:
            return self.refused_at
        return self.expires_at if self.refresh_token is None else self.login_expires_at

    def belongs_to(self, source: SecretOAuth, provider: Provider) -> bool:
        """Returns whether the account, as configured now, is the one that was logged in."""
        mine = (self.user, self.client_id, self.token_endpoint)
        return mine == (source.user, source.client_id, provider.token_endpoint)


def granted(
    reply: Mapping[str, Any],
    source: SecretOAuth,
    provider: Provider,
    *,
    now: float,
    chance: float,
    before: Tokens | None = None,
) -> Tokens:
    """Returns the tokens that a provider's answer brings (RFC 6749 §5.1).

    A number that makes no sense is left out of account, rather than costing the refresh token that came with it.

    Args:
        reply: the answer.
        source: the account's configuration.
        provider: who answered.
        now: when it was asked.
        chance: a random number in [0, 1).
        before: the tokens that these take the place of; a refresh token that is not replaced stays.

    Raises:
        ProtocolError: there is no access token in it, or one that cannot be sent; nothing of it is quoted.
    """
    access = _token(reply.get("access_token"), "access_token", provider)
    kind = reply.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ProtocolError(f"{provider.name} gives tokens of a type that is not Bearer")
    fresh = reply.get("refresh_token")
    refresh = _token(fresh, "refresh_token", provider) if fresh else before.refresh_token if before else None
    lifetime = _seconds(reply.get("expires_in"))
    lead = min(_LEAD, (lifetime or 0.0) / _PART) * (1 + chance)
    return Tokens(
        source.user,
        source.client_id,
        provider.token_endpoint,
        access_token=access,
        refresh_token=refresh,
        obtained_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        renew_at=None if lifetime is None else now + lifetime - lead,
        login_expires_at=_login_expires_at(reply, provider, now=now, before=before),
    )


def missing_scopes(reply: Mapping[str, Any], provider: Provider) -> list[str]:
    """Returns what was asked for and not granted, where the provider says what it granted (RFC 6749 §5.1, §3.3).

    What asks for a refresh token, or for who somebody is, is no right to mail, and is often left out of the answer.
    """
    found = reply.get("scope")
    if not isinstance(found, str) or not found:
        return []
    given = {*found.casefold().split(), *_NO_RIGHTS}  # Microsoft takes them, and gives them back, in any case
    return [one for one in provider.scope.split() if one.casefold() not in given]


def _login_expires_at(
    reply: Mapping[str, Any], provider: Provider, *, now: float, before: Tokens | None
) -> float | None:
    stated = _seconds(reply.get("refresh_token_expires_in"))
    if stated is None and provider.login_lifetime is not None:
        stated = float(provider.login_lifetime)
    if stated is not None:
        return now + stated
    return None if before is None or reply.get("refresh_token") else before.login_expires_at


def _token(value: object, what: str, provider: Provider) -> Secret:
    if not isinstance(value, str) or not value or len(value) > LIMIT_OCTETS:
        raise ProtocolError(f"{provider.name} answered without a usable {what}")
    if any(not _AT_LEAST <= ord(letter) < _BEYOND for letter in value):
        raise ProtocolError(f"{provider.name} answered with a {what} that holds a blank or a letter beyond ASCII")
    return Secret(value.encode())


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(seconds, _LONGEST) if math.isfinite(seconds) and seconds > 0 else None


def to_json(tokens: Tokens) -> bytes:
    """Returns a token file's content."""
    refresh = tokens.refresh_token
    fields = {
        "version": _VERSION,
        "user": tokens.user,
        "client_id": tokens.client_id,
        "token_endpoint": tokens.token_endpoint,
        "access_token": tokens.access_token.reveal().decode(),
        "refresh_token": None if refresh is None else refresh.reveal().decode(),
        "obtained_at": tokens.obtained_at,
        "expires_at": tokens.expires_at,
        "renew_at": tokens.renew_at,
        "login_expires_at": tokens.login_expires_at,
        "refused_at": tokens.refused_at,
    }
    return json.dumps(fields, indent=1).encode() + b"\n"


def from_json(octets: bytes) -> Tokens:
    """Returns the tokens of a token file.

    Raises:
        ValueError: it is none of ours; the message quotes nothing of it.
    """
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("version") != _VERSION:
        raise ValueError("is no token file of this fetchd")
    refresh = found.get("refresh_token")
    return Tokens(
        _text(found, "user"),
        _text(found, "client_id"),
        _text(found, "token_endpoint"),
        access_token=Secret(_text(found, "access_token").encode()),
        refresh_token=None if refresh is None else Secret(_text(found, "refresh_token").encode()),
        obtained_at=_time(found, "obtained_at") or 0.0,
        expires_at=_time(found, "expires_at"),
        renew_at=_time(found, "renew_at"),
        login_expires_at=_time(found, "login_expires_at"),
        refused_at=_time(found, "refused_at"),
    )


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value.isascii():
        if key == "user" and isinstance(value, str):
            return value
        raise ValueError(f"has no good {key} in it")
    return value


def _time(found: Mapping[str, Any], key: str) -> float | None:
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LATEST < value < _LATEST:
        raise ValueError(f"has no good {key} in it")
    return float(value)
