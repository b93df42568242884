"""SCRAM: the exchanges of the RFCs, a server that keeps to them, and many that do not (FAULTS 82)."""

import base64
import hashlib
import hmac
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from fetchd.errors import AuthenticationError, ProtocolError, Retry, SecretError
from fetchd.model import Outcome, Secret
from fetchd.pop3.binding import ChannelBinding
from fetchd.pop3.scram import FEWEST_ITERATIONS, MOST_ITERATIONS, Scram, is_portable

PENCIL = Secret(b"pencil")
UNIQUE = ChannelBinding("tls-unique", b"finished message")
END_POINT = ChannelBinding("tls-server-end-point", b"d" * 32)

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = f"{NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
SERVER_FIRST = f"r={SERVER_NONCE},s={SALT},i=4096".encode()
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def started(name: str = "SCRAM-SHA-256") -> Scram:
    """The client of RFC 7677 §3 once it has spoken."""
    scram = Scram(name, b"user", password=PENCIL, nonce=NONCE)
    scram.initial()
    return scram


def server_first(**changed: str) -> bytes:
    """The server-first message of RFC 7677 §3 with other values."""
    values = {"r": SERVER_NONCE, "s": SALT, "i": "4096", **changed}
    return ",".join(f"{name}={value}" for name, value in values.items()).encode()


# ── servers that keep to the RFCs ────────────────────────────────────────────────────────────────────────────────────


