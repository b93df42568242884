"""What is in the maildrop, asked in one go where the server can, and step by step where it cannot."""

import pytest

from fetchd.errors import NetworkError, POP3Error, ProtocolError
from fetchd.pop3 import POP3Session
from fetchd.pop3.memory import ServerMemory
from fetchd.ports import Survey
from tests.pop3.scripts import LOGIN, NO_PIPELINING, OK, PIPELINING, QUIT, Mail
from tests.servers.scripted import Close, Expect, ScriptedServer, Send, Silence, Step

ANSWERS = b"+OK 2 300\r\n+OK\r\n1 one\r\n2 two\r\n.\r\n+OK\r\n1 100\r\n2 200\r\n.\r\n"
FOUND = Survey(2, 300, {1: b"one", 2: b"two"}, {1: 100, 2: 200})


def surveyed(server: ScriptedServer, memory: ServerMemory, *, timeout: float = 20.0) -> Survey:
    with POP3Session.connect(server.host, server.port, memory=memory, timeout=timeout) as session:
        session.login("user", "secret", mechanism="USER")
        return session.survey()


ASKED: list[Step] = [Expect(b"STAT"), Expect(b"UIDL"), Expect(b"LIST")]


def test_all_three_are_asked_before_the_first_answer() -> None:
    """RFC 2449 §6.8: one round trip."""
    memory = ServerMemory()
    with ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(ANSWERS), *QUIT]) as server:
        assert surveyed(server, memory) == FOUND
    assert memory.is_pipelining


def test_a_server_without_pipelining_is_asked_step_by_step() -> None:
    steps: list[Step] = []
    for line, answer in zip((b"STAT", b"UIDL", b"LIST"), ANSWERS.split(b"+OK")[1:], strict=True):
        steps += [Expect(line, alone=True), Send(b"+OK" + answer)]
    with ScriptedServer([*LOGIN, *NO_PIPELINING, *steps, *QUIT]) as server:
        assert surveyed(server, ServerMemory()) == FOUND


def test_a_refused_uidl_is_told_and_the_rest_stays_in_step() -> None:
    """FAULTS 38."""
    answers = b"+OK 1 100\r\n-ERR unknown command\r\n+OK\r\n1 100\r\n.\r\n"
    with ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(answers), *QUIT]) as server:
        found = surveyed(server, ServerMemory())
    assert (found.uids, found.sizes) == (None, {1: 100})
    assert "unknown command" in str(found.no_uidl)


def test_a_refused_stat_is_an_error() -> None:
    with (
        ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(b"-ERR [SYS/TEMP] later\r\n"), Close()]) as server,
        pytest.raises(POP3Error, match="STAT failed"),
    ):
        surveyed(server, ServerMemory())


def test_one_reply_too_few_is_never_a_shift() -> None:
    """FAULTS 50: LIST's lines are no answer to UIDL."""
    answers = b"+OK 1 100\r\n+OK\r\n1 100\r\n.\r\n"
    with (
        ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(answers), Close()]) as server,
        pytest.raises(NetworkError, match="reply to LIST is incomplete"),
    ):
        surveyed(server, ServerMemory())


def test_one_reply_too_many_is_an_error() -> None:
    """FAULTS 50."""
    with (
        ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(ANSWERS + b"+OK\r\n"), Silence()]) as server,
        pytest.raises(ProtocolError, match="no command asked for"),
    ):
        surveyed(server, ServerMemory())


def test_a_server_that_loses_what_comes_early_is_asked_step_by_step_from_then_on() -> None:
    """FAULTS 47: PIPELINING is advertised, and the input is dropped after each command; remembered."""
    memory = ServerMemory()
    lying = [*LOGIN, *PIPELINING, *ASKED, Send(b"+OK 2 300\r\n"), Silence()]
    steps: list[Step] = []
    for line, answer in zip((b"STAT", b"UIDL", b"LIST"), ANSWERS.split(b"+OK")[1:], strict=True):
        steps += [Expect(line, alone=True), Send(b"+OK" + answer)]
    with ScriptedServer(lying, [*LOGIN, *PIPELINING, *steps, *QUIT]) as server:
        with pytest.raises(NetworkError):
            surveyed(server, memory, timeout=0.2)
        assert memory.is_lock_step
        assert surveyed(server, memory) == FOUND


def test_a_line_that_breaks_later_is_not_blamed_on_pipelining() -> None:
    memory = ServerMemory()
    script = [*LOGIN, *PIPELINING, *ASKED, Send(ANSWERS), Expect(b"RETR 1"), Expect(b"RETR 2"), Close()]
    with ScriptedServer(script) as server:
        session = POP3Session.connect(server.host, server.port, memory=memory)
        session.login("user", "secret", mechanism="USER")
        session.survey()
        with pytest.raises(NetworkError):
            list(session.retrieve_each([1, 2], Mail()))
        session.close()
    assert not memory.is_lock_step


def test_deletions_that_are_lost_early_are_blamed_on_pipelining() -> None:
    """FAULTS 47."""
    memory = ServerMemory()
    with ScriptedServer([*LOGIN, *PIPELINING, Expect(b"DELE 1"), Expect(b"DELE 2"), OK, Silence()]) as server:
        session = POP3Session.connect(server.host, server.port, memory=memory, timeout=0.2)
        session.login("user", "secret", mechanism="USER")
        with pytest.raises(NetworkError):
            list(session.delete_each([1, 2]))
        session.close()
    assert memory.is_lock_step
