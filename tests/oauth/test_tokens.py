"""fetchd.oauth.tokens: what is kept of an answer, when it is renewed, and a file that says the same again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ProtocolError
from fetchd.model import Secret, SecretOAuth
from fetchd.oauth.providers import Provider, provider_of
from fetchd.oauth.tokens import Tokens, from_json, granted, to_json

SOURCE = SecretOAuth("alice", "alice@example.org", "custom", "id", token_endpoint="https://login.example.org/token")
MICROSOFT = SecretOAuth("bob", "bob@example.org", "microsoft", "id")
GOOGLE = SecretOAuth("carol", "carol@gmail.com", "google", "id")
GOOD: dict[str, Any] = {"access_token": "A", "refresh_token": "R", "token_type": "Bearer", "expires_in": 3600}
NOW = 1_795_000_000.0


def take(source: SecretOAuth = SOURCE, *, before: Tokens | None = None, chance: float = 0.0, **changes: Any) -> Tokens:
    reply = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return granted(reply, source, provider_of(source), now=NOW, chance=chance, before=before)


def test_a_grant_is_kept() -> None:
    tokens = take()
    assert (tokens.access_token, tokens.refresh_token) == (Secret(b"A"), Secret(b"R"))
    assert (tokens.obtained_at, tokens.expires_at) == (NOW, NOW + 3600)
    assert tokens.belongs_to(SOURCE, provider_of(SOURCE))


@pytest.mark.parametrize(
    ("lifetime", "chance", "ahead"), [(3600, 0.0, 300), (3600, 0.999, 599.7), (8, 0.0, 2), (8, 0.5, 3), (400, 0.5, 150)]
)
def test_it_is_renewed_ahead_of_its_end_by_chance(lifetime: int, chance: float, ahead: float) -> None:
    tokens = take(expires_in=lifetime, chance=chance)
    assert tokens.renew_at == pytest.approx(NOW + lifetime - ahead)
    assert not tokens.is_due(NOW)
    assert tokens.is_due(NOW + lifetime - ahead + 0.01)
    assert tokens.is_good(NOW + lifetime - 0.01)
    assert not tokens.is_good(NOW + lifetime)


def test_a_token_without_an_end_is_used_until_a_server_refuses_it() -> None:
    tokens = take(expires_in=None)
    assert tokens.expires_at is None
    assert not tokens.is_due(NOW * 2)
    assert tokens.is_good(NOW * 2)


@pytest.mark.parametrize("odd", [0, -5, "soon", True, [], float("inf"), float("nan"), "1" * 400, {}])
def test_a_lifetime_that_makes_no_sense_costs_no_refresh_token(odd: object) -> None:
    assert take(expires_in=odd).refresh_token == Secret(b"R")


def test_a_lifetime_as_text_counts() -> None:
    """Microsoft's older endpoints answer so."""
    assert take(expires_in="3599").expires_at == NOW + 3599


def test_a_refresh_token_that_is_not_replaced_stays() -> None:
    """RFC 6749 §6."""
    before = take()
    assert take(before=before, access_token="B", refresh_token=None).refresh_token == Secret(b"R")
    assert take(before=before, access_token="B", refresh_token="S").refresh_token == Secret(b"S")


@pytest.mark.parametrize(
    "bad",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "hunter2 x"},
        {"access_token": "hunter2\n"},
        {"access_token": "hunter2é"},
        {"access_token": "hunter2" * 10_000},
        {"refresh_token": "hunter2\r"},
        {"refresh_token": ["hunter2"]},
        {"token_type": "mac"},
        {"token_type": 1},
    ],
)
def test_what_cannot_be_used_is_refused_and_not_quoted(bad: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        take(**bad)
    assert "hunter2" not in str(caught.value)


def test_when_somebody_has_to_log_in_again() -> None:
    assert take().ends_at() is None
    assert take(MICROSOFT).ends_at() == NOW + 90 * 86400
    assert take(GOOGLE).ends_at() is None
    testing = take(GOOGLE, refresh_token_expires_in=604_799)
    assert testing.ends_at() == NOW + 604_799
    again = take(GOOGLE, before=testing, refresh_token=None)
    assert again.ends_at() == NOW + 604_799, "a renewal at Google does not prolong it, nor does it say so again"
    assert take(refresh_token=None).ends_at() == NOW + 3600, "without a refresh token, with the access token"


def test_other_settings_are_another_login() -> None:
    """A refresh token goes to nobody but the endpoint that gave it."""
    tokens = take()
    for changed in (
        SecretOAuth("alice", "alice@example.org", "custom", "id", token_endpoint="https://evil.example.org/token"),
        SecretOAuth("alice", "alice@example.org", "custom", "other", token_endpoint=SOURCE.token_endpoint),
        SecretOAuth("alice", "al@example.org", "custom", "id", token_endpoint=SOURCE.token_endpoint),
    ):
        assert not tokens.belongs_to(changed, provider_of(changed))


TIMES = st.none() | st.floats(0, 1e12)
SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1).map(lambda t: Secret(t.encode()))


@given(
    st.builds(
        Tokens,
        st.text(st.characters(exclude_categories=["Cs"])),
        st.just("id"),
        st.just("https://x/"),
        access_token=SECRETS,
        refresh_token=st.none() | SECRETS,
        obtained_at=st.floats(0, 1e12),
        expires_at=TIMES,
        renew_at=TIMES,
        login_expires_at=TIMES,
        refused_at=TIMES,
    )
)
def test_a_file_says_what_was_kept(tokens: Tokens) -> None:
    assert from_json(to_json(tokens)) == tokens


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"access_token": None},
        {"access_token": "hunter2é"},
        {"expires_at": "hunter2"},
        {"expires_at": True},
        {"obtained_at": 10**400},
        {"refused_at": float("nan")},
        {"client_id": 5},
    ],
)
def test_another_file_is_none_of_ours(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no|has no") as caught:
        from_json(json.dumps(json.loads(to_json(take())) | change).encode())
    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=300) | st.from_type(dict[str, int]).map(json.dumps).map(str.encode))
def test_any_octets_are_tokens_or_a_value_error(octets: bytes) -> None:
    with pytest.raises(ValueError, match="is no token file"):
        from_json(octets)


def test_no_repr_shows_a_token() -> None:
    assert "hunter2" not in repr(take(access_token="hunter2", refresh_token="hunter2"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (GOOGLE, ("https://oauth2.googleapis.com/token", "https://mail.google.com/", "")),
        (
            MICROSOFT,
            (
                "https://login.microsoftonline.com/common/oauth2/v2.0/token",
                "https://outlook.office.com/POP.AccessAsUser.All offline_access",
                "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
            ),
        ),
        (
            SecretOAuth("b", "b", "microsoft", "id", tenant="example.org", scope="s"),
            (
                "https://login.microsoftonline.com/example.org/oauth2/v2.0/token",
                "s",
                "https://login.microsoftonline.com/example.org/oauth2/v2.0/devicecode",
            ),
        ),
    ],
)
def test_the_providers_that_are_known(source: SecretOAuth, expected: tuple[str, str, str]) -> None:
    provider: Provider = provider_of(source)
    assert (provider.token_endpoint, provider.scope, provider.device_authorization_endpoint) == expected
