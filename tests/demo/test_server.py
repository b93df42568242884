"""The demo's server is an honest POP3 server: a client that trusts RFC 1939 gets what it says."""

import poplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from fetchd.demo import DemoServer

ONE = b"Subject: one\n\n.\n..\nlast line without an end"
TWO = b"Subject: two\r\n\r\nbody\r\nof three\r\nlines\r\n"
DROPS = {"alice": ("pass word", [(b"uid-one", ONE), (b"uid-two", TWO)]), "bob": ("", [])}
ONE_WIRED = b"Subject: one\r\n\r\n.\r\n..\r\nlast line without an end\r\n"


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer(DROPS) as started:
        yield started


def login_when_free(server: DemoServer) -> "closing[poplib.POP3]":
    """Logs in once the server has noticed that the last session's line is gone."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return login(server)
        except poplib.error_proto as error:
            if "IN-USE" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def login(server: DemoServer, user: str = "alice", password: str = "pass word") -> "closing[poplib.POP3]":
    client = poplib.POP3(server.host, server.port, timeout=10)
    try:
        client.user(user)
        client.pass_(password)
    except BaseException:
        client.close()
        raise
    return closing(client)


def wired(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


def spoken(server: DemoServer, octets: bytes) -> bytes:
    """Sends everything in one go and returns all that comes until the server hangs up."""
    with socket.create_connection((server.host, server.port), timeout=10) as line, line.makefile("rb") as replies:
        line.sendall(octets)
        return replies.read()


def test_listings_agree_and_sizes_are_those_on_the_wire(server: DemoServer) -> None:
    with login(server) as client:
        assert client.stat() == (2, len(ONE_WIRED) + len(TWO))
        assert client.list()[1] == [b"1 %d" % len(ONE_WIRED), b"2 %d" % len(TWO)]
        assert client.uidl()[1] == [b"1 uid-one", b"2 uid-two"]


def test_listings_answer_for_one_message_too(server: DemoServer) -> None:
    replies = spoken(server, b"USER alice\r\nPASS pass word\r\nLIST 2\r\nUIDL 1\r\nQUIT\r\n").split(b"\r\n")
    assert replies[3:5] == [b"+OK 2 %d" % len(TWO), b"+OK 1 uid-one"]


def test_dots_are_stuffed_and_line_ends_are_crlf(server: DemoServer) -> None:
    assert b"\r\n\r\n..\r\n...\r\nlast" in spoken(server, b"USER alice\r\nPASS pass word\r\nRETR 1\r\nQUIT\r\n")
    with login(server) as client:
        assert wired(client.retr(1)[1]) == ONE_WIRED
        assert wired(client.retr(2)[1]) == TWO


@pytest.mark.parametrize(("lines", "shown"), [(0, b""), (2, b"body\r\nof three\r\n"), (9, TWO.split(b"\r\n\r\n")[1])])
def test_top_gives_the_header_and_so_many_lines(server: DemoServer, lines: int, shown: bytes) -> None:
    with login(server) as client:
        assert wired(client.top(2, lines)[1]) == b"Subject: two\r\n\r\n" + shown


def test_only_quit_deletes(server: DemoServer) -> None:
    with login(server) as client:
        client.dele(1)
        assert client.stat()[0] == 1
        assert client.uidl()[1] == [b"2 uid-two"]
    with login_when_free(server) as client:
        client.dele(1)
        client.rset()
        client.quit()
    with login(server) as client:
        client.dele(1)
        client.quit()
    with login(server) as client:
        assert client.uidl()[1] == [b"1 uid-two"]


def test_commands_may_be_pipelined_from_the_first_to_the_last(server: DemoServer) -> None:
    talk = b"CAPA\r\nUSER alice\r\nPASS pass word\r\nNOOP\r\nDELE 1\r\nQUIT\r\n"
    replies = spoken(server, talk)
    assert replies.count(b"+OK") == 1 + 6
    assert b"\r\nPIPELINING\r\n" in replies
    with login(server) as client:
        assert client.stat()[0] == 1


def test_a_maildrop_is_open_once(server: DemoServer) -> None:
    with login(server), pytest.raises(poplib.error_proto, match=r"IN-USE"):
        login(server)
    with login_when_free(server) as client:
        client.quit()
    with login(server) as client:
        assert client.stat()[0] == 2


@pytest.mark.parametrize(("user", "password"), [("alice", "password"), ("carol", "pass word"), ("", "")])
def test_a_wrong_login_is_refused(server: DemoServer, user: str, password: str) -> None:
    with pytest.raises(poplib.error_proto):
        login(server, user, password)


@pytest.mark.parametrize(
    "command",
    ["RETR", "RETR 0", "RETR 3", "RETR one", "RETR -1", "LIST 3", "DELE 1 2", "TOP 1", "TOP 1 x", "XYZZY", ""],
)
def test_nonsense_is_refused_and_the_session_goes_on(server: DemoServer, command: str) -> None:
    script = f"USER alice\r\nPASS pass word\r\n{command}\r\nNOOP\r\nQUIT\r\n"
    replies = spoken(server, script.encode()).split(b"\r\n")[:-1]
    assert [reply[:3] for reply in replies] == [b"+OK", b"+OK", b"+OK", b"-ER", b"+OK", b"+OK"]


def test_nothing_is_told_before_the_login(server: DemoServer) -> None:
    replies = spoken(server, b"STAT\r\nRETR 1\r\nPASS pass word\r\nDELE 1\r\nQUIT\r\n").split(b"\r\n")
    assert [reply[:3] for reply in replies[1:-1]] == [b"-ER", b"-ER", b"-ER", b"-ER", b"+OK"]


def test_an_endless_line_ends_the_session(server: DemoServer) -> None:
    with socket.create_connection((server.host, server.port), timeout=10) as line, line.makefile("rb") as replies:
        line.sendall(b"X" * 512)
        assert replies.readline().startswith(b"+OK")
        assert replies.read() == b""


def test_stop_hangs_up_and_leaves_no_thread() -> None:
    server = DemoServer(DROPS)
    server.start()
    idle = poplib.POP3(server.host, server.port, timeout=10)
    with closing(idle), login(server) as client:
        server.stop()
        with pytest.raises((poplib.error_proto, OSError)):
            client.noop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("demo-")]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((server.host, server.port), timeout=10)


def test_a_paced_server_sends_the_same_octets() -> None:
    with DemoServer(DROPS, octets_per_second=400) as server, login(server) as client:
        assert wired(client.retr(1)[1]) == ONE_WIRED
