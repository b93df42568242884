"""The trace: every line, and no secret, whatever the server repeats and however the wire is cut."""

from base64 import b64encode, urlsafe_b64encode
from contextlib import AbstractContextManager, nullcontext
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchd.errors import FetchdError, ProtocolError
from fetchd.model import Secret
from fetchd.pop3.commands import Command, by_hand
from fetchd.pop3.session import POP3Session
from fetchd.pop3.trace import MOST_LINES, Trace
from tests.pop3.scripts import LOGIN, NO_PIPELINING, QUIT, logged_in
from tests.servers.scripted import Expect, ScriptedServer, Send

USER = b"q0q-user@example.org"
PASSWORD_WAYS = ["USER", "APOP", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"]
TOKEN_WAYS = ["XOAUTH2", "OAUTHBEARER"]

octets = st.binary(min_size=4, max_size=60).map(lambda some: bytes(octet for octet in some if octet not in b"\0\r\n"))
passwords = octets.map(lambda some: b"Zq7\xff" + some)
tokens = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=8, max_size=90).map(
    lambda some: b"Zq7" + some.encode()
)


def echoes(secret: bytes) -> list[bytes]:
    """What a server may make of a secret; each on a line, if need be."""
    return [
        secret,
        secret.upper(),
        secret.hex().encode(),
        secret.hex(":").upper().replace(":", "").encode(),
        quote_from_bytes(secret, safe="").encode(),
        *[b64encode(before + secret + b"\1after") for before in (b"", b"\0", b"\0u", b"\0us", b"\0user\0")],
        *[urlsafe_b64encode(before + secret) for before in (b"", b"a", b"ab")],
        b64encode(secret),
    ]


WAYS = " ".join(PASSWORD_WAYS + TOKEN_WAYS)


class Echo:
    """A transport to a server that repeats what it is told, wherever it says anything; cut as the test wants it."""

    peer = "pop.example.net:110"
    timeout = 60.0
    tls_version = "TLSv1.3"
    tls_cipher = ""
    certificate_expires = None
    channel_binding = None
    is_local = True

    def __init__(self, sizes: list[int], echo: bytes, *, ok: bytes = b"+OK", challenge: bytes = b"") -> None:
        self.sizes = sizes
        self.echo = echo
        self.ok = ok
        self.challenge = challenge
        self.exchanged: list[bytes] = []
        self._waiting = bytearray(b"+OK <1896.697170952@dbc> " + echo + b"\r\n")
        self._in_auth = False
        self._turn = 0

    def recv(self, most: int) -> bytes:
        size = self.sizes[self._turn % len(self.sizes)]
        self._turn += 1
        cut, self._waiting = self._waiting[:size], self._waiting[size:]
        return bytes(cut)

    def recv_ready(self, most: int) -> bytes | None:
        return None

    def send(self, data: bytes) -> None:
        for line in data.splitlines():
            self._waiting += self._reply(line)

    def _reply(self, line: bytes) -> bytes:
        verb, _, args = line.partition(b" ")
        if self._in_auth:
            self.exchanged.append(line)
            self._in_auth = False
            return self.ok + b" " + line + b" " + self.echo + b"\r\n"
        if verb == b"AUTH":
            self.exchanged.append(args.partition(b" ")[2])
            self._in_auth = True
            self.exchanged.append(self.challenge)
            return b"+ " + self.challenge + b"\r\n"
        if verb == b"CAPA":
            return (
                b"+OK " + self.echo + b"\r\nSASL " + WAYS.encode()[5:] + (b"\r\nUSER\r\nX-" + self.echo + b"\r\n.\r\n")
            )
        if verb in {b"UIDL", b"LIST"}:
            return b"+OK " + self.echo + b"\r\n1 " + self.echo + b"\r\n.\r\n"
        if verb == b"RETR":
            return b"+OK " + self.echo + b"\r\nSubject: " + self.echo + b"\r\n.\r\n"
        ok = self.ok if verb in {b"PASS", b"APOP"} else b"+OK"
        numbers = b" 1 9 " if verb == b"STAT" else b" "
        return ok + numbers + line + b" " + self.echo + b"\r\n"

    def within(self, seconds: float, what: str) -> AbstractContextManager[None]:
        return nullcontext()

    def reply_due(self) -> None:
        pass

    def close(self) -> None:
        pass


