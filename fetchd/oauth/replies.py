"""What a provider's endpoint answers: an object, or a refusal by a word of RFC 6749 §5.2 or RFC 8628 §3.5. Pure.

A refusal is a value, for some are the usual course of things (``authorization_pending``); what is no answer at all is
an error.
"""

import json
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any, Final
from urllib.parse import quote, quote_plus

from fetchd.errors import NetworkError, ProtocolError, printable
from fetchd.model import Secret
from fetchd.values import value

PENDING: Final = "authorization_pending"
SLOW_DOWN: Final = "slow_down"
EXPIRED: Final = "expired_token"
DENIED: Final = "access_denied"
_ENDED: Final = frozenset({"invalid_grant", "interaction_required", "login_required", "consent_required", EXPIRED})
_PASSING: Final = frozenset({"server_error", "temporarily_unavailable"})
_CLIENT: Final = frozenset({"invalid_client", "unauthorized_client"})

_FIRST_ERROR: Final = 400
_TOO_MANY: Final = 429
_FIRST_FAULT: Final = 500


@value
class Answer:
    """An HTTP response: its status and its body, which may hold tokens."""

    status: int
    body: bytes = field(repr=False)


@value
class Refusal:
    """The provider said no.

    Attributes:
        code: the word for it.
        text: code and description, printable, without any secret.
    """

    code: str
    text: str

    @property
    def is_end_of_login(self) -> bool:
        """Whether somebody has to log in again: the refresh token was revoked, has run out, or does not suffice."""
        return self.code in _ENDED

    @property
    def is_about_client(self) -> bool:
        """Whether client id or secret are not what the provider expects."""
        return self.code in _CLIENT


def read(answer: Answer, what: str, *, secrets: Collection[Secret] = ()) -> Mapping[str, Any] | Refusal:
    """Returns the object that was answered, or the refusal.

    Args:
        answer: the response.
        what: who answered, for messages.
        secrets: what no message may repeat.

    Raises:
        NetworkError: the provider cannot answer now.
        ProtocolError: this is no answer to what was asked.
    """
    if answer.status >= _FIRST_FAULT or answer.status == _TOO_MANY:
        raise NetworkError(f"{what} cannot answer now (HTTP {answer.status})")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None  # the error would quote the answer
    if not isinstance(found, dict):
        raise ProtocolError(f"{what} answered HTTP {answer.status} with something that is no JSON object")
    code = found.get("error")
    if isinstance(code, str) and code:
        if code in _PASSING:
            raise NetworkError(f"{what} cannot answer now ({code})")
        return Refusal(code, _told(code, found.get("error_description"), secrets))
    if answer.status >= _FIRST_ERROR or code is not None:
        raise ProtocolError(f"{what} answered HTTP {answer.status} without a word on why")
    return found


def _told(code: str, description: object, secrets: Collection[Secret]) -> str:
    text = code + (f": {description.splitlines()[0]}" if isinstance(description, str) and description.strip() else "")
    return "(not shown, for it repeats a secret)" if _repeats(text, secrets) else printable(text)


def _repeats(text: str, secrets: Collection[Secret]) -> bool:
    return any(form in text for secret in secrets for form in _forms(secret))


def _forms(secret: Secret) -> tuple[str, ...]:
    plain = secret.reveal().decode(errors="replace")
    coded = b64encode(secret.reveal()).decode().rstrip("=")
    return tuple(form for form in (plain, quote(plain, safe=""), quote_plus(plain), coded) if form)
