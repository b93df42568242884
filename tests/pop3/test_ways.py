"""The ways to log in, as a session goes them: AUTH and its challenges, what follows a refusal, what is remembered."""

import base64
import hashlib
import hmac
import ssl
from contextlib import nullcontext, suppress

import pytest

from fetchd.errors import AuthenticationError, FetchdError, NetworkError, ProtocolError, Retry, TlsError, UsageError
from fetchd.model import TlsMode
from fetchd.pop3 import POP3Session
from fetchd.pop3.commands import CAPA, auth
from fetchd.pop3.events import NEED_DATA, Challenge, StatusReply
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.protocol import Limits, Pop3Protocol, State
from tests.pop3.scripts import GREETING, OK, QUIT, over_the_hills
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority
from tests.servers.scripted import Close, Expect, ScriptedServer, Send, Silence, StartTls, Step

TIMESTAMP = Send(b"+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n")
REFUSED = Send(b"-ERR [AUTH] Bad login\r\n")


def capa(*lines: bytes) -> list[Step]:
    return [Expect(b"CAPA"), Send(b"".join(b"%b\r\n" % line for line in (b"+OK", *lines, b".")))]


def session_with(server: ScriptedServer, memory: ServerMemory | None = None) -> POP3Session:
    return POP3Session.connect(server.host, server.port, memory=memory)


def plus(octets: bytes) -> Send:
    return Send(b"+ " + base64.b64encode(octets) + b"\r\n")


def cram_answer() -> bytes:
    return base64.b64encode(b"user " + hmac.new(b"secret", b"<1896@host>", "md5").hexdigest().encode())


def cram(reply: Step) -> list[Step]:
    return [Expect(b"AUTH CRAM-MD5"), plus(b"<1896@host>"), Expect(cram_answer()), reply]


def plain(reply: Step) -> list[Step]:
    return [Expect(b"AUTH PLAIN " + base64.b64encode(b"\0user\0secret")), reply]


def by_user(reply: Step) -> list[Step]:
    return [Expect(b"USER user"), OK, Expect(b"PASS secret"), reply]


def test_the_strongest_way_that_is_offered_is_taken() -> None:
    """RFC 5034; issue 2 item 3."""
    script = [GREETING, *capa(b"SASL PLAIN CRAM-MD5", b"USER"), *cram(OK), *QUIT]
    with ScriptedServer(script) as server, session_with(server) as session:
        session.login("user", "secret")
        assert session.mechanism == "CRAM-MD5"
        assert session.state is State.TRANSACTION


def test_a_server_without_capa_gets_user_and_pass() -> None:
    """popa3d."""
    script = [GREETING, Expect(b"CAPA"), Send(b"-ERR\r\n"), *by_user(OK), *QUIT]
    with ScriptedServer(script) as server, session_with(server) as session:
        session.login("user", "secret")
        assert session.mechanism == "USER"


def test_a_way_that_was_refused_is_followed_by_the_password_itself_and_what_worked_comes_first_next_time() -> None:
    """GNU mailutils offers APOP to everybody and refuses it with [AUTH]; no failed login a poll comes of that."""
    memory = ServerMemory()
    apop = Expect(b"APOP user " + _digest(b"<1896.697170952@dbc.mtview.ca.us>secret"))
    first = [TIMESTAMP, *capa(b"USER"), apop, REFUSED, *by_user(OK), *QUIT]
    second = [TIMESTAMP, *by_user(OK), *QUIT]
    with ScriptedServer(first, second) as server:
        for _ in range(2):
            with session_with(server, memory) as session:
                session.login("user", "secret")
    assert memory.way == "USER"


def test_two_refusals_are_a_wrong_password() -> None:
    script = [GREETING, *capa(b"SASL CRAM-MD5 PLAIN LOGIN", b"USER"), *cram(REFUSED), *plain(REFUSED)]
    with ScriptedServer(script) as server:
        session = session_with(server)
        with pytest.raises(AuthenticationError, match=r"login by PLAIN was refused.*Bad login") as caught:
            session.login("user", "secret")
        session.close()
    assert caught.value.retry is Retry.HOLD


