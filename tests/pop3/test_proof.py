"""Retrieving with proof: no message is ever taken for another, however often the server answers."""

import pytest

from fetchd.errors import NetworkError, ProtocolError
from fetchd.pop3 import POP3Session
from fetchd.pop3.framing import encode_body
from fetchd.ports import InStep, Retrieved
from tests.pop3.scripts import LOGIN, NO_PIPELINING, OK, PIPELINING, QUIT, Mail
from tests.servers.scripted import Expect, ScriptedServer, Send, Silence, Step

ONE, TWO, THREE = (b"Subject: %d\r\n\r\n" % number for number in (1, 2, 3))


def body(message: bytes) -> bytes:
    return b"+OK\r\n" + encode_body(message)


def retrieved(server: ScriptedServer, *, proofs: set[int], timeout: float = 20.0) -> tuple[list, dict[int, bytes]]:
    mail = Mail()
    with POP3Session.connect(server.host, server.port, timeout=timeout) as session:
        session.login("user", "secret", mechanism="USER")
        items = list(session.retrieve_proven([1, 2, 3], mail, proofs=proofs))
    return items, mail.messages()


ASKED: list[Step] = [Expect(b"RETR 1"), Expect(b"RETR 2"), Expect(b"LIST 2"), Expect(b"RETR 3"), Expect(b"LIST 3")]
FOUND = [Retrieved(1, 14), Retrieved(2, 14), InStep(), Retrieved(3, 14), InStep()]


def test_the_proof_is_asked_for_in_the_same_breath() -> None:
    """LIST n behind RETR n costs no round trip where the server pipelines."""
    answers = body(ONE) + body(TWO) + b"+OK 2 14\r\n" + body(THREE) + b"+OK 3 14\r\n"
    with ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(answers), *QUIT]) as server:
        assert retrieved(server, proofs={2, 3}) == (FOUND, {1: ONE, 2: TWO, 3: THREE})


def test_in_lock_step_it_is_asked_for_one_by_one() -> None:
    replies = [body(ONE), body(TWO), b"+OK 2 14\r\n", body(THREE), b"+OK 3 14\r\n"]
    steps: list[Step] = []
    for asked, reply in zip(ASKED, replies, strict=True):
        assert isinstance(asked, Expect)
        steps += [Expect(asked.line, alone=True), Send(reply)]
    with ScriptedServer([*LOGIN, *NO_PIPELINING, *steps, *QUIT]) as server:
        assert retrieved(server, proofs={2, 3})[0] == FOUND


def test_a_reply_that_came_twice_is_noticed_though_all_are_of_one_size() -> None:
    """FAULTS 50: the lost-mail case: bodies under each other's unique-ids."""
    answers = body(ONE) + body(ONE) + body(TWO) + b"+OK 2 14\r\n"
    with (
        ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(answers), Silence()]) as server,
        pytest.raises(ProtocolError, match=r"not a POP3 reply|names another message"),
    ):
        retrieved(server, proofs={2, 3})


def test_an_answer_about_another_message_is_noticed() -> None:
    with (
        ScriptedServer(
            [*LOGIN, *PIPELINING, *ASKED, Send(body(ONE) + body(TWO) + b"+OK 1 14\r\n"), Silence()]
        ) as server,
        pytest.raises(ProtocolError, match="reply to LIST 2: it names another message"),
    ):
        retrieved(server, proofs={2, 3})


def test_a_reply_that_never_came_is_noticed() -> None:
    """FAULTS 50: the answer to LIST would begin a message."""
    answers = body(ONE) + b"+OK 2 14\r\n" + body(THREE) + b"+OK 3 14\r\n"
    with (
        ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(answers), Silence()]) as server,
        pytest.raises((ProtocolError, NetworkError)),
    ):
        retrieved(server, proofs={2, 3}, timeout=0.2)


def test_a_refused_proof_proves_nothing_and_breaks_nothing() -> None:
    """A server may have deleted what was retrieved (EXPIRE 0)."""
    answers = body(ONE) + body(TWO) + b"-ERR no such message\r\n" + body(THREE) + b"+OK 3 14\r\n"
    with ScriptedServer([*LOGIN, *PIPELINING, *ASKED, Send(answers), *QUIT]) as server:
        items, _ = retrieved(server, proofs={2, 3})
    assert items == [Retrieved(1, 14), Retrieved(2, 14), InStep(proven=False), Retrieved(3, 14), InStep()]


def test_being_in_step_is_shown_by_a_noop_with_nothing_behind_it() -> None:
    good = [*LOGIN, Expect(b"NOOP"), OK, *QUIT]
    bad = [*LOGIN, Expect(b"NOOP"), Send(b"+OK\r\n+OK\r\n"), Silence()]
    with ScriptedServer(good, bad) as server:
        with POP3Session.connect(server.host, server.port) as session:
            session.login("user", "secret", mechanism="USER")
            session.check_in_step()
        session = POP3Session.connect(server.host, server.port)
        session.login("user", "secret", mechanism="USER")
        with pytest.raises(ProtocolError, match="no command asked for"):
            session.check_in_step()
        session.close()
