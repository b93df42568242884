"""OAUTHBEARER and XOAUTH2: the words of their documents, and a server that refuses the token."""

import base64

import pytest

from fetchd.errors import ProtocolError, SecretError, UsageError
from fetchd.model import Secret
from fetchd.pop3.oauth import OAuthBearer, XOAuth2
from fetchd.pop3.sasl import Mechanism, encode

RFC_TOKEN = Secret(b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
GOOGLE_TOKEN = Secret(b"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")


def test_oauthbearer_says_user_server_and_token() -> None:
    """RFC 7628 §4.1."""
    mechanism = OAuthBearer(b"user@example.com", RFC_TOKEN, host="server.example.com", port=143)
    assert mechanism.initial() == (
        b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
        b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    )
    mechanism.succeeded()


def test_oauthbearer_may_leave_out_the_server() -> None:
    """RFC 7628 §3.1."""
    assert OAuthBearer(b"joe", Secret(b"t")).initial() == b"n,a=joe,\x01auth=Bearer t\x01\x01"


def test_oauthbearer_escapes_what_would_end_the_user() -> None:
    """RFC 5801 §4."""
    assert OAuthBearer(b"a=b,c", Secret(b"t")).initial() == b"n,a=a=3Db=2Cc,\x01auth=Bearer t\x01\x01"


def test_oauthbearer_answers_a_refusal_with_one_octet() -> None:
    """RFC 7628 §4.3, FAULTS 83: the server fails only then."""
    mechanism = OAuthBearer(b"user@example.com", RFC_TOKEN)
    refusal = base64.b64decode(
        "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczov"
        "L2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
    )
    assert mechanism.detail == ""
    assert encode(mechanism.answer(refusal)) == b"AQ=="
    assert mechanism.detail == refusal.decode()


def test_xoauth2_says_user_and_token() -> None:
    """Google's document, its example."""
    mechanism = XOAuth2(b"someuser@example.com", GOOGLE_TOKEN)
    assert encode(mechanism.initial()) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52"
        b"YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )
    mechanism.succeeded()


def test_xoauth2_answers_a_refusal_with_nothing() -> None:
    """FAULTS 83, with Google's example of a refusal."""
    mechanism = XOAuth2(b"someuser@example.com", GOOGLE_TOKEN)
    refusal = base64.b64decode(
        "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K"
    )
    assert mechanism.answer(refusal) == b""
    assert mechanism.detail == '{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}'


@pytest.mark.parametrize("mechanism", [OAuthBearer(b"joe", RFC_TOKEN), XOAuth2(b"joe", RFC_TOKEN)])
def test_success_after_a_refusal_is_refused(mechanism: Mechanism) -> None:
    """RFC 7628 §3.2.3: the server has to fail."""
    mechanism.answer(b"{}")
    with pytest.raises(ProtocolError, match="success after the server refused"):
        mechanism.succeeded()


def test_the_detail_is_escaped_and_short() -> None:
    mechanism = XOAuth2(b"joe", RFC_TOKEN)
    mechanism.answer(b"\x1b[31m\r\n" + b"x" * 60_000)
    assert mechanism.detail.startswith("\\x1b[31m\\r\\nxxx")
    assert len(mechanism.detail) <= 201


def test_a_server_that_echoes_does_not_get_the_token_into_a_log() -> None:
    mechanism = XOAuth2(b"joe", RFC_TOKEN)
    mechanism.answer(mechanism.initial())
    assert RFC_TOKEN.reveal().decode() not in mechanism.detail
    assert "holds the token" in mechanism.detail


@pytest.mark.parametrize("token", [b"", b"a b", b"a\x01user=admin", b"a\n", b"a\0", b"\xe4", b"a\x7f"])
def test_what_is_no_token_is_refused_before_anything_is_sent(token: bytes) -> None:
    """RFC 6750 §2.1: ^A would end the pair, and the rest would be the server's to interpret."""
    for make in (XOAuth2, OAuthBearer):
        with pytest.raises(SecretError, match="access token") as caught:
            make(b"joe", Secret(token))
        assert "admin" not in str(caught.value)


def test_a_user_or_host_cannot_add_a_pair() -> None:
    for make in (XOAuth2, OAuthBearer):
        with pytest.raises(UsageError, match="control character"):
            make(b"joe\x01auth=Bearer other", RFC_TOKEN)
    with pytest.raises(UsageError, match="control character"):
        OAuthBearer(b"joe", RFC_TOKEN, host="h\x01port=1")