def test_over_a_line_that_others_hear_a_refusal_is_not_followed_by_the_password() -> None:
    """FAULTS 79."""
    script = [GREETING, *capa(b"SASL CRAM-MD5 PLAIN", b"USER"), *cram(REFUSED)]
    with ScriptedServer(script) as server:
        session = over_the_hills(server)
        with pytest.raises(AuthenticationError):
            session.login("user", "secret")
        session.close()
    assert b"PASS" not in server.received
    assert b"PLAIN" not in server.received


def test_over_a_line_that_others_hear_nothing_is_sent_where_only_clear_text_is_offered() -> None:
    """FAULTS 68, 79: zero credential octets."""
    with ScriptedServer([GREETING, *capa(b"SASL PLAIN LOGIN", b"USER")]) as server:
        session = over_the_hills(server)
        with pytest.raises(TlsError, match="not encrypted"):
            session.login("user", "secret")
        session.close()
    assert server.lines == [b"CAPA"]


def test_a_server_that_goes_away_in_the_middle_is_asked_otherwise_next_time() -> None:
    """FAULTS 85: CRAM fails by disconnect."""
    memory = ServerMemory()
    offer = capa(b"SASL CRAM-MD5 PLAIN")
    first = [GREETING, *offer, *cram(Close())]
    second = [GREETING, *offer, *plain(OK), *QUIT]
    with ScriptedServer(first, second) as server:
        session = session_with(server, memory)
        with pytest.raises(NetworkError):
            session.login("user", "secret")
        session.close()
        with session_with(server, memory) as session:
            session.login("user", "secret")
            assert session.mechanism == "PLAIN"


def test_a_token_waits_until_it_is_asked_for() -> None:
    """Microsoft takes XOAUTH2 in two steps only (FACTS §3, 13)."""
    token = base64.b64encode(b"user=user\x01auth=Bearer ya29\x01\x01")
    script = [GREETING, *capa(b"SASL XOAUTH2"), Expect(b"AUTH XOAUTH2"), Send(b"+\r\n"), Expect(token), OK, *QUIT]
    with ScriptedServer(script) as server, session_with(server) as session:
        session.login("user", "ya29", mechanism="XOAUTH2")


def test_a_token_goes_with_auth_where_the_server_will_not_ask() -> None:
    """The one-line form is the fallback."""
    token = base64.b64encode(b"user=user\x01auth=Bearer ya29\x01\x01")
    script = [
        GREETING,
        *capa(b"SASL XOAUTH2"),
        Expect(b"AUTH XOAUTH2"),
        Send(b"-ERR malformed\r\n"),
        Expect(b"AUTH XOAUTH2 " + token),
        OK,
        *QUIT,
    ]
    with ScriptedServer(script) as server, session_with(server) as session:
        session.login("user", "ya29", mechanism="XOAUTH2")


def test_a_refused_token_says_what_the_server_said_of_it() -> None:
    """FAULTS 83: the failure continuation is answered, then the -ERR is read."""
    script = [
        GREETING,
        *capa(b"SASL XOAUTH2"),
        Expect(b"AUTH XOAUTH2"),
        Send(b"+\r\n"),
        Expect(base64.b64encode(b"user=user\x01auth=Bearer ya29\x01\x01")),
        plus(b'{"status":"401","schemes":"bearer"}'),
        Expect(b""),
        REFUSED,
    ]
    with ScriptedServer(script) as server:
        session = session_with(server)
        with pytest.raises(AuthenticationError, match="401"):
            session.login("user", "ya29", mechanism="XOAUTH2")
        session.close()


@pytest.mark.parametrize("challenge", [b"+ not base64!\r\n", b"+ =\r\n", b"+ YQ=\r\n"])
def test_a_challenge_that_is_no_base64_is_cancelled(challenge: bytes) -> None:
    """FAULTS 81, RFC 5034 §4: ``*``, and nothing after it."""
    script = [GREETING, *capa(b"SASL CRAM-MD5"), Expect(b"AUTH CRAM-MD5"), Send(challenge), Expect(b"*")]
    with ScriptedServer(script) as server:
        session = session_with(server)
        with pytest.raises(ProtocolError):
            session.login("user", "secret")
        with pytest.raises(NetworkError):
            session.noop()
        session.close()


def test_a_challenge_without_end_ends_the_session() -> None:
    """FAULTS 81."""
    script = [GREETING, *capa(b"SASL CRAM-MD5"), Expect(b"AUTH CRAM-MD5"), Send(b"+ " + b"A" * 70000), Silence()]
    with ScriptedServer(script) as server:
        session = session_with(server)
        with pytest.raises(ProtocolError, match="longer than 65536 octets"):
            session.login("user", "secret")
        session.close()


