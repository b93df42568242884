"""The requests of OAuth 2: for tokens (RFC 6749), by a code with PKCE (RFC 7636) or on another device (RFC 8628).

authlib writes them and proves who the client is; it is loaded here, at the first request.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from fetchd.errors import SecretError
from fetchd.model import Secret, SecretOAuth
from fetchd.oauth.providers import Provider
from fetchd.oauth.replies import Answer, Refusal, read
from fetchd.oauth.wire import post

Post = Callable[[str, str, Mapping[str, str]], Answer]
"""Sends a form with headers to a URL: see :func:`fetchd.oauth.wire.post`."""
_HEADERS = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class OAuthClient:
    """Asks a provider on behalf of one account. Every method returns what was answered, or the refusal.

    Raises, whichever method: ``NetworkError`` and ``ProtocolError`` of ``replies.read``, what ``wire.post`` does, and
    ``SecretError`` where the client's secret is no text.
    """

    def __init__(
        self, source: SecretOAuth, provider: Provider, *, secret: Secret | None = None, send: Post = post
    ) -> None:
        """Asks nothing yet.

        Args:
            source: the account's configuration.
            provider: whom to ask.
            secret: the client's own; None for a public client.
            send: sends a request.
        """
        self._source = source
        self._provider = provider
        self._secret = secret
        self._send = send

    def refresh(self, token: Secret) -> Mapping[str, Any] | Refusal:
        """Asks for a new access token. The refresh token may be spent by this: see RFC 9700 §2.2.2, rotation."""
        return self._ask_for_tokens("refresh_token", {"refresh_token": token})

    def redeem(self, code: Secret, *, verifier: Secret, redirect: str) -> Mapping[str, Any] | Refusal:
        """Asks for the tokens that an authorisation code stands for."""
        form = {"code": code, "code_verifier": verifier}
        return self._ask_for_tokens("authorization_code", form, redirect_uri=redirect)

    def begin_device_flow(self) -> Mapping[str, Any] | Refusal:
        """Asks for the code that somebody types in elsewhere (RFC 8628 §3.1)."""
        url = self._provider.device_authorization_endpoint
        return self._ask(url, _form(scope=self._provider.scope), self._provider.name, ())

    def device_token(self, code: Secret) -> Mapping[str, Any] | Refusal:
        """Asks whether somebody has done so, and for the tokens (RFC 8628 §3.4)."""
        return self._ask_for_tokens(_DEVICE_GRANT, {"device_code": code})

    def authorization_url(self, *, state: str, verifier: Secret, redirect: str) -> str:
        """Returns the address of the page on which somebody says yes (RFC 6749 §4.1.1)."""
        from authlib.oauth2.rfc6749.parameters import (  # type: ignore[import-untyped] # noqa: PLC0415 - no types; heavy
            prepare_grant_uri,
        )
        from authlib.oauth2.rfc7636 import (  # type: ignore[import-untyped] # noqa: PLC0415 - likewise
            create_s256_code_challenge,
        )

        url: str = prepare_grant_uri(
            self._provider.authorization_endpoint,
            self._source.client_id,
            "code",
            redirect_uri=redirect,
            scope=self._provider.scope or None,
            state=state,
            code_challenge=create_s256_code_challenge(verifier.reveal().decode()),
            code_challenge_method="S256",
            login_hint=self._source.user,
            **self._provider.extra,
        )
        return url

    def _ask_for_tokens(self, grant: str, private: Mapping[str, Secret], **public: str) -> Mapping[str, Any] | Refusal:
        from authlib.oauth2.rfc6749.parameters import prepare_token_request  # noqa: PLC0415 - heavy

        shown = {name: secret.reveal().decode() for name, secret in private.items()}
        form: str = prepare_token_request(grant, **shown, **public)
        return self._ask(self._provider.token_endpoint, form, self._provider.name, tuple(private.values()))

    def _ask(self, url: str, form: str, what: str, private: tuple[Secret, ...]) -> Mapping[str, Any] | Refusal:
        from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped] # noqa: PLC0415 - no types; heavy

        secret = self._secret
        name, own, how = self._source.client_id, None, "none"
        if secret is not None:
            own, how = _text(secret), "client_secret_post"
            if not self._provider.secret_in_body:
                # RFC 6749 §2.3.1: both are form-encoded before they go into the header; authlib leaves that to us.
                name, own, how = quote_plus(name), quote_plus(own), "client_secret_basic"
        url, headers, form = ClientAuth(name, own, how).prepare("POST", url, dict(_HEADERS), form)
        answer = self._send(url, form, headers)
        return read(answer, what, secrets=(*private, *(() if secret is None else (secret,))))


def _text(secret: Secret) -> str:
    try:
        return secret.reveal().decode()
    except UnicodeDecodeError:
        raise SecretError("the client_secret is no text: UTF-8 is expected") from None  # the cause would quote it


def new_verifier() -> Secret:
    """Returns a code verifier of 256 random bits (RFC 7636 §4.1)."""
    return Secret(secrets.token_urlsafe(32).encode())


def new_state() -> str:
    """Returns what shows that an answer in the browser belongs to our question (RFC 6749 §10.12)."""
    return secrets.token_urlsafe(24)


def _form(**fields: str) -> str:
    from urllib.parse import urlencode  # noqa: PLC0415 - with the rest of what asking needs

    return urlencode({name: value for name, value in fields.items() if value})
