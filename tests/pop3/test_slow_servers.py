"""Whole sessions with servers that are slow (FAULTS 2, 62-64, 66): each ends, and says why.

Time goes by on a clock by hand, so that minutes take none.
"""

import itertools
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Final

import pytest

from fetchd.errors import NetworkError
from fetchd.model import Tls, TlsMode
from fetchd.pop3 import POP3Session
from fetchd.pop3.protocol import State
from fetchd.pop3.transport import SocketTransport
from tests.pop3.scripts import GREETING
from tests.pop3.timing import ManualClock, SlowSocket, dripping
from tests.servers.scripted import Expect, ScriptedServer, Silence

Pieces = Iterable[tuple[float, bytes]]
HOUR: Final = 3600.0
READY: Final = [(0.1, b"+OK ready\r\n"), (0.1, b"+OK\r\n"), (0.1, b"+OK\r\n")]


class Slow:
    """A session with a server that sends its pieces slowly."""

    def __init__(self, *pieces: Pieces, login_timeout: float | None = None, **settings: float) -> None:
        self.clock = ManualClock()
        self.sock = SlowSocket(self.clock, itertools.chain(*pieces))
        self.transport = SocketTransport(self.sock, peer="pop.x:110", clock=self.clock, **settings)
        self._login_timeout = login_timeout

    def greeted(self) -> POP3Session:
        return POP3Session.over(self.transport, tls=Tls(mode=TlsMode.NONE), login_timeout=self._login_timeout)

    def logged_in(self) -> POP3Session:
        session = self.greeted()
        session.login("user", "secret", mechanism="USER")
        return session

    def fails(self, step: Callable[[], object], *, within: float) -> str:
        """Returns how a step fails, and makes sure that it does so in time, and is not a TLS error or the like."""
        began = self.clock.now
        with pytest.raises(NetworkError) as caught:
            step()
        assert type(caught.value) is NetworkError
        assert self.clock.now - began <= within
        assert str(caught.value).startswith("pop.x:110: ")
        return str(caught.value)


# ── the greeting ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_greeting_that_drips_ends() -> None:
    """FAULTS 2: its time is for the whole of it; nothing was sent, and a server without minimum rate has no more."""
    slow = Slow(dripping(b"+OK " + b"x" * 400, every=29.0), minimum_rate=0)
    said = slow.fails(slow.greeted, within=60.0)
    assert said == ("pop.x:110: the greeting took longer than 60 s, while receiving: the greeting is incomplete")
    assert slow.sock.sent == b""


def test_greeting_that_is_late_is_waited_for() -> None:
    """Within its time, in two halves."""
    slow = Slow([(29.0, b"+OK "), (29.0, b"hi\r\n")])
    assert slow.greeted().state is State.AUTHORIZATION


# ── the login ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_login_has_a_time_for_the_whole_of_it() -> None:
    """However its replies drip; by default twice what one of them may take."""
    slow = Slow([READY[0]], dripping(b"+OK\r\n" * 10, every=25.0), minimum_rate=0)
    session = slow.greeted()
    said = slow.fails(lambda: session.login("user", "secret", mechanism="USER"), within=120.0)
    assert "the login took longer than 120 s, while receiving: the reply to USER user is incomplete" in said
    assert b"PASS" not in slow.sock.sent
    assert session.state is State.BROKEN


def test_login_timeout_is_ones_own() -> None:
    """And counts for all the replies together: the first one came after 50 seconds."""
    slow = Slow([READY[0], (50.0, b"+OK\r\n"), (50.0, b"+OK\r\n")], login_timeout=90.0)
    said = slow.fails(slow.logged_in, within=90.2)
    assert "the login took longer than 90 s" in said
    assert "secret" not in said


def test_login_timeout_ends_with_the_login() -> None:
    """What comes later has its own time."""
    slow = Slow(READY, [(50.0, b"+OK 1 2\r\n"), (50.0, b"+OK 3 4\r\n")], login_timeout=60.0)
    session = slow.logged_in()
    assert [session.stat(), session.stat()] == [(1, 2), (3, 4)]


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ask", "reply"),
    [
        (lambda session: session.stat(), b"+OK 1 " + b"2" * 4000),
        (lambda session: session.list_messages(), b"+OK\r\n" + b"1 100\r\n" * 4000),
        (lambda session: session.unique_ids(), b"+OK\r\n" + b"1 abc\r\n" * 4000),
        (lambda session: session.retrieve(1, lambda _: None), b"+OK\r\n" + b"a line\r\n" * 4000),
        (lambda session: session.retrieve_header(1), b"+OK\r\n" + b"X: y\r\n" * 4000),
        (lambda session: session.delete_message(1), b"+OK " + b"x" * 4000),
        (lambda session: session.quit(), b"+OK " + b"x" * 4000),
    ],
)
def test_reply_that_drips_ends(ask: Callable[[POP3Session], object], reply: bytes) -> None:
    """FAULTS 62: an octet every 30 seconds, in a status line, a list, a body; without a limit to the session."""
    slow = Slow(READY, dripping(reply, every=30.0))
    session = slow.logged_in()
    said = slow.fails(lambda: ask(session), within=100.0)
    assert "receiving is too slow: 2 octets in 60 s are less than 100 octets a second: the reply to " in said
    assert said.endswith(" is incomplete")
    assert slow.sock.sent.count(b"\r\n") == 3
    assert session.state is not State.AUTHORIZATION


