"""``fetchd --once`` against servers that are not Dovecot 2.3, each with habits of its own; ``make interop`` runs this.

A relay hears what a server presents in the very session in which fetchd fetches it: that is what has to come out, byte
for byte. What each server makes of the mail that it is given is its own affair; only its Message-IDs are ours.
"""

import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.messages import mixed_messages
from tests.e2e.running import Ended, fetchd, maildir_content, write_config
from tests.interop.server import HOST, Server
from tests.interop.servers.courier import Courier
from tests.interop.servers.cyrus import Cyrus
from tests.interop.servers.inetd import Mailutils, Popa3d
from tests.interop.wiretap import Session, Wiretap

pytestmark = pytest.mark.interop

PASSWORD = "open sesame"
COUNT = 60
NOTHING_NEW = (0, "1 account: nothing new\n")


@pytest.fixture
def tap(tmp_path: Path) -> Iterator[Wiretap]:
    """Hears what goes to a server and comes from it, once its target is set."""
    with Wiretap() as wiretap:
        yield wiretap


class Poller:
    """One account of fetchd's on a server, heard by a relay."""

    def __init__(self, server: Server, user: str, *, tap: Wiretap, home: Path, leave: bool = True) -> None:
        self._home = home
        self._tap = tap
        self._maildir = home / "Maildir"
        tap.target = server.port
        line = {"host": HOST, "port": tap.port, "tls": "none", "user": user, "password": PASSWORD}
        settings = {**line, "leave_on_server": leave, "deliver": {"maildir": str(self._maildir)}}
        self._config = str(write_config(home, {"alice": settings}))

    def poll(self) -> Ended:
        return fetchd(self._home, "-c", self._config, "--once")

    @property
    def session(self) -> Session:
        """The last session that fetchd had."""
        return self._tap.sessions[-1]

    @property
    def delivered(self) -> list[bytes]:
        return maildir_content(self._maildir)


def letters(count: int = COUNT) -> list[bytes]:
    """Messages with all that POP3 can carry, but no NUL: Cyrus takes none in."""
    return [message for message in mixed_messages(count, large=False) if b"\0" not in message]


def letter(number: int) -> bytes:
    return b"From: bob@example.net\nSubject: one more\nMessage-ID: <%d@example.net>\n\nhello\n" % number


def numbers(messages: Sequence[bytes]) -> list[int]:
    """Returns the numbers in the Message-IDs that we gave the messages."""
    return sorted(int(found) for found in re.findall(rb"Message-ID: <(\d+)@example\.net>", b"\0".join(messages)))


def failure(ended: Ended) -> dict[str, Any]:
    (failed,) = [event for event in ended.events if event["event"] == "poll.failed"]
    return failed


# ── what holds for every server ──────────────────────────────────────────────────────────────────────────────────────


def test_mail_that_stays_on_the_server_comes_once_byte_for_byte(
    server: Server, user: str, tap: Wiretap, tmp_path: Path
) -> None:
    server.add_user(user, PASSWORD)
    server.put(user, *letters())
    poller = Poller(server, user, tap=tap, home=tmp_path)

    first = poller.poll()
    assert first.code == 0, first.err
    presented = poller.session.retrieved()
    assert numbers(presented) == numbers(letters())
    assert poller.delivered == sorted(presented)

    second = poller.poll()
    assert (second.code, second.out) == NOTHING_NEW, second.err
    assert poller.session.retrieved() == []
    assert len(server.messages(user)) == len(letters())

    server.put(user, letter(COUNT))
    third = poller.poll()
    assert third.code == 0, third.err
    assert numbers(poller.session.retrieved()) == [COUNT]
    assert poller.delivered == sorted(presented + poller.session.retrieved())


def test_mail_that_is_deleted_on_the_server_comes_once_byte_for_byte(
    server: Server, user: str, tap: Wiretap, tmp_path: Path
) -> None:
    server.add_user(user, PASSWORD)
    server.put(user, *letters())
    poller = Poller(server, user, tap=tap, home=tmp_path, leave=False)

    first = poller.poll()
    assert first.code == 0, first.err
    presented = poller.session.retrieved()
    assert numbers(presented) == numbers(letters())
    assert poller.delivered == sorted(presented)
    assert server.messages(user) == []

    second = poller.poll()
    assert (second.code, second.out) == NOTHING_NEW, second.err

    server.put(user, letter(COUNT))
    third = poller.poll()
    assert third.code == 0, third.err
    assert poller.delivered == sorted(presented + poller.session.retrieved())
    assert numbers(poller.delivered) == [*numbers(letters()), COUNT]
    assert server.messages(user) == []


# ── Courier ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_courier_loses_what_follows_pass(courier: Courier, user: str) -> None:
    """That it does is why the next test is worth something: RFC 2449 §6.6 lets a server that says PIPELINING do so."""
    courier.add_user(user, PASSWORD)
    with socket.create_connection((HOST, courier.port), timeout=60) as line, line.makefile("rb") as replies:
        replies.readline()
        line.sendall(f"USER {user}\r\n".encode())
        replies.readline()
        line.sendall(f"PASS {PASSWORD}\r\nNOOP\r\n".encode())
        replies.readline()
        line.sendall(b"QUIT\r\n")
        assert list(replies) == [b"+OK Bye-bye.\r\n"]


