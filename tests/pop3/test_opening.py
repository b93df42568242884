"""How a session begins: the greeting, and TLS before anything else."""

import io
import socket
import ssl

import pytest

from fetchd.errors import (
    LoginDelayError,
    MailboxBusyError,
    NetworkError,
    POP3Error,
    ProtocolError,
    Retry,
    TlsError,
)
from fetchd.model import Tls, TlsMode
from fetchd.pop3 import POP3Session
from fetchd.pop3.framing import encode_body
from fetchd.pop3.protocol import State
from fetchd.pop3.transport import SocketTransport
from fetchd.ports import Maildrop
from tests.pop3.conftest import MakeServerContext
from tests.pop3.scripts import GREETING, LOGIN, NO_PIPELINING, OK, PIPELINING, QUIT, Distant, Mail, logged_in
from tests.servers.scripted import Close, Expect, Reset, ScriptedServer, Send, Silence, StartTls, Step

# ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_session_is_a_maildrop() -> None:
    """What the use case knows of it."""
    with ScriptedServer([*LOGIN, *QUIT]) as server, logged_in(server) as session:
        maildrop: Maildrop = session
        assert maildrop.tls_version == ""


def test_whole_session_an_octet_a_segment() -> None:
    """FAULTS 11."""
    wire = Send(b"+OK\r\n" + encode_body(b".\r\n\r\n..x\r\n"), segment=1)
    script = [*LOGIN, *PIPELINING, Expect(b"RETR 1"), Expect(b"RETR 2"), wire, wire, *QUIT]
    mail = Mail()
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert [retrieved.octets for retrieved in session.retrieve_each([1, 2], mail)] == [10, 10]
    assert mail.messages() == {1: b".\r\n\r\n..x\r\n", 2: b".\r\n\r\n..x\r\n"}


def test_session_of_bare_lf() -> None:
    """FAULTS 7: the greeting says so; we send CRLF all the same."""
    script = [
        Send(b"+OK hi\n"),
        Expect(b"USER user"),
        Send(b"+OK\n"),
        Expect(b"PASS secret"),
        Send(b"+OK\n"),
        Expect(b"UIDL"),
        Send(b"+OK\n1 a\n.\n"),
        Expect(b"RETR 1"),
        Send(b"+OK\na\r\n..b\n.\n"),
        Expect(b"QUIT"),
        Send(b"+OK\n"),
    ]
    out = io.BytesIO()
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert session.unique_ids() == {1: b"a"}
        session.retrieve(1, out)
    assert out.getvalue() == b"a\r\n.b\n"


@pytest.mark.parametrize(
    ("greeting", "kind", "retry"),
    [
        (b"-ERR [SYS/TEMP] later\r\n", POP3Error, Retry.SOON),
        (b"-ERR [sys/perm] never\r\n", POP3Error, Retry.LATER),
        (b"-ERR [IN-USE] x\r\n", MailboxBusyError, Retry.SOON),
        (b"-ERR too many connections\r\n", LoginDelayError, Retry.LATER),
        (b"-ERR\r\n", POP3Error, Retry.SOON),
    ],
)
def test_server_that_does_not_serve_us(greeting: bytes, kind: type[POP3Error], retry: Retry) -> None:
    """FAULTS 4: nothing is sent, not even QUIT."""
    with ScriptedServer([Send(greeting)]) as server, pytest.raises(POP3Error) as caught:
        POP3Session.connect(server.host, server.port)
    assert (type(caught.value), caught.value.retry) == (kind, retry)
    assert server.received == b""


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (b"* OK IMAP4rev1\r\n", "IMAP"),
        (b"220 mx ESMTP\r\n", "SMTP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "web server"),
        (b"SSH-2.0-OpenSSH\r\n", "SSH"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "TLS"),
        (b"+NOPE\r\n", "not a POP3 reply"),
        (b"+OK " + b"A" * 9000, "longer than 8192 octets"),
        (b"+OK one\r\n+OK two\r\n", "no command asked for"),
    ],
)
def test_server_that_is_none(greeting: bytes, why: str) -> None:
    """FAULTS 3, 5, 6, 10: the error says what it looks like; no credential goes there."""
    with ScriptedServer([Send(greeting)]) as server, pytest.raises(ProtocolError, match=why) as caught:
        POP3Session.connect(server.host, server.port).login("user", "secret", mechanism="USER")
    assert str(caught.value).startswith(f"127.0.0.1:{server.port}: ")
    assert server.received == b""


