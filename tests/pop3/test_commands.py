"""Commands as values."""

import pytest

from fetchd.errors import UsageError
from fetchd.pop3.commands import CAPA, LIST, QUIT, Command, ReplyKind, by_hand, dele, password, retr, top, user


@pytest.mark.parametrize(
    ("command", "wire"),
    [
        (QUIT, b"QUIT\r\n"),
        (user(b"joe"), b"USER joe\r\n"),
        (password(b" two  words "), b"PASS  two  words \r\n"),
        (password("pässwörd".encode()), "PASS pässwörd\r\n".encode()),
        (retr(5), b"RETR 5\r\n"),
        (top(5, 0), b"TOP 5 0\r\n"),
        (dele(42), b"DELE 42\r\n"),
    ],
)
def test_command_is_one_line(command: Command, wire: bytes) -> None:
    """RFC 1939 §3; FAULTS 87: blanks in a password stay."""
    assert command.encode() == wire
    assert command.octets == len(wire)


@pytest.mark.parametrize("octet", [b"\r", b"\n", b"\0", b"\r\nDELE 1\r\n"])
def test_line_ends_and_nul_are_refused_in_an_argument(octet: bytes) -> None:
    """FAULTS 88: no command can be smuggled in; the secret is not in the message."""
    with pytest.raises(UsageError) as caught:
        password(b"s3cret" + octet)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("verb", ["", "A B", "LIST\r\nDELE", "ÄÖ", "retr", "X" * 41])
def test_verb_is_a_keyword(verb: str) -> None:
    """RFC 1939 §3."""
    with pytest.raises(UsageError):
        Command(verb)


@pytest.mark.parametrize("verb", ["PASS", "APOP", "AUTH"])
def test_secrets_are_not_shown(verb: str) -> None:
    """FAULTS 89: neither by str nor by repr."""
    command = Command(verb, b"s3cret")
    assert str(command) == f"{verb} ***"
    assert "s3cret" not in f"{command} {command!r}"


def test_command_shows_what_it_asks_for() -> None:
    """For messages; escaped, since a user's name may hold anything."""
    assert str(retr(5)) == "RETR 5"
    assert str(QUIT) == "QUIT"
    assert str(user(b"\x1b[31m")) == "USER \\x1b[31m"


@pytest.mark.parametrize("number", [0, -1])
def test_message_numbers_begin_with_one(number: int) -> None:
    """RFC 1939 §5."""
    for make in (retr, dele, lambda wrong: top(wrong, 0)):
        with pytest.raises(UsageError, match="not a message number"):
            make(number)


def test_kinds_of_reply() -> None:
    """What follows a positive status line."""
    assert {command.kind for command in (CAPA, LIST)} == {ReplyKind.LINES}
    assert {command.kind for command in (retr(1), top(1, 0))} == {ReplyKind.BODY}
    assert {command.kind for command in (dele(1), QUIT, user(b"a"))} == {ReplyKind.LINE}


def test_command_by_hand_takes_any_arguments() -> None:
    """POCO's sendCommand; an argument may be text, octets or a number."""
    assert by_hand("xfoo", "a", b"b", 3).encode() == b"XFOO a b 3\r\n"
    assert by_hand("LIST", 1).kind is ReplyKind.LINE
    assert by_hand("noop").encode() == b"NOOP\r\n"


@pytest.mark.parametrize(
    "verb", ["retr", "TOP", "capa", "LIST", "UIDL", "USER", "PASS", "APOP", "AUTH", "STLS", "QUIT"]
)
def test_command_with_its_own_method_is_not_sent_by_hand(verb: str) -> None:
    """Its reply has many lines, or it changes the session: the line would come out of step."""
    with pytest.raises(UsageError, match="use "):
        by_hand(verb)
