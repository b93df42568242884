"""Logging in on another device (RFC 8628): somebody opens an address, types in a code, and we ask until then."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fetchd.errors import NetworkError, ProtocolError, SecretError
from fetchd.model import Secret
from fetchd.oauth.client import OAuthClient
from fetchd.oauth.providers import Provider
from fetchd.oauth.reader import refused_request
from fetchd.oauth.replies import DENIED, EXPIRED, PENDING, SLOW_DOWN, Refusal
from fetchd.values import value

_INTERVAL: Final = 5.0
"""Seconds between two questions where the provider does not say, and what ``slow_down`` adds (RFC 8628 §3.2, §3.5)."""
_LONGEST_INTERVAL: Final = 300.0
_LIFETIME: Final = 900.0
"""Seconds that a code is good for where the provider does not say; it has to."""
_LONGEST_LIFETIME: Final = 3600.0
_LONGEST_TEXT: Final = 2000


@value
class Device:
    """What to tell who logs in.

    Attributes:
        address: the page to open.
        user_code: what to type in there.
        whole_address: a page that knows the code already; "" for none.
        device_code: our half of the secret.
        lifetime, interval: seconds.
    """

    address: str
    user_code: str
    whole_address: str
    device_code: Secret
    lifetime: float
    interval: float


def begin(client: OAuthClient, provider: Provider) -> Device:
    """Returns what to tell who logs in.

    Raises:
        SecretError: the provider refuses.
        NetworkError, ProtocolError: it does not answer, or not as it should.
    """
    reply = client.begin_device_flow()
    if isinstance(reply, Refusal):
        raise refused_request(reply, provider)
    code = reply.get("device_code")
    if not isinstance(code, str) or not code or not code.isascii():
        raise ProtocolError(f"{provider.name} answered without a usable device_code")
    # Microsoft and RFC 8628 say verification_uri; Google's draft said verification_url.
    address = _shown(reply, "verification_uri", "verification_url")
    user_code = _shown(reply, "user_code")
    if not user_code or not address.startswith(("https://", "http://")):
        raise ProtocolError(f"{provider.name} answered without an address and a code to show")
    whole = _shown(reply, "verification_uri_complete")
    return Device(
        address,
        user_code,
        whole if whole.startswith(("https://", "http://")) else "",
        Secret(code.encode()),
        lifetime=_number(reply, "expires_in", _LIFETIME, _LONGEST_LIFETIME),
        interval=_number(reply, "interval", _INTERVAL, _LONGEST_INTERVAL),
    )


def finish(
    client: OAuthClient, provider: Provider, device: Device, *, wait: Callable[[float, float], None]
) -> Mapping[str, Any]:
    """Asks until somebody has said yes, and returns what the provider grants.

    Args:
        client: asks.
        provider: whom.
        device: what :func:`begin` returned.
        wait: called with the seconds to wait, and those that are left in all.

    Raises:
        SecretError: somebody said no, or nobody said anything in time.
        ProtocolError: the answer makes no sense.
    """
    interval, left = device.interval, device.lifetime
    while left > 0:
        pause = min(interval, left)
        wait(pause, left)
        left -= pause
        try:
            reply = client.device_token(device.device_code)
        except NetworkError:
            # RFC 8628 §3.5: ask less often, rather than give up.
            interval = min(interval * 2, _LONGEST_INTERVAL)
            continue
        if not isinstance(reply, Refusal):
            return reply
        match reply.code:
            case str(code) if code == PENDING:
                pass
            case str(code) if code == SLOW_DOWN:
                interval = min(interval + _INTERVAL, _LONGEST_INTERVAL)
            case str(code) if code == EXPIRED:
                break
            case str(code) if code == DENIED:
                raise SecretError(f"somebody declined at {provider.name}: nothing has changed")
            case _:
                raise refused_request(reply, provider)
    raise SecretError("nobody entered the code in time: run the command again for a new one")


def _shown(reply: Mapping[str, Any], *names: str) -> str:
    """Returns a text that is fit for a terminal; "" where there is none."""
    value = next((reply[name] for name in names if name in reply), "")
    fit = isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isascii() and value.isprintable()
    return value if fit else ""


def _number(reply: Mapping[str, Any], name: str, usual: float, most: float) -> float:
    value = reply.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return usual
    return float(min(value, most))  # JSON knows whole numbers that no float holds