def test_body_that_turns_to_drops_ends() -> None:
    """FAULTS 62: after a megabyte at full speed; nothing is sent any more, not even QUIT."""
    slow = Slow(READY, [(1.0, b"+OK\r\n" + b"x" * 1_000_000)], dripping(b"y" * 1000, every=29.0))
    session = slow.logged_in()
    said = slow.fails(lambda: session.retrieve(1, lambda _: None), within=130.0)
    assert "the reply to RETR 1 is incomplete" in said
    session.close()
    assert slow.sock.sent.endswith(b"RETR 1\r\n")


def test_slow_line_is_no_fault() -> None:
    """Two hours at 200 octets a second."""
    body = b"a line of sixteen\r\n" * 75_000
    slow = Slow(READY, [(1.0, b"+OK\r\n")], dripping(body + b".\r\n", every=10.0, octets=2000))
    assert slow.logged_in().retrieve(1, lambda _: None) == len(body)
    assert slow.clock.now > 2 * HOUR


def test_our_own_slowness_is_not_the_servers() -> None:
    """FAULTS 113 and the like: the disk takes a minute for every octet."""
    slow = Slow(READY, [(1.0, b"+OK\r\n")], dripping(b"abcdefgh\r\n.\r\n", every=0.1))
    session = slow.logged_in()

    def write(_: object) -> None:
        slow.clock.now += 60.0

    assert session.retrieve(1, write) == 10


def test_minimum_rate_can_be_switched_off() -> None:
    """The session's own time is left."""
    slow = Slow(READY, dripping(b"+OK\r\n" + b"x" * 4000, every=30.0), minimum_rate=0, session_timeout=HOUR)
    session = slow.logged_in()
    said = slow.fails(lambda: session.retrieve(1, lambda _: None), within=HOUR)
    assert "the session took longer than 3600 s, while receiving: the reply to RETR 1 is incomplete" in said
    assert slow.clock.now >= 1000.0 + HOUR


def test_pipelined_replies_have_a_pace_each() -> None:
    """A server that thinks for half a minute about each DELE is slow to answer, but answers."""
    replies = [(30.0, b"+OK\r\n") for _ in range(20)]
    slow = Slow(READY, [(0.1, b"+OK\r\nPIPELINING\r\n.\r\n")], replies)
    assert all(deleted.refused is None for deleted in slow.logged_in().delete_each(range(1, 21)))


# ── real lines ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["connect", "from_socket"])
def test_login_timeout_is_passed_on(way: str) -> None:
    """By whichever door one comes in."""
    with ScriptedServer([GREETING, Expect(b"USER user"), Silence()]) as server:
        if way == "connect":
            session = POP3Session.connect(server.host, server.port, login_timeout=0.05)
        else:
            line = socket.create_connection((server.host, server.port))
            session = POP3Session.from_socket(line, login_timeout=0.05)
        with pytest.raises(NetworkError, match=r"the login took longer than 0\.05 s, while receiving"):
            session.login("user", "secret", mechanism="USER")


HALF_OPEN: Final = """
import socket, subprocess
from fetchd.model import Tls, TlsMode
from fetchd.pop3 import NetworkError, POP3Session
from fetchd.pop3.transport import SocketTransport

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with socket.create_server(("127.0.0.1", 0)) as listener:
    transport = SocketTransport.connect(*listener.getsockname(), timeout=0.2)
    theirs, _ = listener.accept()
    theirs.sendall(b"+OK\\r\\n")
    session = POP3Session.over(transport, tls=Tls(mode=TlsMode.NONE))
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    try:
        session.send_command("XYZZY")
    except NetworkError as error:
        print(error)
    theirs.close()
"""


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2")
def test_half_open_line_ends() -> None:
    """FAULTS 64: the network is gone, and nothing says so: what we send gets no answer, and no error either."""
    alone = ["unshare", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a network of its own")
    done = subprocess.run(
        [*alone, sys.executable, "-W", "error", "-c", HALF_OPEN], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert "receiving took longer than 0.2 s: the reply to XYZZY is incomplete" in done.stdout
