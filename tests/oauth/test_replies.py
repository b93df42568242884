"""fetchd.oauth.replies: an object, a refusal, or no answer at all; and no secret in a word of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import FetchdError, NetworkError, ProtocolError, Retry
from fetchd.model import Secret
from fetchd.oauth.replies import Answer, Refusal, read


def answer(status: int, body: object) -> Answer:
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_an_object_is_what_was_asked_for() -> None:
    assert read(answer(200, {"a": 1}), "X") == {"a": 1}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_provider_that_cannot_answer_now_is_asked_again_soon(status: int) -> None:
    with pytest.raises(NetworkError, match=rf"X cannot answer now \(HTTP {status}\)") as caught:
        read(answer(status, {"error": "invalid_grant"}), "X")
    assert caught.value.retry is Retry.SOON


@pytest.mark.parametrize("code", ["server_error", "temporarily_unavailable"])
def test_so_is_one_that_says_it_in_words(code: str) -> None:
    with pytest.raises(NetworkError, match="cannot answer now"):
        read(answer(400, {"error": code}), "X")


@pytest.mark.parametrize("body", [b"", b"<html>hunter2", b"[1]", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_object_is_not_quoted(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="no JSON object") as caught:
        read(answer(200, body), "X")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("body", [{}, {"error": ""}, {"error": 7}, {"error": None, "x": 1}])
def test_a_failure_without_a_word(body: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="without a word on why"):
        read(answer(400, body), "X")


@pytest.mark.parametrize(
    ("code", "ends", "is_about_client"),
    [
        ("invalid_grant", True, False),
        ("interaction_required", True, False),
        ("invalid_client", False, True),
        ("unauthorized_client", False, True),
        ("invalid_scope", False, False),
        ("authorization_pending", False, False),
    ],
)
def test_what_a_refusal_means(code: str, ends: bool, is_about_client: bool) -> None:
    """RFC 6749 §5.2."""
    refusal = read(answer(400, {"error": code, "error_description": "AADSTS700082: expired\r\nTrace ID: x"}), "X")
    assert isinstance(refusal, Refusal)
    assert (refusal.is_end_of_login, refusal.is_about_client) == (ends, is_about_client)
    assert refusal.text == f"{code}: AADSTS700082: expired"


def test_an_error_beside_200_is_a_refusal_too() -> None:
    assert isinstance(read(answer(200, {"error": "bad_verification_code"}), "X"), Refusal)


@pytest.mark.parametrize("form", ["s3cr/et+x", "s3cr%2Fet%2Bx", "czNjci9ldCt4"])
def test_a_secret_that_is_repeated_is_not_shown(form: str) -> None:
    said = {"error": "invalid_grant", "error_description": f"no such token: {form}!"}
    refusal = read(answer(400, said), "X", secrets=[Secret(b"s3cr/et+x")])
    assert isinstance(refusal, Refusal)
    assert refusal.is_end_of_login
    assert form not in refusal.text


@given(st.integers(100, 599), st.binary(max_size=200) | st.from_type(dict[str, str]).map(json.dumps).map(str.encode))
def test_nothing_but_errors_of_ours_and_one_printable_line(status: int, body: bytes) -> None:
    try:
        found: object = read(Answer(status, body), "X")
    except FetchdError as error:
        found = error
    if isinstance(found, FetchdError | Refusal):
        text = found.text if isinstance(found, Refusal) else str(found)
        assert text.isprintable()
        assert len(text) < 300


def test_no_repr_shows_what_was_answered() -> None:
    assert repr(Answer(200, b"hunter2")) == "Answer(status=200)"
