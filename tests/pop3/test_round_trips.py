"""How few round trips a session takes, and what is never traded for one."""

import ssl
from collections.abc import Callable

import pytest

from fetchd.errors import AuthenticationError, MailboxBusyError, NetworkError, TlsError, UsageError
from fetchd.model import Tls, TlsMode
from fetchd.pop3 import POP3Session
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.protocol import State
from tests.pop3.scripts import GREETING, OK, QUIT, Distant, Mail
from tests.pop3.test_survey import ANSWERS, FOUND
from tests.pop3.test_ways import REFUSED, by_user, capa, cram, plain
from tests.servers.scripted import Close, Expect, ScriptedServer, Send, Silence, StartTls, Step

OFFER = capa(b"SASL PLAIN", b"PIPELINING")
IN: list[Step] = [GREETING, *OFFER, *plain(OK)]
AT_ONCE: list[Step] = [Expect(b"CAPA"), Expect(b"STAT"), Expect(b"UIDL"), Expect(b"LIST")]
NOW = b"+OK\r\nPIPELINING\r\nEXPIRE 0\r\n.\r\n"
SURVEYED: list[Step] = [*AT_ONCE, Send(NOW + ANSWERS)]


def step_by_step(capabilities: bytes) -> list[Step]:
    """What a server is asked that is not trusted to take two commands at once."""
    steps: list[Step] = [Expect(b"CAPA", alone=True), Send(capabilities)]
    for line, answer in zip((b"STAT", b"UIDL", b"LIST"), ANSWERS.split(b"+OK")[1:], strict=True):
        steps += [Expect(line, alone=True), Send(b"+OK" + answer)]
    return steps


def entered(server: ScriptedServer, memory: ServerMemory | None = None, *, timeout: float = 20.0) -> POP3Session:
    """Logs in by whatever is offered."""
    session = POP3Session.connect(server.host, server.port, memory=memory, timeout=timeout)
    try:
        session.login("user", "secret")
    except BaseException:
        session.close()
        raise
    return session


# ── CAPA and the listing ─────────────────────────────────────────────────────────────────────────────────────────────


def test_capabilities_and_listing_come_in_one_trip_where_pipelining_was_announced_before_the_login() -> None:
    """RFC 2449 §6.8: what PIPELINING says holds in both states; §5: all else is asked again."""
    memory = ServerMemory()
    with ScriptedServer([*IN, *SURVEYED, *QUIT]) as server, entered(server, memory) as session:
        assert session.survey() == FOUND
        assert session.capabilities().parameters("EXPIRE") == ("0",)
        assert "SASL" not in session.capabilities()
    assert memory.is_pipelining


@pytest.mark.parametrize("offer", [capa(b"SASL PLAIN"), capa(b"SASL PLAIN", b"X-PIPELINING")])
def test_nothing_is_sent_ahead_where_it_was_not_announced(offer: list[Step]) -> None:
    now = b"+OK\r\nSASL PLAIN\r\n.\r\n"
    script = [GREETING, *offer, *plain(OK), *step_by_step(now), *QUIT]
    with ScriptedServer(script) as server, entered(server) as session:
        assert session.survey() == FOUND


def test_nothing_is_sent_ahead_of_the_answer_to_a_login() -> None:
    """FAULTS 52; Courier loses what follows PASS."""
    script = [GREETING, *capa(b"USER", b"PIPELINING"), Expect(b"USER user", alone=True), OK]
    script += [Expect(b"PASS secret", alone=True), OK, *SURVEYED, *QUIT]
    with ScriptedServer(script) as server, entered(server) as session:
        assert session.survey() == FOUND


@pytest.mark.parametrize("now", [b"-ERR what?\r\n", b"+OK\r\nTOP\r\n.\r\n"], ids=["no CAPA", "not listed"])
def test_what_the_server_says_after_the_login_holds_from_then_on(now: bytes) -> None:
    """FAULTS 46."""
    retrieved: list[Step] = []
    for number in (1, 2):
        retrieved += [Expect(b"RETR %d" % number, alone=True), Send(b"+OK\r\n.\r\n")]
    with ScriptedServer([*IN, *AT_ONCE, Send(now + ANSWERS), *retrieved, *QUIT]) as server, entered(server) as session:
        assert session.survey() == FOUND
        assert len(list(session.retrieve_each([1, 2], Mail()))) == 2


