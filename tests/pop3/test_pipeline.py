"""Several commands in flight."""

import io
import socket
import threading
from collections.abc import Callable

import pytest

from fetchd.errors import (
    NetworkError,
    ProtocolError,
    UsageError,
)
from fetchd.model import Tls, TlsMode
from fetchd.pop3 import POP3Session
from fetchd.pop3.conversation import WINDOW_OCTETS
from fetchd.pop3.framing import encode_body
from fetchd.pop3.protocol import State
from fetchd.pop3.transport import SocketTransport
from tests.pop3.scripts import LOGIN, NO_PIPELINING, OK, PIPELINING, QUIT, Mail, logged_in
from tests.servers.scripted import Close, Expect, Reset, ScriptedServer, Send, Step


def test_messages_are_retrieved_in_flight() -> None:
    """RFC 2449 §6.8; FAULTS 12, 49: all in one segment, and the third is refused."""
    bodies = [Send(b"+OK\r\n" + encode_body(b"message %d\r\n" % number)) for number in range(1, 6)]
    wire = b"".join(body.data for body in bodies[:2]) + b"-ERR gone\r\n" + b"".join(body.data for body in bodies[3:])
    asked = [Expect(b"RETR %d" % number) for number in range(1, 6)]
    mail = Mail()
    with ScriptedServer([*LOGIN, *PIPELINING, *asked, Send(wire), *QUIT]) as server, logged_in(server) as session:
        results = list(session.retrieve_each([1, 2, 3, 4, 5], mail))
    assert [(result.number, result.octets) for result in results] == [(1, 11), (2, 11), (3, 0), (4, 11), (5, 11)]
    assert [result.refused is None for result in results] == [True, True, False, True, True]
    assert "RETR 3 failed: -ERR gone" in str(results[2].refused)
    assert mail.messages() == {number: b"message %d\r\n" % number for number in (1, 2, 4, 5)}


