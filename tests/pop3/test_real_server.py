"""A whole session with a real Dovecot, over each kind of line."""

from collections.abc import Callable

import pytest

from fetchd.model import Tls, TlsMode
from fetchd.pop3 import AuthenticationError, MessageRefusedError, POP3Session
from tests.servers.dovecot import Dovecot, Mailbox
from tests.servers.pki import TestAuthority

MESSAGES = [
    b"Subject: one\r\n\r\n.\r\n..dots\r\n",
    b"Subject: two\r\n\r\n" + b"line of text\r\n" * 20_000,
    b"Subject: three\r\n\r\nlast\r\n",
]


@pytest.fixture
def connect(dovecot: Dovecot, authority: TestAuthority) -> Callable[[TlsMode], POP3Session]:
    """Connects in one of three ways."""

    def make(mode: TlsMode) -> POP3Session:
        port = dovecot.tls_port if mode is TlsMode.IMPLICIT else dovecot.port
        return POP3Session.connect(dovecot.host, port, tls=Tls(mode=mode, ca_file=authority.ca_file), timeout=10.0)

    return make


@pytest.mark.parametrize("mode", TlsMode)
def test_mail_is_listed_retrieved_and_deleted(
    mode: TlsMode, connect: Callable[[TlsMode], POP3Session], mailbox: Callable[..., Mailbox]
) -> None:
    """Pipelined, with a message that is not there; what QUIT confirmed is gone at the next session."""
    box = mailbox(*MESSAGES)
    got: dict[int, bytearray] = {}

    def sink(number: int) -> Callable[[bytes], object]:
        got[number] = bytearray()
        return got[number].extend

    with connect(mode) as session:
        session.login(box.user, box.password)
        assert bool(session.tls_version) is (mode is not TlsMode.NONE)
        assert "PIPELINING" in session.capabilities()
        assert "STLS" not in session.capabilities()
        assert session.message_count() == 3
        assert [info.number for info in session.list_messages()] == [1, 2, 3]
        uids = session.unique_ids()
        assert len(set(uids.values())) == 3
        results = list(session.retrieve_each([1, 2, 9, 3], sink))
        assert [result.refused is None for result in results] == [True, True, False, True]
        assert session.retrieve_header(3)["Subject"] == "three"
        with pytest.raises(MessageRefusedError):
            session.delete_message(9)
        assert [deleted.refused for deleted in session.delete_each([1, 2])] == [None, None]
    for number, message in enumerate(MESSAGES, 1):
        assert bytes(got[number]) == message
    with connect(mode) as session:
        session.login(box.user, box.password)
        assert list(session.unique_ids().values()) == [uids[3]]


def test_wrong_password_is_an_authentication_error(
    connect: Callable[[TlsMode], POP3Session], mailbox: Callable[..., Mailbox]
) -> None:
    """``[AUTH]``, and the right one works on the same line."""
    box = mailbox(MESSAGES[0])
    with connect(TlsMode.STARTTLS) as session:
        with pytest.raises(AuthenticationError, match=r"-ERR \[AUTH\]"):
            session.login(box.user, "wrong")
        session.login(box.user, box.password)
        assert session.message_count() == 1
