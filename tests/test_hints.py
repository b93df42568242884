"""fetchd.hints: what a failure means, by provider and kind."""

import pytest

from fetchd.errors import (
    AccountError,
    AuthenticationError,
    DeliveryError,
    LoginDelayError,
    MailboxBusyError,
    NetworkError,
    PolicyError,
    TlsError,
)
from fetchd.hints import hint
from fetchd.model import Reply

NO = Reply(ok=False, text=b"authentication failed")
REFUSED = AuthenticationError("pop.x:995: the login by PLAIN was refused: -ERR authentication failed", NO)
TOO_SOON = LoginDelayError("pop.x:995: the login by PLAIN was refused: -ERR [LOGIN-DELAY] wait", NO)
BUSY = MailboxBusyError("pop.x:995: the login by PLAIN was refused: -ERR [IN-USE] locked", NO)
NO_TOKEN = AuthenticationError("pop.x:995: the login by XOAUTH2 was refused: -ERR [AUTH] no", NO)
NO_STLS = TlsError("pop.x:110: the server does not offer STLS, and nothing goes on in plain text")
PLAIN = TlsError("pop.x:110: the server speaks plain POP3 on this port, not TLS: use tls: starttls, or port 995")
TLS_PORT = NetworkError("pop.x:995: the greeting took longer than 5 s (port 995 speaks TLS: use tls: implicit)")
AWAY = NetworkError("pop.x:995: cannot connect: 192.0.2.1: Connection refused")
NO_NAME = NetworkError("pop.x:995: the name cannot be resolved: Name or service not known")
NO_WAY = PolicyError("the server offers XOAUTH2: PLAIN cannot be used with it on this line")

TABLE: list[tuple[str, AccountError | str, str]] = [
    ("pop.gmx.net", REFUSED, "switched off"),
    ("pop.gmx.net", str(REFUSED), "switched off"),
    ("pop.gmx.com", REFUSED, "switched off"),
    ("POP3.web.de.", REFUSED, "15 minutes"),
    ("pop3.web.de", TOO_SOON, "set interval: 15m"),
    ("pop3.web.de", str(TOO_SOON), "set interval: 15m"),
    ("pop.gmail.com", REFUSED, "app password"),
    ("pop.gmail.com", TOO_SOON, "set interval: 10m"),
    ("ssl0.ovh.net", TOO_SOON, "every minute: set interval: 1m"),
    ("outlook.office365.com", REFUSED, "only OAuth (fetchd login)"),
    ("outlook.office365.com", NO_WAY, "only OAuth (fetchd login)"),
    ("pop.mail.yahoo.com", REFUSED, "app password"),
    ("pop.qq.com", REFUSED, "authorisation code"),
    ("pop.gmx.net", NO_STLS, "GMX has its POP3 at pop.gmx.net, port 995, with tls: implicit."),
    ("pop.gmx.net", PLAIN, "GMX has its POP3 at pop.gmx.net, port 995, with tls: implicit."),
    ("pop.gmx.net", TLS_PORT, "GMX has its POP3 at pop.gmx.net, port 995, with tls: implicit."),
    ("imap.gmail.com", AWAY, "Gmail has its POP3 at pop.gmail.com"),
    ("gmx.de", NO_NAME, "GMX has its POP3 at pop.gmx.net"),
    ("imap.mail.me.com", AWAY, "iCloud Mail has no POP3"),
    ("pop.proton.me", NO_NAME, "Proton Mail has no POP3"),
    ("pop.gmail.com", NO_TOKEN, "its mail server refuses it: see that POP is on"),
    ("outlook.office365.com", str(NO_TOKEN), "its mail server refuses it: see that POP is on"),
    ("pop.example.org", NO_TOKEN, "user is the address with which somebody logged in."),
]


@pytest.mark.parametrize(("host", "error", "expected"), TABLE)
def test_a_known_provider_has_a_sentence_for_what_it_is_known_for(
    host: str, error: AccountError | str, expected: str
) -> None:
    said = hint(host, error)
    assert expected in said
    assert said.endswith(".") or "set interval" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("pop.example.org", REFUSED),
        ("pop.example.org", AWAY),
        ("com", AWAY),
        ("", AWAY),
        ("192.0.2.1", AWAY),
        ("pop.gmx.net", AWAY),  # the right server, and away: nothing about GMX helps
        ("pop.gmx.net", BUSY),
        ("pop.gmx.net", MailboxBusyError("pop.x:995: the login by PLAIN was refused: -ERR already logged on", NO)),
        ("pop.gmx.net", TOO_SOON),  # no limit of GMX's is known
        ("pop.gmx.net", DeliveryError("the disk is full")),
        ("pop.gmx.net", "the disk is full"),
        ("imap.gmail.com", REFUSED),
        ("unix:/run/pop.gmail.com", AWAY),
    ],
)
def test_nothing_is_said_where_nothing_is_known(host: str, error: AccountError | str) -> None:
    assert hint(host, error) == ""


def test_a_server_that_is_busy_is_not_told_from_its_text_as_a_refusal() -> None:
    """The store keeps the text alone, which says that the login was refused."""
    assert hint("pop.gmx.net", str(BUSY)) == ""