def test_the_exchange_of_rfc_5802() -> None:
    """RFC 5802 §5."""
    scram = Scram("SCRAM-SHA-1", b"user", password=PENCIL, nonce="fyko+d2lbbFgONRv9qkxdawL")
    assert scram.initial() == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    first = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    assert scram.answer(first) == (
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    )
    assert scram.answer(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""
    scram.succeeded()


def test_the_exchange_of_rfc_7677() -> None:
    """RFC 7677 §3."""
    scram = Scram("SCRAM-SHA-256", b"user", password=PENCIL, nonce=NONCE)
    assert scram.initial() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert scram.answer(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert scram.answer(SERVER_FINAL) == b""
    scram.succeeded()


@pytest.mark.parametrize("name", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize("binding", [UNIQUE, END_POINT], ids=lambda binding: binding.kind)
def test_a_server_that_keeps_to_the_rfc_lets_us_in(name: str, binding: ChannelBinding) -> None:
    """RFC 5802 §6; with a user that has to be escaped, and a password that is not ASCII."""
    user, password = "a=b,ä@example.org", "pässwörd mit € und Leer "
    family = ScramMechanism(name)
    record = family.make_auth_info(password, iteration_count=4096)
    channel = (binding.kind, binding.octets) if name.endswith("-PLUS") else None
    server = family.make_server({user: record}.__getitem__, channel_binding=channel)
    scram = Scram(name, user.encode(), password=Secret(password.encode()), binding=binding)
    server.set_client_first(scram.initial().decode())
    server.set_client_final(scram.answer(server.get_server_first().encode()).decode())
    assert scram.answer(server.get_server_final().encode()) == b""
    scram.succeeded()


def test_the_gs2_flag_says_what_binding_there_could_be() -> None:
    """RFC 5802 §6: "y" is how a server that did offer -PLUS learns that somebody took it off the list."""
    make = {
        b"n,,n=user,r=x": Scram("SCRAM-SHA-256", b"user", password=PENCIL, nonce="x"),
        b"y,,n=user,r=x": Scram("SCRAM-SHA-256", b"user", password=PENCIL, nonce="x", binding=UNIQUE),
        b"p=tls-unique,,n=user,r=x": Scram("SCRAM-SHA-256-PLUS", b"user", password=PENCIL, nonce="x", binding=UNIQUE),
        b"p=tls-server-end-point,,n=user,r=x": Scram(
            "SCRAM-SHA-1-PLUS", b"user", password=PENCIL, nonce="x", binding=END_POINT
        ),
    }
    for first, scram in make.items():
        assert scram.initial() == first


def test_a_nonce_is_used_once() -> None:
    firsts = {Scram("SCRAM-SHA-1", b"user", password=PENCIL).initial() for _ in range(50)}
    assert len(firsts) == 50
    assert all(len(first) >= len(b"n,,n=user,r=") + 32 for first in firsts)


def test_extensions_that_may_be_ignored_are() -> None:
    """RFC 5802 §5.1; they are covered by the signatures."""
    scram = started()
    first = SERVER_FIRST + ",x=grün".encode()
    final = scram.answer(first)
    without_proof = final.rpartition(b",p=")[0]
    auth_message = b",".join([b"n=user,r=" + NONCE.encode(), first, without_proof])
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", base64.b64decode(SALT), 4096)
    key = hmac.digest(salted, b"Server Key", "sha256")
    signature = base64.b64encode(hmac.digest(key, auth_message, "sha256"))
    assert scram.answer(b"v=" + signature + b",x=1") == b""
    scram.succeeded()


# ── servers that do not ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "not a server-first"),
        (b"hello", "not a server-first"),
        (b"\xff\xfe", "not UTF-8"),
        (server_first(r=NONCE), "does not continue ours"),
        (server_first(r="x" + SERVER_NONCE), "does not continue ours"),
        (server_first(r=SERVER_NONCE[1:]), "does not continue ours"),
        (server_first(r=NONCE.upper() + "abc"), "does not continue ours"),
        (server_first(r=SERVER_NONCE + " "), "not a server-first"),
        (server_first(r=""), "not a server-first"),
        (server_first(s=""), "not a server-first"),
        (server_first(s="W22ZaJ0SNY7soEsUEjb6gQ="), "base 64"),
        (server_first(s="W22Z aJ0SNY7soEsUEjb6gQ=="), "not a server-first"),
        (server_first(i="1"), "1 iterations"),
        (server_first(i="4095"), "4095 iterations"),
        (server_first(i="2000001"), "2000001 iterations"),
        (server_first(i="1000000000"), "1000000000 iterations"),
        (server_first(i="9" * 19), "iterations"),
        (server_first(i="9" * 5000), "not a server-first"),
        (server_first(i="0"), "not a server-first"),
        (server_first(i="04096"), "not a server-first"),
        (server_first(i="-4096"), "not a server-first"),
        (server_first(i="+4096"), "not a server-first"),
        (server_first(i="4096.0"), "not a server-first"),
        (server_first(i="4_096"), "not a server-first"),
        (server_first(i="٤٠٩٦"), "not a server-first"),
        (server_first(i=""), "not a server-first"),
        (f"s={SALT},r={SERVER_NONCE},i=4096".encode(), "not a server-first"),
        (f"r={SERVER_NONCE},i=4096,s={SALT}".encode(), "not a server-first"),
        (f"r={SERVER_NONCE},s={SALT}".encode(), "not a server-first"),
        (b"m=must," + SERVER_FIRST, "not a server-first"),
        (SERVER_FIRST + b",", "not a server-first"),
        (SERVER_FIRST + b"\n", "not a server-first"),
        (SERVER_FIRST + b",x=\0", "not a server-first"),
        (SERVER_FIRST + b",r=again", "uplicate"),
        (SERVER_FINAL, "not a server-first"),
    ],
)
def test_a_bad_server_first_message_is_refused(message: bytes, why: str) -> None:
    """FAULTS 82: before anything is computed from the password."""
    scram = started()
    with pytest.raises(ProtocolError, match=why):
        scram.answer(message)
    with pytest.raises(AuthenticationError):
        scram.succeeded()


def test_the_bounds_of_iterations_are_inside() -> None:
    for iterations in (FEWEST_ITERATIONS, MOST_ITERATIONS):
        assert started("SCRAM-SHA-1").answer(server_first(i=str(iterations))).startswith(b"c=biws,r=")


@pytest.mark.parametrize("message", [b"", b"hello", b"v=", b"v= ", b"\xff", b"x=1," + SERVER_FINAL, b"V=abcd"])
def test_a_bad_server_final_message_is_refused(message: bytes) -> None:
    """FAULTS 82."""
    scram = started()
    scram.answer(SERVER_FIRST)
    with pytest.raises(ProtocolError, match=r"server-final|UTF-8"):
        scram.answer(message)
    with pytest.raises(AuthenticationError):
        scram.succeeded()


@pytest.mark.parametrize(
    "message", [b"v=AAAA", b"v=====", SERVER_FINAL.replace(b"6rri", b"6rrj"), b"v=" + base64.b64encode(b"x" * 32)]
)
def test_a_wrong_signature_is_a_failed_authentication(message: bytes) -> None:
    """FAULTS 82: this server does not know the password."""
    scram = started()
    scram.answer(SERVER_FIRST)
    with pytest.raises(AuthenticationError, match="wrong signature") as caught:
        scram.answer(message)
    assert (caught.value.outcome, caught.value.retry) == (Outcome.AUTH, Retry.LATER)
    with pytest.raises(AuthenticationError):
        scram.succeeded()


@pytest.mark.parametrize("answered", [0, 1])
def test_success_without_a_signature_is_a_failed_authentication(answered: int) -> None:
    """FAULTS 82: anybody can say +OK."""
    scram = started()
    for message in [SERVER_FIRST][:answered]:
        scram.answer(message)
    with pytest.raises(AuthenticationError, match="without a signature") as caught:
        scram.succeeded()
    assert caught.value.reply.ok


@pytest.mark.parametrize("answered", [0, 1])
def test_a_servers_error_is_answered_with_nothing_and_kept(answered: int) -> None:
    """RFC 5802 §7, FAULTS 82: the server then says -ERR; +OK would be a lie."""
    scram = started()
    for message in [SERVER_FIRST][:answered]:
        scram.answer(message)
    assert scram.answer(b"e=invalid-proof,x=1") == b""
    assert scram.detail == "invalid-proof"
    with pytest.raises(AuthenticationError):
        scram.succeeded()
    with pytest.raises(ProtocolError, match="one challenge too many"):
        scram.answer(SERVER_FIRST)


def test_a_servers_error_is_escaped_and_short() -> None:
    scram = started()
    scram.answer(b"e=\x1b[31m" + b"x" * 60_000)
    assert scram.detail.startswith("\\x1b[31mxxx")
    assert len(scram.detail) <= 201


def test_one_challenge_more_than_legal_is_refused() -> None:
    """FAULTS 81; the success that was proven stays one."""
    scram = started()
    scram.answer(SERVER_FIRST)
    scram.answer(SERVER_FINAL)
    with pytest.raises(ProtocolError, match="one challenge too many"):
        scram.answer(SERVER_FINAL)


def test_a_replayed_exchange_does_not_pass() -> None:
    """Our nonce is new: yesterday's messages do not continue it."""
    scram = Scram("SCRAM-SHA-256", b"user", password=PENCIL)
    scram.initial()
    with pytest.raises(ProtocolError, match="does not continue ours"):
        scram.answer(SERVER_FIRST)


_MESSAGES = (
    st.binary(max_size=80)
    | st.sampled_from([SERVER_FIRST, SERVER_FINAL, b"e=other-error", b"v=AAAA"])
    | st.text("rsivem=,/+0123456789Aé\0", max_size=60).map(str.encode)
    | st.builds(
        server_first,
        r=st.text(max_size=10).map(lambda more: NONCE + more),
        s=st.text(max_size=30) | st.binary(max_size=30).map(lambda salt: base64.b64encode(salt).decode()),
        i=st.text(max_size=5) | st.integers(-1, 5000).map(str),
    )
)


@given(st.lists(_MESSAGES, max_size=4), st.booleans())
def test_any_challenges_are_answered_or_are_an_error_of_ours(messages: list[bytes], ok: bool) -> None:
    """FAULTS 81, 82: and without the true signature there is no success."""
    scram = started()
    verified = False
    said = ""
    try:
        for message in messages:
            assert isinstance(scram.answer(message), bytes)
            verified = message == SERVER_FINAL
        if ok:
            scram.succeeded()
            assert verified
    except (ProtocolError, AuthenticationError) as error:
        said = str(error)
    assert "pencil" not in said


# ── what SCRAM can carry ─────────────────────────────────────────────────────────────────────────────────────────────

EMOJI, FORBIDDEN_BIDI, CONTROL, DECOMPOSED = "k🔑y".encode(), "aא".encode(), b"a\tb", "pa\u0308ss".encode()


@pytest.mark.parametrize("password", [b"", EMOJI, FORBIDDEN_BIDI, CONTROL, b"\xff"])
def test_what_saslprep_forbids_is_refused_before_anything_is_sent(password: bytes) -> None:
    """RFC 4013 §2.3 to §2.5: unassigned in Unicode 3.2 (in stored strings), of two directions, a control character."""
    with pytest.raises(SecretError, match="SCRAM-SHA-1") as caught:
        Scram("SCRAM-SHA-1", b"user", password=Secret(password))
    if password:
        assert password.decode("utf-8", "replace") not in str(caught.value)
        assert repr(password) not in repr(caught.value.__cause__ or "") + repr(caught.value.__context__ or "")


@pytest.mark.parametrize("user", [b"", EMOJI, b"\xff"])
def test_a_user_whom_saslprep_forbids_is_refused(user: bytes) -> None:
    """RFC 5802 §5.1 would let the unassigned through; scramp does not."""
    with pytest.raises(SecretError, match="SCRAM-SHA-1"):
        Scram("SCRAM-SHA-1", user, password=PENCIL)


def test_plus_without_a_binding_is_refused() -> None:
    with pytest.raises(SecretError, match="SCRAM-SHA-1-PLUS"):
        Scram("SCRAM-SHA-1-PLUS", b"user", password=PENCIL)


@pytest.mark.parametrize(
    "password", [b"pencil", b" with blanks ", b"a=b,c", "pä=ss,wörd €".encode(), "אב".encode(), b"~" * 500]
)
def test_what_saslprep_leaves_alone_is_portable(password: bytes) -> None:
    assert is_portable(b"user", Secret(password))
    assert is_portable(password, PENCIL)


@pytest.mark.parametrize(
    "password",
    [
        b"",
        EMOJI,
        FORBIDDEN_BIDI,
        CONTROL,
        b"\xff",
        DECOMPOSED,
        "a\u00a0b".encode(),
        "\ufb01".encode(),
        "\u00ad".encode(),
    ],
)
def test_what_saslprep_changes_or_forbids_is_not_portable(password: bytes) -> None:
    """Dovecot compares octets: with SCRAM, DECOMPOSED is refused there, while PLAIN lets it in."""
    assert not is_portable(b"user", Secret(password))
    assert not is_portable(password, PENCIL)


def test_scramp_is_imported_when_it_is_needed() -> None:
    """It is most of what importing fetchd would cost."""
    program = (
        "import sys; from fetchd.model import Secret; from fetchd.pop3.scram import Scram, is_portable;"
        "assert is_portable(b'user', Secret(b'pencil')); print('scramp' in sys.modules);"
        "Scram('SCRAM-SHA-1', b'user', password=Secret(b'pencil')); print('scramp' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_no_representation_shows_the_password() -> None:
    assert "pencil" not in repr(started()) + str(started())