def test_a_server_that_cannot_prove_who_it_is_gets_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 82: success without a valid server signature is a failed login, and nothing else is tried."""
    monkeypatch.setattr("fetchd.pop3.scram.secrets.token_urlsafe", lambda _octets: "rOprNGfwEbeRWgbNEkqO")
    first = base64.b64encode(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    script = [GREETING, *capa(b"SASL SCRAM-SHA-256 PLAIN", b"USER"), Expect(b"AUTH SCRAM-SHA-256 " + first), OK]
    with ScriptedServer(script) as server:
        session = session_with(server)
        with pytest.raises(AuthenticationError, match="signature"):
            session.login("user", "secret")
        assert session.state is State.BROKEN
        session.close()


@pytest.mark.parametrize(
    "line", [b"-ERR wrong password secret-s3cret\r\n", b"PASS secret-s3cret\r\n", b"secret-s3cret\r\n"], ids=repr
)
def test_a_server_that_repeats_the_password_does_not_get_it_into_an_error(line: bytes) -> None:
    script = [GREETING, Expect(b"USER user"), OK, Expect(b"PASS secret-s3cret"), Send(line)]
    with ScriptedServer(script) as server:
        session = session_with(server)
        with pytest.raises(FetchdError) as caught:
            session.login("user", "secret-s3cret", mechanism="USER")
        session.close()
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_timestamp_from_before_tls_is_not_used_after_it(authority: TestAuthority) -> None:
    """Anybody may have put it there; RFC 2595 §4."""
    certificate = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    script = [
        TIMESTAMP,
        *capa(b"STLS", b"USER"),
        Expect(b"STLS"),
        OK,
        StartTls(context),
        *capa(b"USER"),
        *by_user(OK),
        *QUIT,
    ]
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    with (
        ScriptedServer(script) as server,
        POP3Session.connect("localhost", server.port, tls=TlsMode.STARTTLS, context=trust) as session,
    ):
        session.login("user", "secret")


@pytest.mark.parametrize("ending", [Close(), Silence()], ids=["hangs up", "falls silent"])
def test_a_server_that_cannot_bear_capa_is_not_asked_a_third_time(ending: Step) -> None:
    """FACTS §5: "CAPA hangs or is refused, wants reconnect"; a line that breaks once proves nothing."""
    memory = ServerMemory()
    asked = [GREETING, Expect(b"CAPA"), ending]
    with ScriptedServer(asked, asked, [GREETING, *by_user(OK), *QUIT]) as server:
        for _ in range(2):
            session = POP3Session.connect(server.host, server.port, timeout=0.2, memory=memory)
            with pytest.raises(NetworkError):
                session.login("user", "secret")
            session.close()
        with session_with(server, memory) as session:
            session.login("user", "secret")


def test_a_line_that_breaks_at_capa_where_it_worked_before_is_just_broken() -> None:
    memory = ServerMemory()
    offer = capa(b"SASL PLAIN")
    works = [GREETING, *offer, *plain(OK), *QUIT]
    breaks: list[Step] = [GREETING, Expect(b"CAPA"), Close()]
    with ScriptedServer(works, breaks, breaks, works) as server:
        for script in (works, breaks, breaks, works):
            session = session_with(server, memory)
            with suppress(NetworkError) if script is breaks else nullcontext():
                if script is breaks:
                    session.capabilities()
                session.login("user", "secret")
                session.quit()
            memory.before_login = None
            session.close()
    assert memory.way == "PLAIN"


@pytest.mark.parametrize("answer", [OK, Send(b"-ERR not for you\r\n")])
def test_a_server_that_has_utf8_is_told_to_use_it(answer: Step) -> None:
    """RFC 6856: else it wraps messages that have raw UTF-8 headers. Refused, everything is as it was."""
    script = [GREETING, *capa(b"UTF8 USER", b"USER"), Expect(b"UTF8"), answer, *by_user(OK), *QUIT]
    with ScriptedServer(script) as server, session_with(server) as session:
        session.login("user", "secret")


# ── the protocol's part ──────────────────────────────────────────────────────────────────────────────────────────


def greeted(**limits: int) -> Pop3Protocol:
    protocol = Pop3Protocol(limits=Limits(**limits))
    protocol.receive_data(b"+OK\r\n")
    protocol.next_event()
    return protocol


@pytest.mark.parametrize("line", [b"+ Y2hh\r\n", b"+\r\n", b"+ \r\n"])
def test_a_challenge_is_an_event_and_its_answer_a_line(line: bytes) -> None:
    protocol = greeted()
    assert protocol.send(auth(b"CRAM-MD5")) == b"AUTH CRAM-MD5\r\n"
    for octet in line:
        assert protocol.next_event() is NEED_DATA
        protocol.receive_data(bytes([octet]))
    event = protocol.next_event()
    assert event == Challenge(auth(b"CRAM-MD5"), line[1:-2])
    assert protocol.answer(b"YW5z") == b"YW5z\r\n"
    protocol.receive_data(b"+OK\r\n")
    reply = protocol.next_event()
    assert isinstance(reply, StatusReply)
    assert protocol.state is State.TRANSACTION


def test_an_answer_that_nobody_asked_for_is_not_sent() -> None:
    protocol = greeted()
    with pytest.raises(UsageError):
        protocol.answer(b"YW5z")
    protocol.send(auth(b"PLAIN"))
    with pytest.raises(UsageError):
        protocol.answer(b"YW5z")
    protocol.receive_data(b"+ \r\n")
    protocol.next_event()
    with pytest.raises(UsageError):
        protocol.answer(b"a\r\nDELE 1")


def test_a_second_challenge_before_the_answer_is_one_too_many() -> None:
    """FAULTS 10, 50."""
    protocol = greeted()
    protocol.send(auth(b"PLAIN"))
    protocol.receive_data(b"+ \r\n+ \r\n")
    assert isinstance(protocol.next_event(), Challenge)
    with pytest.raises(ProtocolError):
        protocol.next_event()


def test_endless_challenges_end() -> None:
    """FAULTS 81: more steps than legal."""
    protocol = greeted(challenges=3)
    protocol.send(auth(b"PLAIN"))
    for _ in range(3):
        protocol.receive_data(b"+ \r\n")
        assert isinstance(protocol.next_event(), Challenge)
        protocol.answer(b"")
    protocol.receive_data(b"+ \r\n")
    with pytest.raises(ProtocolError, match="more than 3 challenges"):
        protocol.next_event()


def test_a_plus_is_no_challenge_outside_of_auth() -> None:
    protocol = greeted()
    protocol.send(auth(b"PLAIN"))
    protocol.receive_data(b"-ERR\r\n")
    protocol.next_event()
    assert protocol.state is State.AUTHORIZATION
    protocol.send(CAPA)
    protocol.receive_data(b"+ \r\n")
    with pytest.raises(ProtocolError):
        protocol.next_event()


# ── a real server ────────────────────────────────────────────────────────────────────────────────────────────────

WAYS = ["USER", "PLAIN", "LOGIN", "CRAM-MD5", "APOP", "SCRAM-SHA-1", "SCRAM-SHA-256"]


@pytest.mark.parametrize(
    ("way", "tls"),
    # A timestamp from before TLS is not used after it.
    [(way, tls) for way in WAYS for tls in TlsMode if (way, tls) != ("APOP", TlsMode.STARTTLS)],
)
def test_dovecot_lets_the_right_one_in_and_the_wrong_one_out(
    dovecot: Dovecot, mailbox, authority: TestAuthority, way: str, tls: TlsMode
) -> None:
    box = mailbox(b"Subject: x\n\n")
    port = dovecot.tls_port if tls is TlsMode.IMPLICIT else dovecot.port
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    with POP3Session.connect("localhost", port, tls=tls, context=trust) as session:
        with pytest.raises(AuthenticationError) as caught:
            session.login(box.user, "wrong", mechanism=way)
        assert caught.value.retry is Retry.HOLD
        session.login(box.user, box.password, mechanism=way)
        assert session.mechanism == way
        assert session.message_count() == 1


def test_dovecot_is_logged_in_to_by_the_strongest_way(dovecot: Dovecot, mailbox) -> None:
    box = mailbox()
    with POP3Session.connect(dovecot.host, dovecot.port) as session:
        session.login(box.user, box.password)
        assert session.mechanism == "SCRAM-SHA-256"


def _digest(text: bytes) -> bytes:
    return hashlib.md5(text, usedforsecurity=False).hexdigest().encode()