def test_nothing_is_sent_behind_a_login_until_it_is_answered(
    courier: Courier, user: str, tap: Wiretap, tmp_path: Path
) -> None:
    """Courier says that it has PIPELINING, and has it once somebody is logged in."""
    courier.add_user(user, PASSWORD)
    courier.put(user, *letters())
    poller = Poller(courier, user, tap=tap, home=tmp_path)
    assert poller.poll().code == 0
    session = poller.session
    assert any(b"\r\nPIPELINING\r\n" in (capa.lines or b"") for capa in session.exchanges(b"CAPA"))
    assert session.login().verb == b"PASS"
    assert session.sent_ahead(session.login()) == 0
    assert any(session.sent_ahead(retrieval) for retrieval in session.exchanges(b"RETR"))


def test_courier_presents_a_message_as_it_was_put(courier: Courier, user: str, tap: Wiretap, tmp_path: Path) -> None:
    """So here fetchd can be held against what was put, with no relay's word for it."""
    courier.add_user(user, PASSWORD)
    courier.put(user, *letters())
    poller = Poller(courier, user, tap=tap, home=tmp_path)
    assert poller.poll().code == 0
    assert poller.delivered == sorted(put if put.endswith(b"\n") else put + b"\n" for put in letters())


def test_a_header_in_utf_8_arrives_as_it_was_sent(courier: Courier, user: str, tap: Wiretap, tmp_path: Path) -> None:
    """RFC 6856 §2: to a client that does not say UTF8, a server may present something else; Courier does."""
    courier.add_user(user, PASSWORD)
    sent = "From: Grüße <bob@example.net>\nSubject: 你好\n\nhello\n".encode()
    courier.put(user, sent)
    poller = Poller(courier, user, tap=tap, home=tmp_path)
    assert poller.poll().code == 0
    assert poller.delivered == [sent]


# ── popa3d ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_unique_ids_are_asked_for_though_no_capa_lists_uidl(
    popa3d: Popa3d, user: str, tap: Wiretap, tmp_path: Path
) -> None:
    """RFC 2449 §6.8 came after servers that have UIDL and no CAPA."""
    popa3d.add_user(user, PASSWORD)
    popa3d.put(user, *letters(5))
    poller = Poller(popa3d, user, tap=tap, home=tmp_path)
    assert poller.poll().code == 0
    assert {capa.reply for capa in poller.session.exchanges(b"CAPA")} == {b"-ERR"}
    assert [listing.ok for listing in poller.session.exchanges(b"UIDL")] == [True]
    assert {retrieval.reply for retrieval in poller.session.exchanges(b"RETR")} == {b"+OK"}


# ── Cyrus ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_login_that_comes_too_early_is_busy_and_loses_nothing(
    cyrus: Cyrus, user: str, tap: Wiretap, tmp_path: Path
) -> None:
    """RFC 2449 §8.1.2: the password is right, so this is no reason to bother anybody about it."""
    cyrus.add_user(user, PASSWORD)
    cyrus.put(user, *letters(5))
    poller = Poller(cyrus, user, tap=tap, home=tmp_path)
    tap.target = cyrus.delayed_port
    first = poller.poll()
    assert first.code == 0, first.err
    assert numbers(poller.delivered) == numbers(letters(5))

    cyrus.put(user, letter(COUNT))
    second = poller.poll()
    assert second.code == 1
    assert failure(second)["outcome"] == "busy"
    assert "-ERR [LOGIN-DELAY]" in failure(second)["error"]
    assert numbers(poller.delivered) == numbers(letters(5))

    tap.target = cyrus.port
    third = poller.poll()
    assert third.code == 0, third.err
    assert numbers(poller.session.retrieved()) == [COUNT]
    assert numbers(poller.delivered) == [*numbers(letters(5)), COUNT]


# ── GNU mailutils ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sizes_that_change_between_sessions_bring_nothing_twice(
    mailutils: Mailutils, user: str, tap: Wiretap, tmp_path: Path
) -> None:
    """A size is a hint (RFC 1939 §11); this server writes a message's flags into its header."""
    mailutils.add_user(user, PASSWORD)
    mailutils.put(user, *letters(5))
    poller = Poller(mailutils, user, tap=tap, home=tmp_path)
    assert poller.poll().code == 0
    listed_first, *_ = poller.session.exchanges(b"LIST")  # behind it, one for each proof of being in step
    again = poller.poll()
    assert (again.code, again.out) == NOTHING_NEW, again.err
    listed_again, *_ = poller.session.exchanges(b"LIST")
    assert listed_first.lines != listed_again.lines
    assert numbers(poller.delivered) == numbers(letters(5))


def test_a_capability_line_that_makes_no_sense_is_no_obstacle(
    mailutils: Mailutils, user: str, tap: Wiretap, tmp_path: Path
) -> None:
    mailutils.add_user(user, PASSWORD)
    mailutils.put(user, letter(1))
    poller = Poller(mailutils, user, tap=tap, home=tmp_path, leave=False)
    assert poller.poll().code == 0
    assert all(b"\r\nEXPIRENEVER\r\n" in (capa.lines or b"") for capa in poller.session.exchanges(b"CAPA"))
    assert poller.session.exchanges(b"CAPA")
    assert numbers(poller.delivered) == [1]
