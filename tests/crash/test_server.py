"""The server is honest: a fault of its own would be taken for one of fetchd's."""

import poplib
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.letters import letters, user_name
from tests.crash.server import EMPTIED, CrashServer, serving

USER = user_name("client", 3)
UIDS = tuple(letter.uid for letter in letters(USER))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashServer]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


def client(server: CrashServer, password: str, *, pipelined: bool = True) -> poplib.POP3:
    pop = poplib.POP3(server.host, server.port(pipelined=pipelined), timeout=20)
    pop.user(USER)
    pop.pass_(password)
    return pop


def test_what_it_sends_is_the_letter(server: CrashServer) -> None:
    pop = client(server, "reads")
    for number, letter in enumerate(letters(USER), 1):
        assert b"\n".join(pop.retr(number)[1]) + b"\n" == letter.octets
        assert pop.uidl(number) == f"+OK {number} {letter.uid}".encode()
    pop.quit()
    assert server.record(USER, "reads").retrieved == dict.fromkeys(UIDS, 1)


def test_it_deletes_at_quit(server: CrashServer) -> None:
    pop = client(server, "quits")
    pop.dele(2)
    assert server.record(USER, "quits").left == UIDS
    pop.quit()
    assert server.record(USER, "quits").left == (UIDS[0], UIDS[2])
    again = client(server, "quits")
    assert again.stat()[0] == 2
    again.quit()


def test_a_line_that_drops_deletes_nothing(server: CrashServer) -> None:
    """RFC 1939 §6: a session that ends without QUIT does not enter the UPDATE state."""
    pop = client(server, "drops")
    pop.dele(1)
    pop.close()
    again = client(server, "drops")
    assert again.stat()[0] == 3
    again.quit()
    assert server.record(USER, "drops").gone == 1


def test_a_world_in_which_all_is_deleted(server: CrashServer) -> None:
    pop = client(server, f"x{EMPTIED}")
    assert pop.stat() == (0, 0)
    pop.quit()
    assert server.record(USER, f"x{EMPTIED}").left == ()


@pytest.mark.parametrize("pipelined", [True, False])
def test_what_comes_too_early(server: CrashServer, pipelined: bool) -> None:
    """One door takes it; the other cuts the client off, and writes it down."""
    password = f"early{pipelined}"
    pop = client(server, password, pipelined=pipelined)
    assert ("PIPELINING" in pop.capa()) == pipelined
    pop.sock.sendall(b"NOOP\r\nNOOP\r\n")
    if pipelined:
        assert pop.file.readline() + pop.file.readline() == b"+OK\r\n+OK\r\n"
        pop.quit()
    else:
        with pytest.raises((poplib.error_proto, ConnectionError)):
            pop.stat()
        pop.close()
    assert bool(server.record(USER, password).pipelined) is not pipelined


def test_it_serves_others_while_one_is_silent(server: CrashServer, tmp_path: Path) -> None:
    with closing(socket.create_connection((server.host, server.lockstep_port), timeout=20)):
        pop = client(server, "patient")
        assert pop.stat()[0] == 3
        pop.quit()