def test_server_that_does_not_greet() -> None:
    """FAULTS 1."""
    with ScriptedServer([Silence()]) as server, pytest.raises(NetworkError, match="the greeting is incomplete"):
        POP3Session.connect(server.host, server.port, timeout=0.05)


def test_plain_line_to_the_port_of_tls_gets_a_hint() -> None:
    """FAULTS 78: such a server waits for us to begin."""
    ours, theirs = socket.socketpair()
    transport = SocketTransport(ours, peer="pop.x:995", timeout=0.02)
    with theirs, pytest.raises(NetworkError, match="port 995 speaks TLS: use tls: implicit"):
        POP3Session.over(transport, tls=Tls(mode=TlsMode.NONE))


def test_session_over_a_socket() -> None:
    """POCO's second constructor: any connected socket; the greeting is read."""
    with ScriptedServer([*LOGIN, *QUIT]) as server:
        with POP3Session.from_socket(socket.create_connection((server.host, server.port))) as session:
            assert session.state is State.AUTHORIZATION
            session.login("user", "secret", mechanism="USER")
            assert session.state is State.TRANSACTION
        assert session.state is State.CLOSED


def test_session_over_a_tls_socket(server_context: MakeServerContext, implicit: Tls) -> None:
    """Made elsewhere, and a truncated body is incomplete there too (FAULTS 25)."""
    script = [StartTls(server_context()), *LOGIN, Expect(b"RETR 1"), Send(b"+OK\r\nhalf\r\n"), Close()]
    with ScriptedServer(script) as server:
        context = ssl.create_default_context(cafile=implicit.ca_file)
        raw = socket.create_connection((server.host, server.port))
        sock = context.wrap_socket(raw, server_hostname=implicit.server_name)
        session = POP3Session.from_socket(sock)
        assert session.tls_version == "TLSv1.3"
        session.login("user", "secret", mechanism="USER")
        with pytest.raises(NetworkError, match="RETR 1 is incomplete"):
            session.retrieve(1, io.BytesIO())


def test_timeout_can_be_read_and_set() -> None:
    """POCO's getTimeout and setTimeout."""
    with ScriptedServer([GREETING, Expect(b"USER user"), Silence()]) as server:
        session = POP3Session.connect(server.host, server.port, timeout=30.0)
        assert session.timeout == 30.0
        session.timeout = 0.02
        with pytest.raises(NetworkError, match="the reply to USER user is incomplete"):
            session.login("user", "secret", mechanism="USER")


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_implicit_tls(server_context: MakeServerContext, implicit: Tls) -> None:
    """RFC 8314 §3.2; a distant line that is encrypted takes a password."""
    with ScriptedServer([StartTls(server_context()), *LOGIN, *QUIT]) as server:
        transport = Distant.connect(server.host, server.port)
        with POP3Session.over(transport, tls=implicit) as session:
            session.login("user", "secret", mechanism="USER")
            assert session.tls_version == "TLSv1.3"