@pytest.mark.parametrize("answered", [b"", NOW, NOW + b"+OK 2 300\r\n"], ids=["nothing", "CAPA", "STAT"])
@pytest.mark.parametrize("ending", [Silence(), Close()], ids=["silent", "gone"])
def test_a_server_that_loses_what_comes_early_is_asked_step_by_step_from_then_on(answered: bytes, ending: Step) -> None:
    """FAULTS 47: in the daemon, where the memory lasts."""
    memory = ServerMemory()
    lying = [*IN, *AT_ONCE, *([Send(answered)] if answered else []), ending]
    with ScriptedServer(lying, [GREETING, *plain(OK), *step_by_step(NOW), *QUIT]) as server:
        session = entered(server, memory, timeout=0.2)
        with pytest.raises(NetworkError, match="is incomplete"):
            session.survey()
        session.close()
        assert memory.is_lock_step
        with entered(server, memory) as session:
            assert session.survey() == FOUND


def test_what_a_plain_line_announced_is_forgotten_after_stls(
    server_context: Callable[[], ssl.SSLContext], starttls: Tls
) -> None:
    """FAULTS 46, RFC 2595 §4: anybody may have said it."""
    script = [GREETING, *capa(b"STLS", b"PIPELINING"), Expect(b"STLS"), OK, StartTls(server_context())]
    script += [*capa(b"SASL PLAIN"), *plain(OK), *step_by_step(b"-ERR what?\r\n"), *QUIT]
    with (
        ScriptedServer(script) as server,
        POP3Session.connect(server.host, server.port, tls=starttls) as session,
    ):
        session.login("user", "secret")
        assert session.survey() == FOUND


# ── CAPA before the login ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_server_offered_is_not_asked_a_second_time() -> None:
    memory = ServerMemory()
    with ScriptedServer([*IN, *SURVEYED, *QUIT], [GREETING, *plain(OK), *SURVEYED, *QUIT]) as server:
        for _ in range(2):
            with entered(server, memory) as session:
                assert session.survey() == FOUND
                assert session.mechanism == "PLAIN"


def test_a_server_without_capa_is_not_asked_a_second_time_before_the_login() -> None:
    memory = ServerMemory()
    first = [GREETING, Expect(b"CAPA"), Send(b"-ERR\r\n"), *by_user(OK), *QUIT]
    with ScriptedServer(first, [GREETING, *by_user(OK), *step_by_step(b"-ERR\r\n"), *QUIT]) as server:
        entered(server, memory).quit()
        with entered(server, memory) as session:
            assert session.survey() == FOUND


def test_a_refusal_is_believed_where_the_offer_is_the_same() -> None:
    """One failed login, not two: three of them lock many an account."""
    memory = ServerMemory()
    with ScriptedServer([*IN, *QUIT], [GREETING, *plain(REFUSED), *OFFER], [*IN, *QUIT]) as server:
        entered(server, memory).quit()
        with pytest.raises(AuthenticationError, match="login by PLAIN was refused"):
            entered(server, memory)
        entered(server, memory).quit()  # from here on it is asked again


@pytest.mark.parametrize("refusal", [REFUSED, Send(b"-ERR unknown command\r\n")])
def test_another_offer_than_before_is_taken_up_in_the_same_session(refusal: Step) -> None:
    memory = ServerMemory()
    changed = [GREETING, *plain(refusal), *capa(b"SASL CRAM-MD5"), *cram(OK), *QUIT]
    with ScriptedServer([*IN, *QUIT], changed, [GREETING, *cram(OK), *QUIT]) as server:
        for way in ("PLAIN", "CRAM-MD5", "CRAM-MD5"):
            with entered(server, memory) as session:
                assert session.mechanism == way


def test_a_server_that_hangs_up_on_a_refused_login_has_refused_it() -> None:
    memory = ServerMemory()
    with ScriptedServer([*IN, *QUIT], [GREETING, *plain(REFUSED), Close()], [*IN, *QUIT]) as server:
        entered(server, memory).quit()
        with pytest.raises(AuthenticationError, match="Bad login"):
            entered(server, memory)
        entered(server, memory).quit()
    assert not memory.has_no_capa


def test_a_maildrop_in_use_says_nothing_against_the_way_in() -> None:
    memory = ServerMemory()
    busy = [GREETING, *plain(Send(b"-ERR [IN-USE] somebody reads it\r\n"))]
    with ScriptedServer([*IN, *QUIT], busy) as server:
        entered(server, memory).quit()
        with pytest.raises(MailboxBusyError):
            entered(server, memory)


