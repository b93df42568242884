"""Logging in: what is sent, what is not, and what a refusal means."""

import pytest

from fetchd.errors import (
    AuthenticationError,
    LoginDelayError,
    MailboxBusyError,
    POP3Error,
    Retry,
    SecretError,
    TlsError,
    UsageError,
)
from fetchd.model import Secret
from fetchd.pop3 import POP3Session
from tests.pop3.scripts import GREETING, LOGIN, OK, QUIT, logged_in, over_the_hills
from tests.servers.scripted import Expect, ScriptedServer, Send


@pytest.mark.parametrize("password", ["secret", b"secret", Secret(b"secret")])
def test_password_may_be_text_octets_or_a_secret(password: str | bytes | Secret) -> None:
    """As the caller has it."""
    with ScriptedServer([*LOGIN, *QUIT]) as server, POP3Session.connect(server.host, server.port) as session:
        session.login(b"user", password, mechanism="USER")


@pytest.mark.parametrize("password", [" two  words ", "pässwörd", "100% \"quoted\" 'x'", "x" * 500])
def test_password_is_sent_as_it_is(password: str) -> None:
    """FAULTS 87."""
    script = [GREETING, Expect(b"USER user"), OK, Expect(b"PASS " + password.encode()), OK, *QUIT]
    with ScriptedServer(script) as server, POP3Session.connect(server.host, server.port) as session:
        session.login("user", password, mechanism="USER")


@pytest.mark.parametrize("octet", ["\r", "\n", "\0"])
def test_password_that_no_command_can_carry_is_refused(octet: str) -> None:
    """FAULTS 88: before anything is sent, and it is not shown."""
    with ScriptedServer([GREETING]) as server:
        session = POP3Session.connect(server.host, server.port)
        with pytest.raises(SecretError) as caught:
            session.login("user", f"s3cret{octet}DELE 1", mechanism="USER")
        with pytest.raises(UsageError):
            session.login(f"user{octet}DELE 1", "secret", mechanism="USER")
        session.close()
    assert "s3cret" not in str(caught.value)
    assert server.received == b""


def test_password_is_not_told_where_the_user_is_refused() -> None:
    """Lock-step."""
    with ScriptedServer([GREETING, Expect(b"USER user"), Send(b"-ERR no such user\r\n")]) as server:
        session = POP3Session.connect(server.host, server.port)
        with pytest.raises(AuthenticationError, match="no such user"):
            session.login("user", "secret", mechanism="USER")
        session.close()


@pytest.mark.parametrize(
    ("line", "kind", "retry"),
    [
        (b"-ERR [AUTH] Authentication failed.", AuthenticationError, Retry.HOLD),
        (b"-ERR authentication failed", AuthenticationError, Retry.LATER),
        (b"-ERR [IN-USE] Mailbox is locked by another POP3 session.", MailboxBusyError, Retry.SOON),
        (b"-ERR [LOGIN-DELAY] Logins must be at least 1 minute apart", LoginDelayError, Retry.LATER),
        (b"-ERR [SYS/TEMP] Temporary authentication failure.", POP3Error, Retry.SOON),
    ],
)
def test_refused_login_says_what_it_means(line: bytes, kind: type[POP3Error], retry: Retry) -> None:
    """FAULTS 4, 86; the password is nowhere in the error (FAULTS 89)."""
    with ScriptedServer([*LOGIN[:-1], Send(line + b"\r\n")]) as server:
        session = POP3Session.connect(server.host, server.port)
        with pytest.raises(POP3Error) as caught:
            session.login("user", "secret", mechanism="USER")
        session.close()
    assert (type(caught.value), caught.value.retry) == (kind, retry)
    assert "secret" not in f"{caught.value} {caught.value.reply}"


def test_no_password_goes_over_a_plain_line() -> None:
    """FAULTS 79: refused before an octet of a credential, the user's name included; a human has to act."""
    with ScriptedServer([GREETING]) as server:
        session = over_the_hills(server)
        with pytest.raises(TlsError, match="not encrypted") as caught:
            session.login("user", "secret", mechanism="USER")
        session.close()
    assert caught.value.retry is Retry.HOLD
    assert server.received == b""


def test_password_goes_over_a_plain_line_when_that_is_asked_for() -> None:
    """``allow_plaintext_password``."""
    with ScriptedServer([*LOGIN, *QUIT]) as server, over_the_hills(server) as session:
        session.login("user", "secret", mechanism="USER", allow_plaintext=True)


def test_logging_in_twice_is_a_mistake_of_ours() -> None:
    """And harms nothing."""
    with ScriptedServer([*LOGIN, *QUIT]) as server, logged_in(server) as session, pytest.raises(UsageError):
        session.login("user", "secret", mechanism="USER")