def test_stls(server_context: MakeServerContext, starttls: Tls) -> None:
    """RFC 2595 §4; FAULTS 46: capabilities are forgotten after STLS, and after the login."""
    script = [
        GREETING,
        Expect(b"CAPA"),
        Send(b"+OK\r\nSTLS\r\nTOP\r\n.\r\n"),
        Expect(b"STLS"),
        OK,
        StartTls(server_context()),
        Expect(b"CAPA"),
        Send(b"+OK\r\nUSER\r\n.\r\n"),
        Expect(b"USER user"),
        OK,
        Expect(b"PASS secret"),
        OK,
        Expect(b"CAPA"),
        Send(b"+OK\r\nPIPELINING\r\n.\r\n"),
        *QUIT,
    ]
    with (
        ScriptedServer(script) as server,
        POP3Session.connect(server.host, server.port, tls=starttls) as session,
    ):
        assert session.tls_version == "TLSv1.3"
        assert set(session.capabilities().items) == {"USER"}
        assert set(session.capabilities().items) == {"USER"}  # asked for once
        session.login("user", "secret", mechanism="USER")
        assert set(session.capabilities().items) == {"PIPELINING"}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([Expect(b"CAPA"), Send(b"+OK\r\nTOP\r\n.\r\n")], "does not offer STLS"),
        ([Expect(b"CAPA"), Send(b"-ERR what?\r\n")], "does not offer STLS"),
        (
            [Expect(b"CAPA"), Send(b"+OK\r\nSTLS\r\n.\r\n"), Expect(b"STLS"), Send(b"-ERR TLS not available\r\n")],
            "STLS was refused.*TLS not available",
        ),
        (
            [Expect(b"CAPA"), Send(b"+OK\r\nSTLS\r\n.\r\n"), Expect(b"STLS"), OK, Send(b"+OK plain\r\n"), Silence()],
            "tampering|plain POP3",
        ),
        (
            [Expect(b"CAPA"), Send(b"+OK\r\nSTLS\r\n.\r\n"), Expect(b"STLS"), Send(b"+OK\r\n+OK inj\r\n"), Silence()],
            "tampering",
        ),
        (
            [Expect(b"CAPA"), Send(b"+OK\r\nSTLS\r\n.\r\n"), Expect(b"STLS"), Send(b"+OK\r\n-"), Silence()],
            "tampering",
        ),
        ([Expect(b"CAPA"), Send(b"+OK\r\nSTLS\r\n.\r\n"), Expect(b"STLS"), OK, Close()], "TLS handshake"),
        ([Expect(b"CAPA"), Close()], "the reply to CAPA is incomplete"),
        ([Expect(b"CAPA"), Reset()], "the reply to CAPA is incomplete"),
    ],
)
def test_no_credential_is_sent_without_stls(script: list[Step], why: str, starttls: Tls) -> None:
    """FAULTS 53, 68-73: missing, refused, not done, or injected into: never a fallback."""
    with (
        ScriptedServer([GREETING, *script]) as server,
        pytest.raises((TlsError, ProtocolError, NetworkError), match=why),
    ):
        POP3Session.connect(server.host, server.port, tls=starttls).login("user", "secret", mechanism="USER")
    assert b"USER" not in server.received
    assert b"secret" not in server.received
    assert b"QUIT" not in server.received


def test_missing_stls_is_a_tls_error(starttls: Tls) -> None:
    """FAULTS 68."""
    with ScriptedServer([GREETING, *NO_PIPELINING]) as server, pytest.raises(TlsError):
        POP3Session.connect(server.host, server.port, tls=starttls)


def test_wrong_certificate_after_stls(server_context: MakeServerContext, starttls: Tls) -> None:
    """FAULTS 74: zero credential octets."""
    script = [
        GREETING,
        Expect(b"CAPA"),
        Send(b"+OK\r\nSTLS\r\n.\r\n"),
        Expect(b"STLS"),
        OK,
        StartTls(server_context("other.example"), fails="alert|EOF"),
    ]
    with ScriptedServer(script) as server, pytest.raises(TlsError, match="Hostname mismatch"):
        POP3Session.connect(server.host, server.port, tls=starttls)
    assert server.received == b"CAPA\r\nSTLS\r\n"


def test_silence_after_stls(starttls: Tls) -> None:
    """FAULTS 66."""
    script = [GREETING, Expect(b"CAPA"), Send(b"+OK\r\nSTLS\r\n.\r\n"), Expect(b"STLS"), OK, Silence()]
    with ScriptedServer(script) as server, pytest.raises(NetworkError, match="the TLS handshake took longer"):
        POP3Session.connect(server.host, server.port, tls=starttls, timeout=0.05)


def test_tls_to_a_plain_port(implicit: Tls) -> None:
    """FAULTS 78."""
    with ScriptedServer([GREETING, Silence()]) as server, pytest.raises(TlsError, match="plain POP3"):
        POP3Session.connect(server.host, server.port, tls=implicit)


@pytest.mark.parametrize("mode", ["ssl", "tls", "", "IMPLICIT"])
def test_tls_mode_is_one_of_three(mode: str) -> None:
    """A misspelt mode never means none."""
    with pytest.raises(ValueError, match="TlsMode"):
        POP3Session.connect("127.0.0.1", 1, tls=mode)


@pytest.mark.parametrize(("tls", "port"), [("none", 110), ("starttls", 110), ("implicit", 995)])
def test_port_follows_from_tls(tls: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN §5."""
    asked: list[int] = []

    def connect(_host: str, asked_port: int, **_: object) -> None:
        asked.append(asked_port)
        raise NetworkError("as far as this test goes")

    monkeypatch.setattr(SocketTransport, "connect", connect)
    with pytest.raises(NetworkError):
        POP3Session.connect("pop.x", tls=tls)
    assert asked == [port]
