"""The scripted server itself: a test that uses it must be able to fail."""

import contextlib
import socket
from collections.abc import Sequence

import pytest

from tests.servers.scripted import Close, Expect, Reset, ScriptedServer, Send, Silence, Step


def talk(server: ScriptedServer, *lines: bytes) -> bytes:
    """Sends all at once, then reads to the end of the stream."""
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(b"".join(line + b"\r\n" for line in lines))
        sock.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(100):
                received += data
        return received


def test_script_is_played_and_recorded() -> None:
    """One script a connection; segments are sent one after another."""
    with ScriptedServer([Send(b"hi", segment=1), Expect(b"A"), Send(b"!")], [Expect(b"B"), Close()]) as server:
        assert talk(server, b"A") == b"hi!"
        assert talk(server, b"B") == b""
    assert server.received == b"A\r\nB\r\n"
    assert server.lines == [b"A", b"B"]


@pytest.mark.parametrize(
    ("script", "said", "why"),
    [
        ([Expect(b"A")], [b"B"], "the client said b'B', expected was b'A'"),
        ([Expect(b"A")], [], "the client left"),
        ([Expect(b"A")], [b"A", b"QUIT"], "QUIT.* after the end of the script"),
        ([Expect(b"A", alone=True), Expect(b"B")], [b"A", b"B"], "before b'A' was answered"),
    ],
)
def test_client_that_deviates_fails_the_test(script: Sequence[Step], said: list[bytes], why: str) -> None:
    """When the block is left."""
    server = ScriptedServer(script)
    with pytest.raises(AssertionError, match=why), server:
        talk(server, *said)


def test_failure_of_the_test_itself_comes_first() -> None:
    """A client that was left open is hung up on, and the test's own error is the one that is seen."""

    def fail(sock: socket.socket) -> None:
        sock.connect((server.host, server.port))
        raise ZeroDivisionError

    server = ScriptedServer([Send(b"hi"), Expect(b"A")])
    with socket.socket() as left_open, pytest.raises(ZeroDivisionError), server:
        fail(left_open)


def test_silence_lasts_until_the_client_has_left() -> None:
    """And what it said meanwhile is recorded."""
    with ScriptedServer([Silence()]) as server:
        assert talk(server, b"A", b"B") == b""
    assert server.lines == [b"A", b"B"]


def test_reset_is_a_reset() -> None:
    """Not an end of the stream."""
    with (
        ScriptedServer([Expect(b"A"), Reset()]) as server,
        socket.create_connection((server.host, server.port)) as sock,
    ):
        sock.sendall(b"A\r\n")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
