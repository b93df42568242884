"""An access token goes by a mechanism for tokens or not at all, at a real server that would take it as a password."""

import pytest

from fetchd.errors import PolicyError, UsageError
from fetchd.pop3.session import POP3Session
from tests.conftest import MakeMailbox
from tests.servers.dovecot import Dovecot


def test_a_server_without_a_way_for_tokens_is_not_shown_one(dovecot: Dovecot, mailbox: MakeMailbox) -> None:
    box = mailbox(password="a-token")
    with POP3Session.connect(dovecot.host, dovecot.port, tls="none") as session:
        with pytest.raises(PolicyError, match="none of OAUTHBEARER, XOAUTH2 cannot be used"):
            session.login(box.user, "a-token", is_token=True)
        session.login(box.user, "a-token")


@pytest.mark.parametrize("way", ["PLAIN", "LOGIN", "USER", "APOP", "SCRAM-SHA-256", "EXTERNAL"])
def test_nor_is_one_that_is_asked_to_take_it_as_a_password(dovecot: Dovecot, mailbox: MakeMailbox, way: str) -> None:
    box = mailbox(password="a-token")
    with (
        POP3Session.connect(dovecot.host, dovecot.port, tls="none") as session,
        pytest.raises(UsageError, match=f'no way to log in with this is called "{way}"'),
    ):
        session.login(box.user, "a-token", is_token=True, mechanism=way)
