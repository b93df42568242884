"""Memory stays constant whatever a server sends: a message of 1 GB, measured in a process of its own."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.running import PATIENCE

GB = 1024**3
MB = 1024**2
LINES = (b"x" * 76 + b"\r\n") * 3000
ONE_LINE = b"y" * len(LINES)

CLIENT = """
import sys
from fetchd.pop3 import POP3Session
with POP3Session.connect("127.0.0.1", int(sys.argv[1])) as session:
    session.login("user", "secret", mechanism="USER")
    print(session.retrieve(1, lambda octets: None))
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024)
"""


@contextmanager
def server_of(piece: bytes) -> Iterator[int]:
    """Serves one message of 1 GB, made of one piece again and again, to one client that does not pipeline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=_serve, args=(listener, piece), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)


def _serve(listener: socket.socket, piece: bytes) -> None:
    line, _ = listener.accept()
    with line, line.makefile("rb") as commands:
        line.sendall(b"+OK\r\n")
        for command in commands:
            line.sendall(b"+OK\r\n")
            if command.startswith(b"RETR"):
                for _ in range(GB // len(piece)):
                    line.sendall(piece)
                line.sendall(b"\r\n.\r\n")
            elif command.startswith(b"QUIT"):
                return


@pytest.mark.parametrize("piece", [LINES, ONE_LINE], ids=["lines", "one line"])
def test_a_message_of_one_gigabyte_takes_less_than_60_megabytes(piece: bytes) -> None:
    """Issue 2's acceptance; FAULTS 20: a body line has no limit, and is never whole in memory."""
    with server_of(piece) as port:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, str(port)], capture_output=True, text=True, timeout=5 * PATIENCE, check=True
        )
    octets, peak = map(int, done.stdout.split())
    assert octets == GB // len(piece) * len(piece) + len(b"\r\n")
    assert peak < 60 * MB