def test_empty_message_reaches_the_sink() -> None:
    """FAULTS 18: it is opened, lest it be lost."""
    mail = Mail()
    script = [*LOGIN, *PIPELINING, Expect(b"RETR 1"), Send(b"+OK\r\n.\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert [result.octets for result in session.retrieve_each([1], mail)] == [0]
    assert mail.messages() == {1: b""}


def test_window_is_refilled_when_half_of_it_is_answered() -> None:
    """SPEED: one write refills it."""
    body = Send(b"+OK\r\nx\r\n.\r\n")

    def asked(*numbers: int) -> list[Step]:
        return [Expect(b"RETR %d" % number) for number in numbers]

    # The server sees no more commands than the window holds, and each refill before it has answered all.
    script = [*asked(1, 2, 3, 4), body, body, *asked(5, 6), body, body, *asked(7), body, body, body]
    mail = Mail()
    with ScriptedServer([*LOGIN, *PIPELINING, *script, *QUIT]) as server, logged_in(server, window=4) as session:
        assert len(list(session.retrieve_each(range(1, 8), mail))) == 7
    assert len(mail.files) == 7


@pytest.mark.parametrize(("capabilities", "window"), [(NO_PIPELINING, 32), (PIPELINING, 1)])
def test_lock_step_where_the_server_or_the_caller_wants_it(capabilities: list[Step], window: int) -> None:
    """RFC 2449 §6.8: a server that does not list PIPELINING may lose what is sent ahead."""
    script: list[Step] = [*LOGIN, *capabilities]
    for number in (1, 2):
        script += [Expect(b"RETR %d" % number, alone=True), Send(b"+OK\r\n.\r\n")]
    for number in (1, 2):
        script += [Expect(b"DELE %d" % number, alone=True), OK]
    with ScriptedServer([*script, *QUIT]) as server, logged_in(server, window=window) as session:
        assert len(list(session.retrieve_each([1, 2], Mail()))) == 2
        assert len(list(session.delete_each([1, 2]))) == 2


def test_octets_in_flight_are_bounded() -> None:
    """FAULTS 51: whatever the window, less than a socket's buffer holds."""
    seen: list[int] = []

    class Counting(SocketTransport):
        """Counts what is sent at once."""

        def send(self, data: bytes) -> None:
            seen.append(len(data))
            super().send(data)

    numbers = range(10**17, 10**17 + 2000)
    script: list[Step] = [*LOGIN, *PIPELINING]
    for number in numbers:
        script += [Expect(b"DELE %d" % number), OK]
    with ScriptedServer([*script, *QUIT]) as server:
        transport = Counting.connect(server.host, server.port)
        with POP3Session.over(transport, tls=Tls(mode=TlsMode.NONE), window=10_000) as session:
            session.login("user", "secret", mechanism="USER")
            assert len(list(session.delete_each(numbers))) == 2000
    assert WINDOW_OCTETS // 2 < max(seen) <= WINDOW_OCTETS


def test_full_windows_both_ways_do_not_block() -> None:
    """FAULTS 51: the server reads nothing while it sends more than both sockets' buffers hold."""
    count = 300
    body = b"x" * 100_000 + b"\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b"+OK\r\n")
                for line in lines:
                    if line.startswith(b"RETR"):
                        connection.sendall(b"+OK\r\n" + body + b".\r\n")
                    elif line.startswith(b"CAPA"):
                        connection.sendall(b"+OK\r\nPIPELINING\r\n.\r\n")
                    else:
                        connection.sendall(b"+OK\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with POP3Session.connect("127.0.0.1", listener.getsockname()[1], window=1000, timeout=10.0) as session:
            session.login("user", "secret", mechanism="USER")
            octets = [got.octets for got in session.retrieve_each(range(1, count + 1), lambda _: lambda _: None)]
        thread.join()
    assert octets == [len(body)] * count


def test_messages_are_deleted_in_flight() -> None:
    """FAULTS 54: and the refused one is told."""
    asked = [Expect(b"DELE %d" % number) for number in (1, 2, 3)]
    script = [*LOGIN, *PIPELINING, *asked, Send(b"+OK\r\n-ERR no\r\n+OK\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        results = list(session.delete_each([1, 2, 3]))
    assert [(result.number, result.refused is None) for result in results] == [(1, True), (2, False), (3, True)]


@pytest.mark.parametrize("ending", [Close(), Reset()])
def test_server_that_leaves_in_the_middle_of_a_window(ending: Step) -> None:
    """FAULTS 48, 53: what was complete is yielded before the error."""
    script = [*LOGIN, *PIPELINING, Expect(b"RETR 1"), Expect(b"RETR 2"), Send(b"+OK\r\none\r\n.\r\n+OK\r\ntw"), ending]
    mail = Mail()
    with ScriptedServer(script) as server:
        session = logged_in(server)
        results = session.retrieve_each([1, 2], mail)
        try:
            first = next(results).number
        except NetworkError:
            assert ending == Reset()  # a RST may overtake what was sent before it
            return
        assert first == 1
        with pytest.raises(NetworkError, match="the reply to RETR 2 is incomplete"):
            next(results)
        assert session.state is State.BROKEN


@pytest.mark.parametrize("stray", [b"+OK\r\n", b"-ERR\r\n"])
def test_reply_too_many_in_a_window_is_never_taken_for_another(stray: bytes) -> None:
    """FAULTS 10, 50: it shows at the latest when something else is asked."""
    script = [*LOGIN, *PIPELINING, Expect(b"DELE 1"), Expect(b"DELE 2"), Send(b"+OK\r\n+OK\r\n" + stray), Close()]
    with ScriptedServer(script) as server:
        session = logged_in(server)
        assert len(list(session.delete_each([1, 2]))) == 2
        server.join()
        with pytest.raises(ProtocolError, match="no command asked for"):
            session.quit()


def test_sink_that_fails_in_a_window_breaks_the_session() -> None:
    """DESIGN §3: what is in flight is not read; no QUIT."""

    def sink(number: int) -> Callable[[object], object]:
        if number == 2:
            raise OSError(28, "No space left on device")
        return lambda _: None

    body = b"+OK\r\nx\r\n.\r\n"
    script = [*LOGIN, *PIPELINING, *[Expect(b"RETR %d" % number) for number in (1, 2, 3)], Send(body * 3)]
    with ScriptedServer(script) as server:
        session = logged_in(server)
        with pytest.raises(OSError, match="No space"), session:
            list(session.retrieve_each([1, 2, 3], sink))
        assert session.state is State.BROKEN


def test_leaving_a_window_breaks_the_session() -> None:
    """What is in flight belongs to nobody any more; quitting then is an error, not a silent loss of deletions."""
    body = b"+OK\r\nx\r\n.\r\n"
    script = [*LOGIN, *PIPELINING, *[Expect(b"RETR %d" % number) for number in (1, 2, 3)], Send(body * 3)]
    with ScriptedServer(script) as server:
        session = logged_in(server)
        results = session.retrieve_each([1, 2, 3], Mail())
        assert next(results).number == 1
        results.close()
        assert session.state is State.BROKEN
        with pytest.raises(NetworkError, match="left before every reply was read"):
            session.quit()


def test_leaving_between_messages_in_lock_step_breaks_nothing() -> None:
    """Nothing is in flight."""
    script = [*LOGIN, *NO_PIPELINING, Expect(b"RETR 1"), Send(b"+OK\r\n.\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        results = session.retrieve_each([1, 2, 3], Mail())
        assert next(results).number == 1
        results.close()


def test_other_commands_wait_for_the_window_to_be_read() -> None:
    """A mistake of the caller's, told before anything is sent; the window can still be read to its end."""
    body = b"+OK\r\nx\r\n.\r\n"
    script = [*LOGIN, *PIPELINING, Expect(b"RETR 1"), Expect(b"RETR 2"), Send(body * 2), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        results = session.retrieve_each([1, 2], Mail())
        next(results)
        for call in (
            session.noop,
            session.unique_ids,
            lambda: session.retrieve(1, io.BytesIO()),
            lambda: session.retrieve_header(1),
            lambda: list(session.delete_each([1])),
        ):
            with pytest.raises(UsageError, match="still under way"):
                call()
        assert next(results).number == 2
        assert list(results) == []


def test_nothing_to_retrieve_sends_no_retr() -> None:
    """Nor waits for anything."""
    with ScriptedServer([*LOGIN, *PIPELINING, *QUIT]) as server, logged_in(server) as session:
        assert list(session.retrieve_each([], Mail())) == []
        assert list(session.delete_each([])) == []
