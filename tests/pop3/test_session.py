"""Whole sessions against servers that are honest, broken or hostile."""

import contextlib
import io
import socket
from email.message import EmailMessage

import pytest

from fetchd.errors import (
    MessageRefusedError,
    NetworkError,
    POP3Error,
    ProtocolError,
    UsageError,
)
from fetchd.model import Capabilities, MessageInfo, Reply, Tls
from fetchd.pop3 import POP3Session
from fetchd.pop3.framing import encode_body
from fetchd.pop3.protocol import Limits, State
from tests.pop3.conftest import MakeServerContext
from tests.pop3.scripts import LOGIN, NO_PIPELINING, OK, PIPELINING, QUIT, logged_in
from tests.servers.scripted import Close, Expect, Goodbye, Reset, ScriptedServer, Send, Silence, StartTls, Step

# ── the maildrop ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_capabilities_of_a_server_without_capa() -> None:
    """FAULTS 45: none; and it is not asked again."""
    with ScriptedServer([*LOGIN, *NO_PIPELINING, *QUIT]) as server, logged_in(server) as session:
        assert session.capabilities() == Capabilities()
        assert session.capabilities() == Capabilities()


def test_unique_ids_are_asked_for_even_if_capa_does_not_list_them() -> None:
    """FACTS §5: AOL."""
    script = [*LOGIN, *PIPELINING, Expect(b"UIDL"), Send(b"+OK\r\n1 a\r\n3  b c \r\n.\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert "UIDL" not in session.capabilities()
        assert session.unique_ids() == {1: b"a", 3: b"b c "}


def test_server_without_unique_ids() -> None:
    """FAULTS 38: an error with the server's words, and the session goes on."""
    script = [*LOGIN, Expect(b"UIDL"), Send(b"-ERR unknown command\r\n"), Expect(b"LIST"), Send(b"+OK\r\n.\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        with pytest.raises(POP3Error, match="UIDL failed: -ERR unknown command"):
            session.unique_ids()
        assert session.list_messages() == []


def test_sizes_that_are_none_do_not_end_the_session() -> None:
    """FAULTS 29; FACTS §5: real servers list -1."""
    script = [*LOGIN, Expect(b"LIST"), Send(b"+OK 3 messages\r\n1 -1\r\n2\r\n4 7\r\n.\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert session.list_messages() == [MessageInfo(1, 0), MessageInfo(2, 0), MessageInfo(4, 7)]


@pytest.mark.parametrize(
    ("command", "reply", "why"),
    [
        ("stat", b"+OK seven 1\r\n", "in the reply to STAT: not two numbers"),
        ("stat", b"+OK 7\r\n", "in the reply to STAT"),
        ("list_messages", b"+OK\r\n1 5\r\n1 5\r\n.\r\n", "in the reply to LIST: message 1 is listed twice"),
        ("list_messages", b"+OK\r\n0 5\r\n.\r\n", "in the reply to LIST: no message number"),
        ("unique_ids", b"+OK\r\n1 \r\n.\r\n", "in the reply to UIDL: no unique-id"),
        ("unique_ids", b"+OK\r\n1 a\0\r\n.\r\n", "in the reply to UIDL: a line holds NUL"),
        ("unique_ids", b"+OK\r\n1 " + b"a" * 9000, "in the reply to UIDL: a line is longer"),
        ("unique_ids", b"+OK\r\n" + b"1 a\r\n" * 20, "in the reply to UIDL"),
        ("noop", b"+OK\r\n+OK\r\n", "no command asked for"),
    ],
)
def test_nonsense_breaks_the_session(command: str, reply: bytes, why: str) -> None:
    """FAULTS 9, 28, 30, 32, 34, 50: the line is dropped, and nothing is sent any more, not even QUIT."""
    script = [*LOGIN, Expect({"stat": b"STAT", "list_messages": b"LIST", "unique_ids": b"UIDL"}.get(command, b"NOOP"))]
    with ScriptedServer([*script, Send(reply)]) as server:
        session = logged_in(server, limits=Limits(list_lines=10))
        with pytest.raises(ProtocolError, match=why):  # noqa: PT012 - the doubled reply shows at the next command
            getattr(session, command)()
            session.quit()
        assert session.state is State.BROKEN
        with pytest.raises(NetworkError, match="the session is broken"):
            session.quit()


@pytest.mark.parametrize("ending", [Close(), Reset()])
def test_list_that_is_cut_off_is_an_error_and_a_new_session_works(ending: Step) -> None:
    """FAULTS 33: POCO loops for ever, Thunderbird deadlocked."""
    broken = [*LOGIN, Expect(b"UIDL"), Send(b"+OK\r\n1 a\r\n2 b"), ending]
    whole = [*LOGIN, Expect(b"UIDL"), Send(b"+OK\r\n1 a\r\n2 b\r\n.\r\n"), *QUIT]
    with ScriptedServer(broken, whole) as server:
        session = logged_in(server)
        with pytest.raises(NetworkError, match="the reply to UIDL is incomplete"):
            session.unique_ids()
        with logged_in(server) as session:
            assert session.unique_ids() == {1: b"a", 2: b"b"}


def test_what_the_server_says_unasked_is_an_error_at_the_next_command() -> None:
    """FAULTS 10: it is not taken for the next reply, nothing is sent, and it often says why."""
    ours, theirs = socket.socketpair()
    theirs.send(b"+OK\r\n")
    session = POP3Session.from_socket(ours)
    theirs.send(b"-ERR Disconnected for inactivity.\r\n")
    with theirs, pytest.raises(ProtocolError, match="Disconnected for inactivity"):
        session.capabilities()
    assert session.state is State.BROKEN


def test_server_that_left_is_an_error_at_the_next_command() -> None:
    """FAULTS 48: it is seen before anything is sent."""
    ours, theirs = socket.socketpair()
    theirs.send(b"+OK\r\n")
    session = POP3Session.from_socket(ours)
    theirs.close()
    with pytest.raises(NetworkError, match=r"the server closed the connection$"):
        session.capabilities()
    assert session.state is State.BROKEN


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_message_goes_to_a_file_or_a_function() -> None:
    """DESIGN §5; FAULTS 18, 90: octets as they came, an empty message, too."""
    body = b"a\0\rb\nc\xff.\r\n.\r\n\r\n"
    script: list[Step] = [*LOGIN]
    for message in (body, body, b""):
        script += [Expect(b"RETR 7"), Send(b"+OK\r\n" + encode_body(message))]
    out, pieces = io.BytesIO(), []
    with ScriptedServer([*script, *QUIT]) as server, logged_in(server) as session:
        assert session.retrieve(7, out) == len(body)
        assert session.retrieve(7, pieces.append) == len(body)
        assert session.retrieve(7, io.BytesIO()) == 0
    assert out.getvalue() == body
    assert b"".join(pieces) == body


def test_refused_message_leaves_the_session_in_step() -> None:
    """FAULTS 27, 54."""
    script = [
        *LOGIN,
        Expect(b"RETR 1"),
        Send(b"-ERR [SYS/TEMP] cannot open\r\n"),
        Expect(b"DELE 1"),
        Send(b"-ERR no\r\n"),
        Expect(b"TOP 1 0"),
        Send(b"-ERR no\r\n"),
        Expect(b"NOOP"),
        OK,
        *QUIT,
    ]
    out = io.BytesIO()
    with ScriptedServer(script) as server, logged_in(server) as session:
        with pytest.raises(MessageRefusedError, match=r"RETR 1 failed: -ERR \[SYS/TEMP\] cannot open") as caught:
            session.retrieve(1, out)
        with pytest.raises(MessageRefusedError, match="DELE 1"):
            session.delete_message(1)
        with pytest.raises(MessageRefusedError, match="TOP 1 0"):
            session.retrieve_header(1)
        session.noop()
    assert caught.value.reply == Reply(ok=False, text=b"cannot open", code="SYS/TEMP")
    assert out.getvalue() == b""


BEGINNING = b"+OK 100 octets\r\nSubject: x\r\n\r\nhalf a mess"


@pytest.mark.parametrize("wire", [BEGINNING, BEGINNING + b"\r\n.", BEGINNING + b"\r\n-ERR disk error\r\n", b"+OK", b""])
@pytest.mark.parametrize("ending", [Close(), Reset()])
def test_message_that_is_cut_off_is_none(wire: bytes, ending: Step) -> None:
    """FAULTS 22, 23, 26, 53: an error, and no command more."""
    with ScriptedServer([*LOGIN, Expect(b"RETR 1"), Send(wire), ending]) as server:
        session = logged_in(server)
        with pytest.raises(NetworkError, match="the reply to RETR 1 is incomplete"):
            session.retrieve(1, io.BytesIO())
        assert session.state is State.BROKEN
        with pytest.raises(NetworkError, match="broken"):
            session.retrieve(1, io.BytesIO())
        session.close()
    assert server.lines[-1] == b"RETR 1"


@pytest.mark.parametrize("ending", [Goodbye(), Close(), Reset()])
def test_message_that_is_cut_off_on_tls_is_none(ending: Step, server_context: MakeServerContext, implicit: Tls) -> None:
    """FAULTS 23, 24, 25: by a valid close_notify, without one, by RST."""
    script = [StartTls(server_context()), *LOGIN, Expect(b"RETR 1"), Send(BEGINNING), ending]
    with ScriptedServer(script) as server:
        session = logged_in(server, tls=implicit)
        with pytest.raises(NetworkError, match="the reply to RETR 1 is incomplete"):
            session.retrieve(1, io.BytesIO())
        assert session.state is State.BROKEN


def test_message_that_stalls_is_none() -> None:
    """FAULTS 62: the timeout says for what."""
    with ScriptedServer([*LOGIN, Expect(b"RETR 1"), Send(BEGINNING), Silence()]) as server:
        session = logged_in(server, timeout=0.05)
        with pytest.raises(NetworkError, match=r"took longer than 0\.05 s: the reply to RETR 1 is incomplete"):
            session.retrieve(1, io.BytesIO())
    assert server.lines[-1] == b"RETR 1"


def test_endless_message_is_cut_at_the_limit() -> None:
    """FAULTS 21: what is counted is what came, not what LIST claimed."""
    out = io.BytesIO()
    with ScriptedServer([*LOGIN, Expect(b"RETR 1"), Send(b"+OK\r\n" + b"x" * 10_000)]) as server:
        session = logged_in(server, limits=Limits(body=5000))
        with pytest.raises(ProtocolError, match="in the reply to RETR 1: the message is longer than 5000 octets"):
            session.retrieve(1, out)
    assert len(out.getvalue()) <= 5000


def test_sink_that_fails_breaks_the_session() -> None:
    """DESIGN §3: its error passes through; no further command, no QUIT."""

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with ScriptedServer([*LOGIN, Expect(b"RETR 1"), Send(BEGINNING)]) as server:
        session = logged_in(server)
        with pytest.raises(OSError, match="No space"), session:
            session.retrieve(1, full)
        assert session.state is State.BROKEN
        with pytest.raises(NetworkError, match="No space"):
            session.noop()
    assert server.lines[-1] == b"RETR 1"


@pytest.mark.parametrize("number", [0, -1])
def test_message_number_that_is_none(number: int) -> None:
    """Refused before anything is sent; the session goes on."""
    with ScriptedServer([*LOGIN, *QUIT]) as server, logged_in(server) as session:
        with pytest.raises(UsageError):
            session.retrieve(number, io.BytesIO())
        with pytest.raises(UsageError):
            session.delete_message(number)


def test_parts_are_handed_over_in_order() -> None:
    """POCO's PartHandler; what it raises leaves the session in step, for the message is read to its end."""
    message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n"
    retr = [Expect(b"RETR 1"), Send(b"+OK\r\n" + encode_body(message))]
    parts: list[str] = []

    def fail(_: EmailMessage) -> None:
        raise RuntimeError

    with ScriptedServer([*LOGIN, *retr, *retr, Expect(b"NOOP"), OK, *QUIT]) as server, logged_in(server) as session:
        whole = session.retrieve_message(1, on_part=lambda part: parts.append(part.get_content()))
        with pytest.raises(RuntimeError):
            session.retrieve_message(1, on_part=fail)
        session.noop()
    assert parts == ["one", "two"]
    assert whole.is_multipart()


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_noop_and_reset() -> None:
    """RFC 1939 §5."""
    with (
        ScriptedServer([*LOGIN, Expect(b"NOOP"), OK, Expect(b"RSET"), OK, *QUIT]) as server,
        logged_in(server) as session,
    ):
        session.noop()
        session.reset()


def test_command_by_hand_gives_the_reply_whatever_it_is() -> None:
    """POCO's sendCommand: it never raises on -ERR."""
    script = [*LOGIN, Expect(b"LANG de"), Send(b"-ERR [X/Y] no\r\n"), Expect(b"LIST 1"), Send(b"+OK 1 5\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert session.send_command("lang", "de") == Reply(ok=False, text=b"no", code="X/Y")
        assert session.send_command("LIST", 1) == Reply(ok=True, text=b"1 5")
        with pytest.raises(UsageError):
            session.send_command("RETR", 1)
        with pytest.raises(UsageError):
            session.send_command("NOOP", "x\r\nDELE 1")


def test_success_quits_and_failure_does_not() -> None:
    """DESIGN §3: an unwinding stack never commits a deletion (POCO's destructor does)."""
    deleting = [*LOGIN, Expect(b"DELE 1"), OK]
    with ScriptedServer([*deleting, *QUIT], deleting) as server:
        with logged_in(server) as session:
            session.delete_message(1)
        assert session.state is State.CLOSED
        with contextlib.suppress(KeyboardInterrupt), logged_in(server) as session:
            session.delete_message(1)
            raise KeyboardInterrupt
        assert session.state is State.BROKEN
    assert server.lines.count(b"QUIT") == 1


def test_closed_session_says_no_more() -> None:
    """close() drops the line; leaving the block then is quiet, quit() is not: nothing was deleted."""
    with ScriptedServer([*LOGIN]) as server:
        with logged_in(server) as session:
            session.close()
            session.close()
        with pytest.raises(NetworkError, match="it was closed"):
            session.quit()
        with pytest.raises(NetworkError, match="it was closed"):
            session.noop()


def test_quitting_twice_is_quitting_once() -> None:
    """Also at the end of the block."""
    with ScriptedServer([*LOGIN, *QUIT]) as server, logged_in(server) as session:
        session.quit()
        session.quit()


def test_refused_quit_is_an_error() -> None:
    """FAULTS 55: not everything was deleted; the line is closed all the same."""
    script = [*LOGIN, Expect(b"QUIT"), Send(b"-ERR some deleted messages not removed\r\n")]
    with ScriptedServer(script) as server:
        session = logged_in(server)
        with pytest.raises(POP3Error, match="QUIT failed: -ERR some deleted messages not removed"):
            session.quit()


@pytest.mark.parametrize("ending", [Close(), Reset(), Silence()])
def test_lost_answer_to_quit_is_a_network_error(ending: Step) -> None:
    """FAULTS 53, 56: what was deleted is not known."""
    with ScriptedServer([*LOGIN, Expect(b"QUIT"), ending]) as server:
        session = logged_in(server, timeout=0.05)
        with pytest.raises(NetworkError, match="the reply to QUIT is incomplete"):
            session.quit()


def test_broken_session_does_not_leave_a_block_quietly() -> None:
    """Who swallows an error must not believe that the deletions were confirmed."""
    with ScriptedServer([*LOGIN, Expect(b"RETR 1"), Close()]) as server:
        session = logged_in(server)
        with contextlib.suppress(NetworkError):
            session.retrieve(1, io.BytesIO())
        with pytest.raises(NetworkError, match="the session is broken"), session:
            pass


@pytest.mark.parametrize("steps", range(3))
@pytest.mark.parametrize("ending", [Close(), Reset()])
def test_server_that_leaves_during_the_login(steps: int, ending: Step) -> None:
    """FAULTS 53."""
    with ScriptedServer([*LOGIN[: 2 * steps], ending]) as server, pytest.raises(NetworkError):
        logged_in(server)