def traced_session(transport: Echo, way: str, secret: bytes) -> str:
    """Says everything that a session can say, and returns the trace."""
    lines: list[str] = []
    trace = Trace(lambda direction, line: lines.append(f"{direction} {line}"), Secret(secret))
    session = POP3Session(transport, trace=trace)  # type: ignore[arg-type]
    conversation = session._conversation
    session._timestamp = b"<1896.697170952@dbc>"
    conversation.greeting()
    try:
        session.login(USER, secret, mechanism=way)
        session.capabilities()
        session.survey()
        session.retrieve(1, lambda _: None)
        session.send_command("X-TALK", secret)
        session.quit()
    except FetchdError:
        pass
    return "\n".join(lines)


def check(text: str, secret: bytes, exchanged: list[bytes]) -> None:
    """Asserts that nothing of a secret is there that would help to find the rest."""
    lower = text.lower()
    for form in (*echoes(secret), secret.decode("ascii", "backslashreplace").encode()):
        shown = form.decode("ascii", "backslashreplace").lower()
        assert shown not in lower
        by_chance = shown[4:12] in WAYS.lower()  # the base64 of a token may hold the name of a mechanism
        assert shown[4:12] not in lower or len(shown) < 12 or by_chance, (shown, text)
    for line in exchanged:
        if len(line) > 4:
            assert line.decode().lower() not in lower
    assert USER.decode() not in text


@pytest.mark.parametrize("way", PASSWORD_WAYS)
@settings(max_examples=60)
@given(
    secret=passwords,
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    which=st.integers(0, 13),
    ok=st.sampled_from([b"+OK", b"-ERR", b"+"]),
    padding=st.integers(0, 230),
)
def test_no_password_is_in_the_trace(
    way: str, secret: bytes, sizes: list[int], which: int, ok: bytes, padding: int
) -> None:
    """FAULTS 89: however the wire is cut, by every way to log in; the limit to a line cuts off no half of one."""
    echo = b"x" * padding + b" " + echoes(secret)[which % len(echoes(secret))]
    transport = Echo(sizes, echo, ok=ok, challenge=b64encode(b"<challenge.4711@example>"))
    check(traced_session(transport, way, secret), secret, transport.exchanged)


@pytest.mark.parametrize("way", TOKEN_WAYS)
@settings(max_examples=60)
@given(
    secret=tokens,
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    which=st.integers(0, 13),
    ok=st.sampled_from([b"+OK", b"-ERR"]),
)
def test_no_token_is_in_the_trace(way: str, secret: bytes, sizes: list[int], which: int, ok: bytes) -> None:
    """FAULTS 89, 83: nor in the challenge that says why it was refused."""
    transport = Echo(sizes, echoes(secret)[which % len(echoes(secret))], ok=ok)
    check(traced_session(transport, way, secret), secret, transport.exchanged)


