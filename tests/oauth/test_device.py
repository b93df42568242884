"""fetchd.oauth.device: RFC 8628, by a script of answers and a clock that is only told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import FetchdError, ProtocolError, SecretError
from fetchd.model import Secret, SecretOAuth
from fetchd.oauth.client import OAuthClient
from fetchd.oauth.device import Device, begin, finish
from fetchd.oauth.providers import provider_of
from fetchd.oauth.replies import Answer
from tests.oauth.endpoint import GRANT, Endpoint, Say, forms, refusal

BEGUN: dict[str, Any] = {
    "device_code": "device-hunter2",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://example.org/device",
    "verification_uri_complete": "https://example.org/device?user_code=ABCD-EFGH",
    "expires_in": 60,
    "interval": 5,
}
DEVICE = Device("https://x/", "ABCD", "", Secret(b"device-hunter2"), lifetime=60.0, interval=5.0)


def source(url: str = "http://127.0.0.1:1") -> SecretOAuth:
    return SecretOAuth(
        "alice",
        "alice",
        "custom",
        "id",
        scope="mail offline_access",
        token_endpoint=f"{url}/token",
        device_authorization_endpoint=f"{url}/device",
    )


def begun(**changes: Any) -> Device:
    reply = {key: value for key, value in (BEGUN | changes).items() if value is not None}
    with Endpoint(Say(reply)) as endpoint:
        found = begin(OAuthClient(source(endpoint.url), provider_of(source(endpoint.url))), provider_of(source()))
        assert (endpoint.asked[0].path, forms(endpoint)) == (
            "/device",
            [{"client_id": "id", "scope": "mail offline_access"}],
        )
    return found


def asked(*script: Say, device: Device = DEVICE) -> tuple[object, list[float], Endpoint]:
    waits: list[float] = []
    with Endpoint(*script) as endpoint:
        client = OAuthClient(source(endpoint.url), provider_of(source(endpoint.url)))
        try:
            found: object = finish(client, provider_of(source()), device, wait=lambda pause, _: waits.append(pause))
        except FetchdError as error:
            found = error
    return found, waits, endpoint


PENDING, SLOWER = refusal("authorization_pending"), refusal("slow_down")


def test_a_flow_begins_with_an_address_and_a_code() -> None:
    device = begun()
    assert (device.address, device.user_code) == ("https://example.org/device", "ABCD-EFGH")
    assert device.whole_address == BEGUN["verification_uri_complete"]
    assert (device.lifetime, device.interval) == (60.0, 5.0)
    assert "hunter2" not in repr(device)


def test_what_is_not_said_has_a_usual_value() -> None:
    """RFC 8628 §3.2."""
    device = begun(interval=None, expires_in=None, verification_uri_complete=None)
    assert (device.interval, device.lifetime, device.whole_address) == (5.0, 900.0, "")
    assert begun(verification_uri=None, verification_url="https://e.org/d").address == "https://e.org/d"


@pytest.mark.parametrize("odd", [0, -1, 0.0, float("nan"), True, "5", None, [5], {}])
def test_a_number_that_makes_no_sense_counts_as_not_said(odd: object) -> None:
    device = begun(interval=odd, expires_in=odd)
    assert (device.interval, device.lifetime) == (5.0, 900.0)


@pytest.mark.parametrize("large", [10**9, 10**400, float("inf")])
def test_a_number_that_is_too_large_is_cut(large: float) -> None:
    """JSON knows whole numbers that no float holds."""
    device = begun(interval=large, expires_in=large)
    assert (device.interval, device.lifetime) == (300.0, 3600.0)


@pytest.mark.parametrize(
    "bad",
    [
        {"device_code": None},
        {"device_code": 5},
        {"device_code": "hunter2\ud800"},
        {"user_code": None},
        {"user_code": "\x1b[31mhunter2"},
        {"verification_uri": None},
        {"verification_uri": "javascript:hunter2"},
        {"verification_uri": "https://x/" + "y" * 3000},
        {"verification_uri": "https://exämple.org/"},
    ],
)
def test_what_is_not_fit_to_be_shown_is_not_shown(bad: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        begun(**bad)
    assert "hunter2" not in str(caught.value)


def test_it_asks_until_somebody_has_said_yes() -> None:
    found, waits, endpoint = asked(PENDING, PENDING, Say())
    assert found == GRANT
    assert waits == [5.0, 5.0, 5.0]
    assert forms(endpoint)[0] == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "device-hunter2",
        "client_id": "id",
    }


def test_slow_down_adds_five_seconds_for_good() -> None:
    """RFC 8628 §3.5."""
    _, waits, _ = asked(PENDING, SLOWER, PENDING, SLOWER, Say())
    assert waits == [5.0, 5.0, 10.0, 10.0, 15.0]


@pytest.mark.parametrize("trouble", [Say({}, 503), Say(b"x" * (1 << 20)), Say(b"", length=9)])
def test_trouble_on_the_way_is_asked_again_less_often(trouble: Say) -> None:
    """RFC 8628 §3.5: exponential back-off."""
    found, waits, _ = asked(trouble, trouble, Say())
    assert (found, waits) == (GRANT, [5.0, 10.0, 20.0])


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (refusal("expired_token"), "nobody entered the code in time"),
        (refusal("access_denied"), "somebody declined at 127.0.0.1:1: nothing has changed"),
        (refusal("invalid_client"), "does not accept this client"),
        (refusal("invalid_grant", "no device-hunter2"), "refuses to give a token"),
    ],
)
def test_how_it_can_end(last: Say, text: str) -> None:
    found, _, endpoint = asked(PENDING, last)
    assert isinstance(found, SecretError)
    assert text in str(found)
    assert "hunter2" not in str(found)
    assert len(endpoint.asked) == 2


def test_the_code_s_own_time_ends_it_whatever_the_provider_says() -> None:
    found, waits, _ = asked(PENDING)
    assert "nobody entered the code in time" in str(found)
    assert sum(waits) == 60.0


@given(st.lists(st.sampled_from(["authorization_pending", "slow_down", "down"]), max_size=40))
def test_it_never_waits_for_longer_than_the_code_is_good(answers: list[str]) -> None:
    script = iter(answers)
    waits: list[float] = []

    def send(*_: object) -> Answer:
        word = next(script, "authorization_pending")
        return Answer(503, b"") if word == "down" else Answer(400, b'{"error": "%b"}' % word.encode())

    client = OAuthClient(source(), provider_of(source()), send=send)
    with pytest.raises(SecretError, match="in time"):
        finish(client, provider_of(source()), DEVICE, wait=lambda pause, _: waits.append(pause))
    assert sum(waits) == pytest.approx(60.0)
    assert all(pause >= 5.0 for pause in waits[:-1])
    assert waits[:-1] == sorted(waits[:-1])