def test_a_line_that_breaks_in_the_login_makes_the_next_session_ask() -> None:
    memory = ServerMemory()
    offer = capa(b"SASL PLAIN CRAM-MD5")
    breaks = [GREETING, *cram(Close())]
    with ScriptedServer([GREETING, *offer, *cram(OK), *QUIT], breaks, [GREETING, *offer, *plain(OK), *QUIT]) as server:
        entered(server, memory).quit()
        with pytest.raises(NetworkError):
            entered(server, memory)
        entered(server, memory).quit()


def test_an_offer_of_another_line_is_none(server_context: Callable[[], ssl.SSLContext], implicit: Tls) -> None:
    """RFC 2595 §4: what was said on a plain line, anybody may have said; and what TLS permits, a plain line may not."""
    memory = ServerMemory()
    secure: list[Step] = [StartTls(server_context())]
    with ScriptedServer([*IN, *QUIT], [*secure, *IN, *QUIT], [*IN, *QUIT]) as server:
        for tls in (Tls(mode=TlsMode.NONE), implicit, Tls(mode=TlsMode.NONE)):
            with POP3Session.connect(server.host, server.port, tls=tls, memory=memory) as session:
                session.login("user", "secret")


def test_a_remembered_offer_sends_no_secret_over_a_line_that_others_hear() -> None:
    """FAULTS 68, 79: CRAM-MD5 was offered, and now somebody offers PLAIN alone."""
    memory = ServerMemory()

    def session_with(server: ScriptedServer) -> POP3Session:
        transport = Distant.connect(server.host, server.port)
        return POP3Session.over(transport, tls=Tls(mode=TlsMode.NONE), memory=memory)

    first = [GREETING, *capa(b"SASL CRAM-MD5 PLAIN"), *cram(OK), *QUIT]
    second = [GREETING, Expect(b"AUTH CRAM-MD5"), Send(b"-ERR unknown\r\n"), *capa(b"SASL PLAIN", b"USER")]
    with ScriptedServer(first, second) as server:
        with session_with(server) as session:
            session.login("user", "secret")
        session = session_with(server)
        with pytest.raises(TlsError, match="not encrypted"):
            session.login("user", "secret")
        session.close()
    assert b"PLAIN" not in server.received
    assert b"PASS" not in server.received


# ── QUIT ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_leaves_says_quit_and_waits_for_nothing() -> None:
    with ScriptedServer([*IN, *QUIT[:1]]) as server, entered(server) as session:
        session.leave()
        assert session.state is State.BROKEN


def test_over_tls_who_leaves_says_so(server_context: Callable[[], ssl.SSLContext], implicit: Tls) -> None:
    """RFC 8446 §6.1: close_notify follows QUIT."""
    script = [StartTls(server_context(), strict=True), *IN, Expect(b"QUIT")]
    with ScriptedServer(script) as server, POP3Session.connect(server.host, server.port, tls=implicit) as session:
        session.login("user", "secret")
        session.leave()


def test_nothing_is_said_on_leaving_a_server_that_says_what_nobody_asked_for() -> None:
    """FAULTS 50: too late to be an error, for nothing hangs on it any more."""
    with ScriptedServer([*IN, *AT_ONCE, Send(NOW + ANSWERS + b"-ERR idle\r\n"), Silence()]) as server:
        session = entered(server)
        session.survey()
        session.leave()
    assert b"QUIT" not in server.received


def test_nothing_is_said_on_leaving_a_broken_session() -> None:
    with ScriptedServer([*IN, Expect(b"NOOP"), Send(b"what?\r\n")]) as server:
        session = entered(server)
        with pytest.raises(Exception, match="reply to NOOP"):
            session.noop()
        session.leave()


def test_nobody_leaves_while_messages_come_in() -> None:
    with ScriptedServer(
        [*IN, *SURVEYED, Expect(b"RETR 1"), Expect(b"RETR 2"), Send(b"+OK\r\n.\r\n"), Silence()]
    ) as server:
        session = entered(server)
        session.survey()
        coming = session.retrieve_each([1, 2], Mail())
        next(coming)
        with pytest.raises(UsageError, match="still under way"):
            session.leave()
        coming.close()
