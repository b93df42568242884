"""Where the providers' endpoints are, what they want to be asked, and how they differ. Pure.

Google: https://developers.google.com/identity/protocols/oauth2/native-app; its device flow does not allow the scope of
mail. Microsoft: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from fetchd.model import SecretOAuth
from fetchd.values import value

GOOGLE: Final = "google"
MICROSOFT: Final = "microsoft"
CUSTOM: Final = "custom"

_DAY: Final = 86_400


@value
class Provider:
    """Who gives tokens.

    Attributes:
        name: for messages.
        scope: what to ask for; "" to leave it to the provider.
        authorization_endpoint, device_authorization_endpoint: "" where that way to log in is not open.
        secret_in_body: whether the client's secret goes into the request's body rather than into a header.
        redirect: where the browser is sent back to, with ``{port}`` in it; always this machine (RFC 8252 §7.3).
        extra: more parameters of the authorisation request.
        login_lifetime: seconds that a login outlives its last renewal; None where that is not known.
        registration: where an application is registered, which gives the client id.
        no_device: why there is no device flow, for messages.
    """

    name: str
    token_endpoint: str
    scope: str
    authorization_endpoint: str = ""
    device_authorization_endpoint: str = ""
    secret_in_body: bool = False
    redirect: str = "http://127.0.0.1:{port}/"
    extra: Mapping[str, str] = field(default_factory=dict)
    login_lifetime: int | None = None
    registration: str = ""
    no_device: str = "no device_authorization_endpoint is configured"


def provider_of(source: SecretOAuth) -> Provider:
    """Returns whom an account's tokens come from."""
    if source.provider == GOOGLE:
        return _google(source)
    return _microsoft(source) if source.provider == MICROSOFT else _custom(source)


def _google(source: SecretOAuth) -> Provider:
    return Provider(
        "Google",
        "https://oauth2.googleapis.com/token",
        source.scope or "https://mail.google.com/",
        authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth",
        secret_in_body=True,
        # Without these two a second login brings no refresh token.
        extra={"access_type": "offline", "prompt": "consent"},
        registration="https://console.cloud.google.com/apis/credentials (type: desktop app)",
        no_device="Google's device flow is not open to the scope of mail",
    )


def _microsoft(source: SecretOAuth) -> Provider:
    root = f"https://login.microsoftonline.com/{source.tenant or 'common'}/oauth2/v2.0"
    return Provider(
        "Microsoft",
        f"{root}/token",
        source.scope or "https://outlook.office.com/POP.AccessAsUser.All offline_access",
        authorization_endpoint=f"{root}/authorize",
        device_authorization_endpoint=f"{root}/devicecode",
        secret_in_body=True,
        # Any port of http://localhost may be used by whoever has registered that; 127.0.0.1 not so.
        redirect="http://localhost:{port}",
        extra={"prompt": "select_account"},
        login_lifetime=90 * _DAY,
        registration="https://entra.microsoft.com, App registrations (public client flows allowed)",
    )


def _custom(source: SecretOAuth) -> Provider:
    return Provider(
        source.token_endpoint.partition("://")[2].partition("/")[0],
        source.token_endpoint,
        source.scope,
        authorization_endpoint=source.authorization_endpoint,
        device_authorization_endpoint=source.device_authorization_endpoint,
        # OpenID Connect Core §11: without consent there is no offline access.
        extra={"prompt": "consent"},
        registration="your provider",
    )
