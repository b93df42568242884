"""The relay of the benchmarks: it is as far away as it says, counts round trips, and loses nothing."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.benchmarks.latency import IN_FLIGHT, Distance


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server for one client: greets, and sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                line.settimeout(20)
                line.sendall(b"+OK\r\n")
                while data := line.recv(65536):
                    line.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join(20)


def exchanged(line: socket.socket, data: bytes) -> bytes:
    line.sendall(data)
    answer = b""
    while len(answer) < len(data):
        answer += line.recv(65536)
    return answer


def test_it_counts_answered_questions_and_neither_the_greeting_nor_the_end(echo: tuple[str, int]) -> None:
    with Distance(echo, 0.01) as distance:
        with socket.create_connection(("127.0.0.1", distance.port), timeout=20) as line:
            assert line.recv(100) == b"+OK\r\n"
            for word in (b"STAT\r\n", b"UIDL\r\n", b"QUIT\r\n"):
                assert exchanged(line, word) == word
            line.shutdown(socket.SHUT_WR)
            assert line.recv(100) == b""
        assert [session.round_trips for session in distance.sessions] == [3]


def test_a_round_trip_takes_no_less_than_it_should_and_connecting_takes_two(echo: tuple[str, int]) -> None:
    with Distance(echo, 0.1) as distance:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", distance.port), timeout=20) as line:
            line.recv(100)
            greeted = time.monotonic()
            exchanged(line, b"NOOP\r\n")
            assert greeted - began > 0.195
            assert time.monotonic() - greeted > 0.095


def test_more_than_the_window_arrives_whole(echo: tuple[str, int]) -> None:
    data = bytes(range(256)) * (IN_FLIGHT // 128)
    received = bytearray()
    with (
        Distance(echo, 0.01) as distance,
        socket.create_connection(("127.0.0.1", distance.port), timeout=20) as line,
    ):
        line.recv(5)
        sender = threading.Thread(target=line.sendall, args=(data,))
        sender.start()
        while len(received) < len(data):
            received += line.recv(1 << 20)
        sender.join()
    assert received == data
