"""PLAIN, LOGIN, EXTERNAL, CRAM-MD5 and APOP: the words of the RFCs' examples, and servers that leave the script."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ProtocolError, SecretError, UsageError
from fetchd.model import Secret
from fetchd.pop3.mechanisms import GREETING_LIMIT, CramMd5, External, Login, Plain, apop_digest, apop_timestamp
from fetchd.pop3.oauth import OAuthBearer, XOAuth2
from fetchd.pop3.sasl import Mechanism

TIM = b"tim"
PASSWORD = Secret(b"tanstaaftanstaaf")
TIMESTAMP = b"<1896.697170952@dbc.mtview.ca.us>"
AWKWARD = [b" leading and trailing ", "pässwörd".encode(), b"p" * 500, b'100% "quoted" \\', b"\r\n", b"\xff\xfe"]

MECHANISMS: dict[str, Callable[[], Mechanism]] = {
    "PLAIN": lambda: Plain(TIM, PASSWORD),
    "LOGIN": lambda: Login(TIM, PASSWORD),
    "EXTERNAL": lambda: External(TIM),
    "CRAM-MD5": lambda: CramMd5(TIM, PASSWORD),
    "OAUTHBEARER": lambda: OAuthBearer(TIM, PASSWORD),
    "XOAUTH2": lambda: XOAuth2(TIM, PASSWORD),
}
MOST_ANSWERS = {"PLAIN": 0, "LOGIN": 2, "EXTERNAL": 0, "CRAM-MD5": 1, "OAUTHBEARER": 1, "XOAUTH2": 1}


def test_plain_says_user_and_password() -> None:
    """RFC 4616 §4."""
    mechanism = Plain(TIM, PASSWORD)
    assert mechanism.initial() == b"\0tim\0tanstaaftanstaaf"
    mechanism.succeeded()


def test_login_says_the_user_and_then_the_password_whatever_the_prompts() -> None:
    mechanism = Login(TIM, PASSWORD)
    assert mechanism.initial() is None
    assert mechanism.answer(b"Password:") == b"tim"
    with pytest.raises(ProtocolError, match="LOGIN: success before the exchange was over"):
        mechanism.succeeded()
    assert mechanism.answer(b"") == b"tanstaaftanstaaf"
    mechanism.succeeded()


def test_external_says_who_to_act_as() -> None:
    """RFC 4422 appendix A."""
    assert External(b"fred@example.com").initial() == b"fred@example.com"
    mechanism = External()
    assert mechanism.initial() == b""
    mechanism.succeeded()


def test_cram_md5_digests_the_challenge() -> None:
    """RFC 2195 §2, its example."""
    mechanism = CramMd5(TIM, PASSWORD)
    assert mechanism.initial() is None
    with pytest.raises(ProtocolError, match="CRAM-MD5: success before"):
        mechanism.succeeded()
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert mechanism.answer(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    mechanism.succeeded()


def test_cram_md5_digests_no_empty_challenge() -> None:
    """FAULTS 81: the digest of nothing would log in whoever gets to see it, at any server that challenges so."""
    with pytest.raises(ProtocolError, match="empty challenge"):
        CramMd5(TIM, PASSWORD).answer(b"")


@pytest.mark.parametrize("password", AWKWARD)
def test_a_password_goes_as_it_is(password: bytes) -> None:
    """FAULTS 87: base64 carries every octet."""
    assert Plain(TIM, Secret(password)).initial() == b"\0tim\0" + password
    login = Login(TIM, Secret(password))
    login.answer(b"")
    assert login.answer(b"") == password


def test_nul_is_refused_before_anything_is_sent() -> None:
    """RFC 4616 §2, FAULTS 88: it would end the user, and the rest of the user would be the password."""
    with pytest.raises(SecretError, match="the password holds NUL"):
        Plain(TIM, Secret(b"a\0b"))
    with pytest.raises(UsageError, match="PLAIN: the user holds NUL"):
        Plain(b"tim\0admin", PASSWORD)
    with pytest.raises(UsageError, match="EXTERNAL: the user holds NUL"):
        External(b"a\0b")


@pytest.mark.parametrize("name", MECHANISMS)
def test_one_challenge_more_than_legal_is_refused(name: str) -> None:
    """FAULTS 81."""
    mechanism = MECHANISMS[name]()
    mechanism.initial()
    for _ in range(MOST_ANSWERS[name]):
        mechanism.answer(b"x")
    with pytest.raises(ProtocolError, match=f"{name}: one challenge too many"):
        mechanism.answer(b"x")


@pytest.mark.parametrize("name", MECHANISMS)
def test_no_representation_shows_the_secret(name: str) -> None:
    mechanism = MECHANISMS[name]()
    assert mechanism.name == name
    assert "tanstaaf" not in repr(mechanism) + str(mechanism)


def test_who_reveals_a_secret_says_so() -> None:
    revealing = {name for name, make in MECHANISMS.items() if make().reveals_password}
    assert revealing == {"PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"}


@given(st.sampled_from(sorted(MECHANISMS)), st.lists(st.binary(max_size=100), max_size=4), st.booleans())
def test_any_challenges_are_answered_or_are_a_protocol_error(name: str, challenges: list[bytes], ok: bool) -> None:
    """FAULTS 81."""
    mechanism = MECHANISMS[name]()
    mechanism.initial()
    said = ""
    try:
        for challenge in challenges:
            assert isinstance(mechanism.answer(challenge), bytes)
        if ok:
            mechanism.succeeded()
    except ProtocolError as error:
        said = str(error)
    assert "tanstaaf" not in said


# ── APOP ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_apop_digests_timestamp_and_password() -> None:
    """RFC 1939 §7, its example."""
    assert apop_timestamp(b"POP3 server ready " + TIMESTAMP) == TIMESTAMP
    assert apop_digest(TIMESTAMP, Secret(b"tanstaaf")) == b"c4c9334bac560ecc979e58001b3e22fb"


@pytest.mark.parametrize(
    ("greeting", "timestamp"),
    [
        (b"Dovecot ready. <1b03.1.6562f1a7.Zg==@mail>", b"<1b03.1.6562f1a7.Zg==@mail>"),
        (b"<1@h> ready", b"<1@h>"),
        (b"ask <root@example.org>; ready <17.4@example.org>", b"<17.4@example.org>"),
        (b"<<1@h>", b"<1@h>"),
    ],
)
def test_the_timestamp_is_the_last_msg_id(greeting: bytes, timestamp: bytes) -> None:
    """RFC 1939 §7 puts it anywhere; all servers that are known put it last."""
    assert apop_timestamp(greeting) == timestamp


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"ready",
        b"<>",
        b"<@>",
        b"<1896.697170952>",
        b"<a@>",
        b"<@b>",
        b"<a@b",
        b"a@b>",
        b"<a b@c>",
        b"<a@b c>",
        b"<a@b@c>",
        b"<a<@b>",
        b"<\xe4@b>",
        b"<a\x00@b>",
        b"<a\x7f@b>",
        b"<a\t@b>",
    ],
)
def test_a_malformed_timestamp_offers_no_apop(greeting: bytes) -> None:
    """FAULTS 80, CVE-2007-1558: what is digested is a msg-id, so that a collision has no room in it."""
    assert apop_timestamp(greeting) is None
    with pytest.raises(ProtocolError, match="APOP"):
        apop_digest(greeting, PASSWORD)


@pytest.mark.parametrize("part", [b"<", b"@", b"<a@", b"<@", b"a@a", b"<a", b"@b>"])
def test_a_greeting_that_repeats_a_part_of_a_timestamp_costs_no_time(part: bytes) -> None:
    """FAULTS 80. With a pattern that backtracks this would run for hours: faulthandler_timeout ends it."""
    flood = b"<" + part * (1_000_000 // len(part))
    with pytest.raises(ProtocolError):
        apop_digest(flood, PASSWORD)


def test_a_long_greeting_offers_no_apop() -> None:
    """FAULTS 80: RFC 1939 §3 has replies of 512 octets at most."""
    padding = b"x" * (GREETING_LIMIT - len(TIMESTAMP))
    assert apop_timestamp(padding + TIMESTAMP) == TIMESTAMP
    assert apop_timestamp(padding + b"x" + TIMESTAMP) is None


def test_the_digest_ends_at_its_timestamp() -> None:
    with pytest.raises(ProtocolError):
        apop_digest(b"x" + TIMESTAMP, PASSWORD)
    with pytest.raises(ProtocolError):
        apop_digest(TIMESTAMP + b"\n", PASSWORD)


@given(st.binary(max_size=60) | st.text("<>@a ", max_size=30).map(str.encode))
def test_any_greeting_has_a_timestamp_that_digests_or_none(greeting: bytes) -> None:
    timestamp = apop_timestamp(greeting)
    assert timestamp is None or (timestamp in greeting and len(apop_digest(timestamp, PASSWORD)) == 32)
