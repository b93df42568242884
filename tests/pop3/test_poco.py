"""POCO's eight test cases for POP3ClientSession, one twin each (FACTS §2)."""

from email.message import EmailMessage

import pytest

from fetchd.errors import (
    AuthenticationError,
)
from fetchd.model import MessageInfo
from fetchd.pop3 import POP3Session
from fetchd.pop3.framing import encode_body
from tests.pop3.scripts import LOGIN, QUIT, logged_in
from tests.servers.scripted import Expect, ScriptedServer, Send

HEADER = b"From: john.doe@no.where\r\nTo: jane.doe@no.where\r\nSubject: test\r\n"
HEADERS = HEADER + b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n"
CONTENT = b"Hello Jane,\r\n\r\nblah blah blah...\r\n...\r\n\r\nYours, John\r\n"


def test_poco_login() -> None:
    """FACTS §2: exactly these commands."""
    with ScriptedServer([*LOGIN, *QUIT]) as server:
        session = POP3Session.connect(server.host, server.port)
        session.login("user", "secret", mechanism="USER")
        session.quit()
    assert server.lines == [b"USER user", b"PASS secret", b"QUIT"]


def test_poco_login_fail() -> None:
    """FACTS §2: and the session can still be ended."""
    with ScriptedServer([*LOGIN[:-1], Send(b"-ERR PASS\r\n"), *QUIT]) as server:
        session = POP3Session.connect(server.host, server.port)
        with pytest.raises(AuthenticationError, match="-ERR PASS"):
            session.login("user", "secret", mechanism="USER")
        session.quit()


def test_poco_message_count() -> None:
    """FACTS §2: and the size that POCO drops."""
    script = [*LOGIN, Expect(b"STAT"), Send(b"+OK 42 12345\r\n"), Expect(b"STAT"), Send(b"+OK 42 12345\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert session.message_count() == 42
        assert session.stat() == (42, 12345)


def test_poco_list() -> None:
    """FACTS §2."""
    script = [*LOGIN, Expect(b"LIST"), Send(b"+OK messages\r\n1 1234\r\n2 5678\r\n3 987\r\n.\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert session.list_messages() == [MessageInfo(1, 1234), MessageInfo(2, 5678), MessageInfo(3, 987)]


def test_poco_retrieve_message() -> None:
    """FACTS §2: the dots are unstuffed, the line ends are CRLF."""
    script = [*LOGIN, Expect(b"RETR 1"), Send(b"+OK\r\n" + encode_body(HEADERS + b"\r\n" + CONTENT)), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        message = session.retrieve_message(1)
    assert isinstance(message, EmailMessage)
    assert message.get_content().encode() == CONTENT
    assert message.as_bytes() == HEADERS + b"\r\n" + CONTENT


def test_poco_retrieve_header() -> None:
    """FACTS §2."""
    script = [*LOGIN, Expect(b"TOP 1 0"), Send(b"+OK\r\n" + HEADER + b"\r\n.\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        header = session.retrieve_header(1)
    assert header.items() == [("From", "john.doe@no.where"), ("To", "jane.doe@no.where"), ("Subject", "test")]


def test_poco_retrieve_messages() -> None:
    """FACTS §2: a header, then a message, in one session; here the server sends too many lines for TOP (poco#107)."""
    script = [
        *LOGIN,
        Expect(b"TOP 1 0"),
        Send(b"+OK\r\n" + HEADER + b"\r\nextra: line\r\n..\r\n.\r\n"),
        Expect(b"RETR 2"),
        Send(b"+OK\r\n" + encode_body(HEADERS + b"\r\n" + CONTENT)),
        *QUIT,
    ]
    with ScriptedServer(script) as server, logged_in(server) as session:
        assert session.retrieve_header(1)["Subject"] == "test"
        assert session.retrieve_message(2).get_content().encode() == CONTENT


def test_poco_delete_message() -> None:
    """FACTS §2."""
    script = [*LOGIN, Expect(b"DELE 42"), Send(b"+OK DELETED\r\n"), *QUIT]
    with ScriptedServer(script) as server, logged_in(server) as session:
        session.delete_message(42)
