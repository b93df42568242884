"""AUTH in lines: base64, where the initial response goes, and what counts as a broken exchange."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ProtocolError
from fetchd.model import Secret
from fetchd.pop3.mechanisms import CramMd5, External, Login, Plain
from fetchd.pop3.oauth import XOAuth2
from fetchd.pop3.sasl import AUTH_LINE_LIMIT, CHALLENGE_LIMIT, Exchange, decode, encode

PASSWORD = Secret(b"tanstaaftanstaaf")


def plain(octets: int) -> Exchange:
    """PLAIN whose AUTH line has this many octets, which must be 4 n + 13."""
    room = (octets - len(b"AUTH PLAIN \r\n")) // 4 * 3 - len(b"\0u\0")
    return Exchange(Plain(b"u", Secret(b"p" * room)))


def test_an_initial_response_goes_with_auth() -> None:
    """RFC 5034 §4."""
    exchange = Exchange(Plain(b"tim", PASSWORD))
    assert exchange.arguments() == b"PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
    exchange.succeeded()


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    """RFC 5034 §4: without it, the server would take it that there is none."""
    assert Exchange(External()).arguments() == b"EXTERNAL ="


def test_an_empty_response_held_back_is_an_empty_line() -> None:
    exchange = Exchange(External(), one_line=False)
    assert exchange.arguments() == b"EXTERNAL"
    assert exchange.answer(b" ") == b""
    exchange.succeeded()


def test_an_auth_line_of_255_octets_is_sent() -> None:
    """RFC 5034 §4 with RFC 2449 §4; its CRLF counts."""
    arguments = plain(253).arguments()
    assert len(b"AUTH " + arguments + b"\r\n") == 253 <= AUTH_LINE_LIMIT
    assert b" " in arguments


def test_an_initial_response_beyond_the_limit_waits_for_the_go() -> None:
    """RFC 5034 §4."""
    exchange = plain(257)
    assert exchange.arguments() == b"PLAIN"
    assert decode(exchange.answer(b" ")).startswith(b"\0u\0ppp")
    exchange.succeeded()


def test_the_limit_is_255_to_the_octet() -> None:
    """EXTERNAL's name makes lines of 4 n + 16; so does its identity of 3 n octets: 252 fits, 256 does not."""
    assert b" " in Exchange(External(b"i" * 177)).arguments()
    assert Exchange(External(b"i" * 180)).arguments() == b"EXTERNAL"


def test_a_token_waits_for_the_go_unless_one_line_is_wished_for() -> None:
    """FACTS §3 13: Microsoft takes it on a line of its own only; the fallback is one line, whatever its length."""
    token = Secret(b"t" * 2000)
    assert Exchange(XOAuth2(b"joe", Secret(b"t"))).arguments() == b"XOAUTH2"
    two = Exchange(XOAuth2(b"joe", token))
    assert two.arguments() == b"XOAUTH2"
    one = Exchange(XOAuth2(b"joe", token), one_line=True)
    assert one.arguments() == b"XOAUTH2 " + two.answer(b"")


@pytest.mark.parametrize("go", [b"", b" ", b"  "])
def test_the_go_may_be_a_bare_plus(go: bytes) -> None:
    """RFC 5034 §4 wants "+ "; many a server sends "+"."""
    exchange = Exchange(Plain(b"tim", PASSWORD), one_line=False)
    exchange.arguments()
    assert exchange.answer(go) == b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm"


def test_a_challenge_where_only_a_go_may_be_is_refused() -> None:
    """FAULTS 81; and nothing was revealed."""
    exchange = Exchange(Plain(b"tim", PASSWORD), one_line=False)
    exchange.arguments()
    with pytest.raises(ProtocolError, match="PLAIN: a challenge before"):
        exchange.answer(b" " + base64.b64encode(b"hello"))


def test_success_before_the_first_word_is_refused() -> None:
    """A server that says +OK before it knows who we are answers something else."""
    exchange = Exchange(Plain(b"tim", PASSWORD), one_line=False)
    exchange.arguments()
    with pytest.raises(ProtocolError, match="before the client's first word"):
        exchange.succeeded()


def test_success_is_put_to_the_mechanism() -> None:
    exchange = Exchange(Login(b"tim", PASSWORD))
    assert exchange.arguments() == b"LOGIN"
    with pytest.raises(ProtocolError, match="LOGIN: success before"):
        exchange.succeeded()


def test_cram_md5_in_lines() -> None:
    """RFC 2195 §2, its example."""
    exchange = Exchange(CramMd5(b"tim", PASSWORD))
    assert exchange.arguments() == b"CRAM-MD5"
    challenge = b" PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    assert exchange.answer(challenge) == b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    exchange.succeeded()


def test_the_detail_of_a_refusal_is_the_mechanisms() -> None:
    exchange = Exchange(XOAuth2(b"joe", Secret(b"ya29.token")))
    exchange.arguments()
    exchange.answer(b"")
    assert exchange.answer(base64.b64encode(b'{"status":"401"}')) == b""
    assert exchange.detail == '{"status":"401"}'


@pytest.mark.parametrize(
    "text",
    [
        b" go ahead",
        b"=",
        b"QQ",
        b"QQ=",
        b"QQ===",
        b"QUJD=",
        b"QUJD====",
        b"QQ==QQ==",
        b"QQ==\n",
        b"QU\tJD",
        b"QU JD",
        b"QUJD\xff",
        b"QUJD\0",
        b"-_-_",
        b"A",
    ],
)
def test_a_challenge_that_is_not_base64_is_refused(text: bytes) -> None:
    """FAULTS 81. What it says instead is not repeated: a server that echoes would have us log the password."""
    with pytest.raises(ProtocolError, match=r"^AUTH: a challenge that is not base64$"):
        decode(text)


def test_a_challenge_of_64_kib_is_the_longest() -> None:
    """FAULTS 81."""
    longest = b"QUJD" * (CHALLENGE_LIMIT // 4)
    assert len(decode(longest)) == CHALLENGE_LIMIT // 4 * 3
    with pytest.raises(ProtocolError, match="more than 65536 octets"):
        decode(longest + b"QUJD")


@given(st.binary(max_size=300))
def test_what_is_encoded_is_one_line_that_decodes(octets: bytes) -> None:
    assert decode(b" " + encode(octets)) == octets
    assert b"\n" not in encode(octets)


@given(st.binary(max_size=50) | st.text("ABCDabcd+/= ", max_size=20).map(str.encode))
def test_any_octets_decode_or_are_a_protocol_error(text: bytes) -> None:
    """FAULTS 81; what decodes is base64 in its one spelling, up to bits that its padding ignores."""
    try:
        octets = decode(text)
    except ProtocolError:
        return
    assert len(encode(octets)) == len(text.strip(b" "))