@given(data=st.binary(max_size=400), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_every_line_is_short_and_printable(data: bytes, sizes: list[int]) -> None:
    """FAULTS 8: whatever the server says."""
    lines: list[str] = []
    trace = Trace(lambda direction, line: lines.append(line))
    transport = Echo(sizes, data.replace(b"\n", b"").replace(b"\0", b""))
    conversation = POP3Session(transport, trace=trace)._conversation  # type: ignore[arg-type]
    try:
        conversation.greeting()
        conversation.ask(by_hand("X-TALK", b"\x1b[31m"))
    except ProtocolError:
        pass
    assert lines
    for line in lines:
        assert line.isprintable()
        assert len(line) <= 220


def test_all_that_is_said_is_in_the_trace() -> None:
    """Commands, replies, lists; of messages, how much they are."""
    lines: list[tuple[str, str]] = []
    steps = [
        *LOGIN,
        *NO_PIPELINING,
        Expect(b"STAT"),
        Send(b"+OK 2 99\r\n"),
        Expect(b"UIDL"),
        Send(b"+OK\r\n1 a\x1b\r\n2 b\r\n.\r\n"),
        Expect(b"RETR 1"),
        Send(b"+OK 12 octets\r\nsecret\r\n..\r\n.\r\n"),
        Expect(b"DELE 9"),
        Send(b"-ERR [NOPE] no such message\r\n"),
        *QUIT,
    ]
    with ScriptedServer(steps) as server, logged_in(server, trace=lambda *line: lines.append(line)) as session:
        session.capabilities()
        session.stat()
        session.unique_ids()
        session.retrieve(1, lambda _: None)
        session.send_command("DELE", 9)
    text = "\n".join(f"{direction} {line}" for direction, line in lines)
    assert text.startswith(f"= connected to 127.0.0.1:{server.port}\n< +OK")
    assert "\n> USER ***\n< +OK\n> PASS ***\n< +OK\n> CAPA\n< -ERR what?\n" in text
    assert text.endswith(
        "\n> STAT\n< +OK 2 99"
        "\n> UIDL\n< +OK\n< 1 a\\x1b\n< 2 b\n< ."
        "\n> RETR 1\n< +OK 12 octets\n< (11 octets)\n< ."
        "\n> DELE 9\n< -ERR [NOPE] no such message"
        "\n> QUIT\n< +OK"
    )


def test_of_a_long_list_the_first_lines_are_shown() -> None:
    lines: list[str] = []
    trace = Trace(lambda _, line: lines.append(line))
    trace.listed([b"1 a"] * (MOST_LINES - 1))
    trace.listed([b"2 b"] * 3)
    trace.listed([b"3 c"] * 40)
    trace.ended(is_message=False)
    assert lines == ["1 a"] * (MOST_LINES - 1) + ["2 b", "(42 more lines)", "."]


@pytest.mark.parametrize("verb", ["PASS", "APOP", "AUTH"])
def test_what_is_no_reply_to_a_login_is_not_shown(verb: str) -> None:
    """It may be a challenge without its blank, or the password that the server was told."""
    lines: list[str] = []
    trace = Trace(lambda _, line: lines.append(line))
    for line in (b"+c2FsdA==", b"salt", b"+OKAY salt"):
        trace.status(line, Command(verb, b"x"))
    assert lines == ["***"] * 3
    trace.status(b"+ok hello", Command(verb, b"x"))
    assert lines[-1] == "+ok hello"


def test_a_line_that_is_no_reply_is_shown_elsewhere() -> None:
    """That is what a trace is for."""
    lines: list[tuple[str, str]] = []
    with (
        ScriptedServer([Send(b"220 smtp\r\n")]) as server,
        pytest.raises(ProtocolError, match="SMTP"),
    ):
        POP3Session.connect(server.host, server.port, trace=lambda *line: lines.append(line))
    assert lines[1:] == [("<", "220 smtp")]


@pytest.mark.parametrize("secret", [b"x", b"xy", b"", b"(a[", b"\\x"])
def test_a_short_or_strange_secret_is_masked_too(secret: bytes) -> None:
    lines: list[str] = []
    trace = Trace(lambda _, line: lines.append(line), Secret(secret))
    trace.status(b"+OK <" + secret + b"> " + b64encode(secret))
    assert lines == ["+OK <***> ***"] if secret else lines == ["+OK <> "]


def test_a_trace_that_cannot_be_written_ends_the_session() -> None:
    """As what any caller's function raises does: and nothing is sent after it."""

    def write(direction: str, line: str) -> None:
        if line == "STAT":
            raise OSError("disk full")

    with ScriptedServer([*LOGIN]) as server, logged_in(server, trace=write) as session:
        with pytest.raises(OSError, match="disk full"):
            session.stat()
        assert session.state == "BROKEN"
        session.close()


@pytest.mark.parametrize(
    ("command", "secret"),
    [
        (Command("PASS", b"open sesame"), b"open sesame"),
        (Command("APOP", b"joe c4c9334bac560ecc979e58001b3e22fb"), b"c4c9334bac560ecc979e58001b3e22fb"),
        (Command("AUTH", b"PLAIN AGpvZQBvcGVu"), b"AGpvZQBvcGVu"),
    ],
)
def test_what_was_sent_as_a_secret_is_masked_when_it_comes_back(command: Command, secret: bytes) -> None:
    """Whoever uses the protocol without a session has told the trace of none."""
    lines: list[str] = []
    trace = Trace(lambda _, line: lines.append(line))
    trace.sent([command])
    trace.status(b"-ERR unknown command: " + secret)
    assert lines[1] == "-ERR unknown command: ***"
    assert secret.decode() not in lines[0]
