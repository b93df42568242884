"""What -ERR means."""

import pytest

from fetchd.errors import (
    AuthenticationError,
    LoginDelayError,
    MailboxBusyError,
    MessageRefusedError,
    POP3Error,
    Retry,
)
from fetchd.pop3.refusals import refusal, refused_greeting, refused_login, refused_message
from fetchd.pop3.replies import parse_status

CODES = [
    (b"-ERR [AUTH] wrong", AuthenticationError, Retry.HOLD),
    (b"-ERR [IN-USE] locked", MailboxBusyError, Retry.SOON),
    (b"-ERR [in-use]", MailboxBusyError, Retry.SOON),
    (b"-ERR [LOGIN-DELAY] Logins must be at least 1 minute apart", LoginDelayError, Retry.LATER),
    (b"-ERR [SYS/TEMP] wrong password, perhaps", POP3Error, Retry.SOON),
    (b"-ERR [sys/perm] no such mailbox is in use", POP3Error, Retry.LATER),
    (b"-ERR [SYS] hm", POP3Error, Retry.SOON),
]


@pytest.mark.parametrize(("line", "kind", "retry"), CODES)
def test_response_code_says_what_a_refusal_is(line: bytes, kind: type[POP3Error], retry: Retry) -> None:
    """RFC 2449 §8.1, RFC 3206; FAULTS 4, 86: to whatever command, in any case, whatever the words are."""
    for make in (refusal, refused_login, refused_greeting):
        error = make(parse_status(line), "x failed")
        assert (type(error), error.retry) == (kind, retry)


@pytest.mark.parametrize(
    ("text", "kind", "retry"),
    [
        (b"", AuthenticationError, Retry.LATER),
        (b"authentication failed", AuthenticationError, Retry.LATER),
        (b"Logon failure: unknown user name or bad password.", AuthenticationError, Retry.LATER),
        (b"invalid user or password; contact the blockchain", AuthenticationError, Retry.LATER),
        (b"account locked", AuthenticationError, Retry.LATER),
        (b"Your account is locked", AuthenticationError, Retry.LATER),
        (b"Account has been temporarily locked", AuthenticationError, Retry.LATER),
        (b"Account was locked after failed logins", AuthenticationError, Retry.LATER),
        (b"user locked out", AuthenticationError, Retry.LATER),
        (b"[unknown] password wrong", AuthenticationError, Retry.LATER),
        (b"maildrop already locked", MailboxBusyError, Retry.SOON),
        (b"unable to lock maildrop", MailboxBusyError, Retry.SOON),
        (b"Mailbox is locked by another POP3 session", MailboxBusyError, Retry.SOON),
        (b"locked", MailboxBusyError, Retry.SOON),
        (b"Mailbox in use", MailboxBusyError, Retry.SOON),
        (b"duplicate login!", MailboxBusyError, Retry.SOON),
        (b"mailbox BUSY", MailboxBusyError, Retry.SOON),
        (b"Exceeded the login limit for a 15 minute period. Reduce the frequency", LoginDelayError, Retry.LATER),
        (b"Logins must be at least 1 minute apart", LoginDelayError, Retry.LATER),
        (b"login interval too small; 15 minutes apart, please", LoginDelayError, Retry.LATER),
        (b"too many connections from your IP", LoginDelayError, Retry.LATER),
        (b"Too many failed logins", LoginDelayError, Retry.LATER),
        (b"Temporary authentication failure", POP3Error, Retry.SOON),
        (b"internal server error", POP3Error, Retry.SOON),
        (b"Service unavailable, try again later", POP3Error, Retry.SOON),
    ],
)
def test_words_say_what_a_refused_login_is_without_a_code(text: bytes, kind: type[POP3Error], retry: Retry) -> None:
    """FACTS §5, FAULTS 86: not everything that is refused is a wrong password."""
    error = refused_login(parse_status(b"-ERR " + text), "x failed")
    assert (type(error), error.retry) == (kind, retry)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", POP3Error),
        (b"go away", POP3Error),
        (b"too many connections", LoginDelayError),
        (b"mailbox locked", MailboxBusyError),
    ],
)
def test_refused_greeting_is_never_about_the_password(text: bytes, kind: type[POP3Error]) -> None:
    """Nobody was asked for one."""
    assert type(refused_greeting(parse_status(b"-ERR " + text), "x")) is kind


def test_words_mean_nothing_to_other_commands() -> None:
    """Only a login says in words what has a code."""
    assert type(refusal(parse_status(b"-ERR message 3 is locked"), "x")) is POP3Error


@pytest.mark.parametrize("line", [line for line, _, _ in CODES] + [b"-ERR no such message"])
def test_refused_message_is_about_the_message(line: bytes) -> None:
    """FAULTS 27: whatever the server says, the session is in step."""
    assert type(refused_message(parse_status(line), "x")) is MessageRefusedError


def test_error_quotes_the_server_and_carries_its_reply() -> None:
    """FAULTS 8: escaped and capped."""
    reply = parse_status(b"-ERR [AUTH] no\x1b[31m" + b"\xff" * 3000)
    error = refused_login(reply, "pop.x:995: the login was refused")
    assert str(error).startswith("pop.x:995: the login was refused: -ERR [AUTH] no\\x1b[31m\\xff")
    assert len(str(error)) < 300
    assert error.reply is reply


def test_bare_refusal_reads_well() -> None:
    """popa3d says nothing but -ERR."""
    assert str(refusal(parse_status(b"-ERR"), "STAT failed")) == "STAT failed: -ERR"
