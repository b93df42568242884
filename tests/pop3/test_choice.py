"""Which way to log in, as a table; and that no way but a permitted one comes out, whatever is offered."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import PolicyError, Retry, SecretError, TlsError, UsageError
from fetchd.model import CERTIFICATE_WAY, LOGIN_WAYS, TOKEN_WAYS, Secret
from fetchd.pop3.binding import ChannelBinding
from fetchd.pop3.choice import (
    APOP,
    USER,
    Credentials,
    ExternalLogin,
    Offer,
    PasswordLogin,
    TokenLogin,
    choose,
    is_revealing,
    mechanism,
)

PASSWORD = PasswordLogin(b"joe", Secret(b"open sesame"))
TOKEN = TokenLogin(b"joe", Secret(b"ya29.token"), "pop.example.org", 995)
EXTERNAL = ExternalLogin()
UNIQUE = ChannelBinding("tls-unique", b"finished message")
END_POINT = ChannelBinding("tls-server-end-point", b"d" * 32)

DOVECOT = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER")
PLUS = ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS")
GMAIL = ("PLAIN", "XOAUTH2", "OAUTHBEARER")
MICROSOFT = ("PLAIN", "XOAUTH2")
CYRUS = ("DIGEST-MD5", "NTLM", "GSSAPI", "LOGIN", "PLAIN", "EXTERNAL")


@pytest.mark.parametrize(
    ("credentials", "offer", "ways"),
    [
        (
            PASSWORD,
            Offer(sasl=DOVECOT, apop=True, private=True),
            "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 APOP PLAIN LOGIN USER",
        ),
        (
            PASSWORD,
            Offer(sasl=(*DOVECOT, *PLUS), private=True, binding=UNIQUE),
            "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN USER",
        ),
        (
            PASSWORD,
            Offer(sasl=(*DOVECOT, *PLUS), private=True, binding=END_POINT),
            "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN USER",
        ),
        (PASSWORD, Offer(sasl=PLUS, private=True), "USER"),
        (PASSWORD, Offer(sasl=MICROSOFT, private=True), "PLAIN USER"),
        (PASSWORD, Offer(sasl=CYRUS, private=True, user=False), "PLAIN LOGIN"),
        (PASSWORD, Offer(sasl=("plain", "Scram-Sha-1"), private=True, user=False), "SCRAM-SHA-1 PLAIN"),
        (PASSWORD, Offer(private=True), "USER"),
        (PASSWORD, Offer(private=True, apop=True), "APOP USER"),
        (PASSWORD, Offer(sasl=(), private=True), "USER"),
        (TOKEN, Offer(sasl=GMAIL, private=True), "OAUTHBEARER XOAUTH2"),
        (TOKEN, Offer(sasl=MICROSOFT, private=True), "XOAUTH2"),
        (TOKEN, Offer(private=True), "OAUTHBEARER XOAUTH2"),
        (EXTERNAL, Offer(sasl=CYRUS, private=True), "EXTERNAL"),
        (EXTERNAL, Offer(private=True), "EXTERNAL"),
        # A line that others can listen in on (FAULTS 79).
        (PASSWORD, Offer(sasl=DOVECOT, apop=True), "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"),
    ],
)
def test_the_strongest_comes_first(credentials: Credentials, offer: Offer, ways: str) -> None:
    assert choose(credentials, offer) == ways.split()


def test_what_is_allowed_on_a_plain_line_comes_in_the_same_order() -> None:
    offer = Offer(sasl=DOVECOT, apop=True)
    assert choose(PASSWORD, offer, allow_plaintext=True) == choose(
        PASSWORD, Offer(sasl=DOVECOT, apop=True, private=True)
    )
    assert choose(TOKEN, offer, allow_plaintext=True) == ["OAUTHBEARER", "XOAUTH2"]


@pytest.mark.parametrize(
    ("credentials", "offer"),
    [
        (PASSWORD, Offer(sasl=MICROSOFT)),
        (PASSWORD, Offer(apop=True)),
        (PASSWORD, Offer()),
        (TOKEN, Offer(sasl=GMAIL)),
        (TOKEN, Offer()),
    ],
)
def test_no_secret_goes_over_a_plain_line(credentials: Credentials, offer: Offer) -> None:
    """FAULTS 79. A human has to act: it will be no different next time."""
    with pytest.raises(TlsError, match="not encrypted") as caught:
        choose(credentials, offer)
    assert caught.value.retry is Retry.HOLD


@pytest.mark.parametrize("wish", ["PLAIN", "LOGIN", "USER", "user"])
def test_a_wish_does_not_put_a_password_on_a_plain_line(wish: str) -> None:
    """FAULTS 79: only ``allow_plaintext`` does."""
    with pytest.raises(TlsError):
        choose(PASSWORD, Offer(sasl=DOVECOT), wish=wish)
    assert choose(PASSWORD, Offer(sasl=DOVECOT), wish=wish, allow_plaintext=True) == [wish.upper()]


def test_apop_goes_over_a_plain_line_where_it_is_asked_for() -> None:
    assert choose(PASSWORD, Offer(apop=True), wish="apop") == [APOP]


@pytest.mark.parametrize("wish", ["SCRAM-SHA-256", "cram-md5", "Plain", APOP, USER])
def test_a_wish_is_the_only_way(wish: str) -> None:
    assert choose(PASSWORD, Offer(sasl=DOVECOT, apop=True, private=True), wish=wish) == [wish.upper()]


def test_a_wish_binds_by_what_there_is() -> None:
    """A server that does take tls-server-end-point cannot say so: whoever runs it knows."""
    offer = Offer(sasl=PLUS, private=True, binding=END_POINT)
    assert choose(PASSWORD, offer, wish="SCRAM-SHA-256-PLUS") == ["SCRAM-SHA-256-PLUS"]
    with pytest.raises(PolicyError, match="SCRAM-SHA-256-PLUS cannot be used"):
        choose(PASSWORD, Offer(sasl=PLUS, private=True), wish="SCRAM-SHA-256-PLUS")


def test_a_wish_may_guess_where_the_server_does_not_say() -> None:
    """Some servers have AUTH and no CAPA."""
    assert choose(PASSWORD, Offer(), wish="CRAM-MD5") == ["CRAM-MD5"]


@pytest.mark.parametrize(
    ("credentials", "wish"), [(PASSWORD, "NTLM"), (PASSWORD, "XOAUTH2"), (TOKEN, "PLAIN"), (EXTERNAL, "PLAIN")]
)
def test_an_unknown_wish_is_a_mistake_of_the_caller(credentials: Credentials, wish: str) -> None:
    with pytest.raises(UsageError, match=f'"{wish}"; there are: '):
        choose(credentials, Offer(sasl=DOVECOT, private=True), wish=wish)


@pytest.mark.parametrize(
    ("credentials", "offer", "wish", "shown"),
    [
        (PASSWORD, Offer(sasl=MICROSOFT, private=True), "CRAM-MD5", "offers PLAIN, XOAUTH2, USER: CRAM-MD5 cannot"),
        (PASSWORD, Offer(sasl=(), private=True), "PLAIN", "offers USER: PLAIN cannot"),
        (PASSWORD, Offer(private=True), APOP, "offers USER: APOP cannot"),
        (PASSWORD, Offer(private=True, user=False), USER, "offers nothing: USER cannot"),
        (PASSWORD, Offer(sasl=("GSSAPI",), private=True, user=False), "", "offers GSSAPI: none of "),
        (TOKEN, Offer(sasl=("PLAIN",), private=True), "", "offers PLAIN, USER: none of OAUTHBEARER, XOAUTH2 cannot"),
        (EXTERNAL, Offer(sasl=DOVECOT, private=True), "", "none of EXTERNAL"),
    ],
)
def test_what_the_server_does_not_offer_is_said_with_what_it_offers(
    credentials: Credentials, offer: Offer, wish: str, shown: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        choose(credentials, offer, wish=wish)
    assert shown in str(caught.value)


def test_sixty_mechanisms_do_not_make_a_long_message() -> None:
    """FAULTS 45."""
    offer = Offer(sasl=[f"MECHANISM-{n}" for n in range(60)], private=True, user=False)
    with pytest.raises(PolicyError) as caught:
        choose(PASSWORD, offer)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("password", ["pa\u0308ss", "k🔑y"])
def test_scram_comes_last_for_a_password_that_servers_read_in_two_ways(password: str) -> None:
    """FAULTS 87: a refusal may lock us out, so what works everywhere comes first; but not before listeners."""
    awkward = PasswordLogin(b"joe", Secret(password.encode()))
    private = choose(awkward, Offer(sasl=DOVECOT, private=True))
    assert private == ["CRAM-MD5", "PLAIN", "LOGIN", "USER", "SCRAM-SHA-256", "SCRAM-SHA-1"]
    heard = choose(awkward, Offer(sasl=DOVECOT), allow_plaintext=True)
    assert heard == ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "USER"]


# ── from the way to its mechanism ────────────────────────────────────────────────────────────────────────────────────


def test_every_way_but_two_has_its_mechanism() -> None:
    offer = Offer(sasl=(*DOVECOT, *PLUS, "EXTERNAL"), apop=True, private=True, binding=UNIQUE)
    made = [
        mechanism(way, credentials, offer).name
        for credentials in (PASSWORD, TOKEN, EXTERNAL)
        for way in choose(credentials, offer)
        if way not in {APOP, USER}
    ]
    assert sorted(made) == sorted([*DOVECOT, *PLUS, "EXTERNAL"])


def test_what_has_no_mechanism_is_a_mistake_of_the_caller() -> None:
    for way, credentials in [(USER, PASSWORD), (APOP, PASSWORD), ("PLAIN", TOKEN), ("XOAUTH2", EXTERNAL)]:
        with pytest.raises(UsageError, match=way):
            mechanism(way, credentials, Offer())


def test_the_token_is_meant_for_the_server() -> None:
    assert mechanism("OAUTHBEARER", TOKEN, Offer()).initial() == (
        b"n,a=joe,\x01host=pop.example.org\x01port=995\x01auth=Bearer ya29.token\x01\x01"
    )


@pytest.mark.parametrize(
    ("way", "offer", "flag"),
    [
        ("SCRAM-SHA-256-PLUS", Offer(sasl=PLUS, binding=END_POINT), b"p=tls-server-end-point,,"),
        ("SCRAM-SHA-256", Offer(sasl=DOVECOT, binding=UNIQUE), b"y,,"),
        ("SCRAM-SHA-256", Offer(sasl=(*DOVECOT, *PLUS), binding=UNIQUE), b"n,,"),
        ("SCRAM-SHA-256", Offer(sasl=("SCRAM-SHA-256", "scram-sha-1-plus"), binding=UNIQUE), b"n,,"),
        ("SCRAM-SHA-256", Offer(sasl=None, binding=UNIQUE), b"n,,"),
        ("SCRAM-SHA-256", Offer(sasl=DOVECOT), b"n,,"),
    ],
)
def test_the_gs2_flag_follows_from_the_offer(way: str, offer: Offer, flag: bytes) -> None:
    """RFC 5802 §6: "y" only to a server that is known not to offer -PLUS; Dovecot 2.4 refuses it otherwise."""
    first = mechanism(way, PASSWORD, offer).initial()
    assert first is not None
    assert first.startswith(flag)


def test_a_password_that_cannot_be_carried_is_said_before_anything_is_sent() -> None:
    with pytest.raises(SecretError, match="SCRAM-SHA-1 cannot carry"):
        mechanism("SCRAM-SHA-1", PasswordLogin(b"joe", Secret("k🔑y".encode())), Offer())


@pytest.mark.parametrize("credentials", [PASSWORD, TOKEN, EXTERNAL])
def test_no_representation_shows_the_secret(credentials: Credentials) -> None:
    assert not any(secret in repr(credentials) for secret in ("sesame", "ya29"))


# ── whatever is offered ──────────────────────────────────────────────────────────────────────────────────────────────

_NAMES = st.sampled_from([*DOVECOT, *PLUS, "EXTERNAL", "NTLM", "plain", "", "é\x1b", "SCRAM-SHA-512"])
_OFFERS = st.builds(
    Offer,
    sasl=st.none() | st.lists(_NAMES, max_size=8),
    apop=st.booleans(),
    user=st.booleans(),
    private=st.booleans(),
    binding=st.sampled_from([None, UNIQUE, END_POINT]),
)
_REVEALS: Callable[[str], bool] = {"PLAIN", "LOGIN", USER, "XOAUTH2", "OAUTHBEARER"}.__contains__


@given(st.sampled_from([PASSWORD, TOKEN, EXTERNAL]), _OFFERS, st.booleans(), _NAMES | st.sampled_from([APOP, USER]))
def test_whatever_is_offered_no_way_comes_out_that_is_not_permitted(
    credentials: Credentials, offer: Offer, allowed: bool, wish: str
) -> None:
    """FAULTS 79."""
    try:
        ways = choose(credentials, offer, allow_plaintext=allowed, wish=wish)
    except (UsageError, PolicyError, TlsError):
        return
    assert ways
    assert len(ways) == len(set(ways))
    if not (offer.private or allowed):
        assert not any(map(_REVEALS, ways))
        assert APOP not in ways or wish == APOP
    for way in ways:
        if way not in {APOP, USER}:
            made = mechanism(way, credentials, offer)
            assert made.name == way
            assert made.reveals_password is _REVEALS(way)


@pytest.mark.parametrize("way", sorted(set(LOGIN_WAYS) - {APOP, USER}))
def test_every_way_that_the_configuration_knows_has_a_mechanism(way: str) -> None:
    """And it reveals the password or token exactly where the one list of them says so."""
    credentials = EXTERNAL if way == CERTIFICATE_WAY else TOKEN if way in TOKEN_WAYS else PASSWORD
    made = mechanism(way, credentials, Offer(binding=UNIQUE))
    assert made.name == way
    assert made.reveals_password is is_revealing(way)
