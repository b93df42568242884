"""One line from a server, and what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ProtocolError
from fetchd.model import Reply, UniqueId
from fetchd.pop3.replies import (
    is_positive,
    parse_capabilities,
    parse_listing,
    parse_stat,
    parse_status,
    parse_unique_id,
    reject_tls_record,
)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"+OK", Reply(ok=True)),
        (b"+OK ", Reply(ok=True)),
        (b"+ok", Reply(ok=True)),
        (b"+Ok hello", Reply(ok=True, text=b"hello")),
        (b"+OK   hello  world ", Reply(ok=True, text=b"hello  world ")),
        (b"-ERR", Reply(ok=False)),
        (b"-err no", Reply(ok=False, text=b"no")),
        (b"+OK \xc3\xa4\x1b[31m\x07\rx", Reply(ok=True, text=b"\xc3\xa4\x1b[31m\x07\rx")),
        (b"-ERR [IN-USE] locked", Reply(ok=False, text=b"locked", code="IN-USE")),
        (b"-ERR [SYS/TEMP] later", Reply(ok=False, text=b"later", code="SYS/TEMP")),
        (b"-ERR [sys/perm]", Reply(ok=False, code="SYS/PERM")),
        (b"+OK [Login-Delay] in", Reply(ok=True, text=b"in", code="LOGIN-DELAY")),
        (b"-ERR  [AUTH]no", Reply(ok=False, text=b"no", code="AUTH")),
        (b"-ERR [] no", Reply(ok=False, text=b"[] no")),
        (b"-ERR [not a code] no", Reply(ok=False, text=b"[not a code] no")),
        (b"-ERR [AUTH", Reply(ok=False, text=b"[AUTH")),
        (b"-ERR no [AUTH]", Reply(ok=False, text=b"no [AUTH]")),
    ],
)
def test_status_line_is_read(line: bytes, reply: Reply) -> None:
    """RFC 1939 §3, RFC 2449 §8; FAULTS 4, 6, 8: any case, a bare indicator, codes in either kind of reply."""
    assert parse_status(line) == reply


@pytest.mark.parametrize(
    "line", [b"", b"+", b"+O", b"OK", b"+OKAY", b"+OK\t", b"+NOPE", b"ERR", b"-ERROR", b" +OK", b"."]
)
def test_anything_else_is_no_status_line(line: bytes) -> None:
    """FAULTS 6."""
    with pytest.raises(ProtocolError, match="not a POP3 reply"):
        parse_status(line)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        (b"* OK IMAP4rev1 ready", "IMAP"),
        (b"220 mx.example.org ESMTP", "SMTP"),
        (b"220-mx.example.org ESMTP", "SMTP"),
        (b"HTTP/1.1 400 Bad Request", "web server"),
        (b"SSH-2.0-OpenSSH_9.2", "SSH"),
    ],
)
def test_error_names_the_likely_mistake(line: bytes, mistake: str) -> None:
    """FAULTS 5."""
    with pytest.raises(ProtocolError, match=mistake):
        parse_status(line)


def test_tls_record_is_known_by_its_first_octet() -> None:
    """FAULTS 5: its octets never make a line."""
    for first in (0x14, 0x15, 0x16, 0x17):
        with pytest.raises(ProtocolError, match="looks like TLS"):
            reject_tls_record(first)
    reject_tls_record(ord("+"))


@pytest.mark.parametrize("line", [b"+OK a\0b", b"-ERR \0", b"+OK\0"])
def test_nul_in_a_status_line_is_an_error(line: bytes) -> None:
    """FAULTS 9."""
    with pytest.raises(ProtocolError):
        parse_status(line)


def test_text_of_a_server_is_escaped_in_errors() -> None:
    """FAULTS 8: no colour, no forged line, no flood."""
    with pytest.raises(ProtocolError) as caught:
        parse_status(b"\x1b[31m\x07" + b"\xff" * 5000)
    assert str(caught.value).isprintable()
    assert "\\x1b[31m\\x07" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("line", "positive"), [(b"+OK", True), ("+ok x", True), (b"-ERR", False), ("", False), (b"", False), ("OK", False)]
)
def test_positive_begins_with_plus(line: bytes | str, positive: bool) -> None:
    """POCO's isPositive."""
    assert is_positive(line) is positive


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"42 12345", (42, 12345)),
        (b"0 0", (0, 0)),
        (b"2 320 octets", (2, 320)),
        (b"2  320", (2, 320)),
        (b"007 9999999999999999999", (7, 9999999999999999999)),
    ],
)
def test_stat_is_two_numbers(text: bytes, numbers: tuple[int, int]) -> None:
    """RFC 1939 §5."""
    assert parse_stat(text) == numbers


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"7",
        b"seven 1",
        b"7 #octets",
        b"-1 5",
        b"1 1" + b"0" * 30,
        b"9" * 5000 + b" 1",
        b"0x10 1",
        b"1_0 1",
        "٣ 1".encode(),
        b"1\t2",
        b"+1 2",
        b"1 2x",
        b"1 2\n",
    ],
)
def test_anything_but_two_numbers_is_an_error(text: bytes) -> None:
    """FAULTS 28."""
    with pytest.raises(ProtocolError):
        parse_stat(text)


@pytest.mark.parametrize(
    ("line", "listed"),
    [
        (b"1 120", (1, 120)),
        (b"1  120", (1, 120)),
        (b"1 120 octets", (1, 120)),
        (b"3 0", (3, 0)),
        (b"1 -1", (1, 0)),
        (b"1 big", (1, 0)),
        (b"1 1" + b"0" * 30, (1, 0)),
        (b"1", (1, 0)),
        (b"1 ", (1, 0)),
    ],
)
def test_listing_needs_a_number_and_hopes_for_a_size(line: bytes, listed: tuple[int, int]) -> None:
    """FAULTS 29, 30; FACTS §5: -1 comes from real servers, and a size is only a hint."""
    assert parse_listing(line) == listed


@pytest.mark.parametrize(
    "line", [b"", b"0 120", b"00 1", b"-1 120", b"x 1", b" 1 120", b"1" * 20 + b" 1", b"0x1 1", b"1\t5"]
)
def test_listing_without_a_number_is_an_error(line: bytes) -> None:
    """FAULTS 30: nobody could ask for that message."""
    with pytest.raises(ProtocolError, match="no message number"):
        parse_listing(line)


@pytest.mark.parametrize(
    "uid", [b"x", b"u" * 71, b"u" * 8000, b"../x", b"/", b"$(id)", b"';--", b"%s", b"\x80\xff", b"\x1b["]
)
def test_unique_id_is_opaque(uid: bytes) -> None:
    """FAULTS 34, 35; RFC 1939 §7 says 70 characters, servers say more."""
    assert parse_unique_id(b"7 " + uid) == (7, UniqueId(uid))


@pytest.mark.parametrize(
    ("line", "uid"), [(b"7   a", b"a"), (b"7 a b", b"a b"), (b"7 a  ", b"a  "), (b"7 a\r", b"a\r"), (b"7 \ta", b"\ta")]
)
def test_blanks_around_a_unique_id(line: bytes, uid: bytes) -> None:
    """FAULTS 36; FACTS §5: any number of them before it, and those in it and behind it are its own."""
    assert parse_unique_id(line) == (7, UniqueId(uid))


@pytest.mark.parametrize("line", [b"", b"7", b"7 ", b"7    ", b"0 a", b"-1 a", b"x a", b" 7 a", b"1" * 20 + b" a"])
def test_unique_id_line_without_number_or_unique_id_is_an_error(line: bytes) -> None:
    """FAULTS 34: an empty unique-id would stand for every message."""
    with pytest.raises(ProtocolError):
        parse_unique_id(line)


def test_capabilities_are_upper_case_with_parameters_as_sent() -> None:
    """RFC 2449 §5, and what the bench's servers really send: CAPA itself, a bare SASL, EXPIRENEVER, USER twice."""
    found = parse_capabilities(
        [
            b"CAPA",
            b"top",
            b"SASL PLAIN  scram-sha-256",
            b"LOGIN-DELAY 10",
            b"EXPIRENEVER",
            b"USER",
            b"",
            b"USER",
            b"Sasl",
        ]
    )
    assert set(found.items) == {"CAPA", "TOP", "SASL", "LOGIN-DELAY", "EXPIRENEVER", "USER"}
    assert found.parameters("SASL") == ("PLAIN", "scram-sha-256")
    assert found.parameters("LOGIN-DELAY") == ("10",)
    assert "TOP" in found
    assert "UIDL" not in found


def test_capability_sent_twice_has_both_lines_parameters() -> None:
    """FAULTS 45."""
    found = parse_capabilities([b"SASL PLAIN LOGIN", b"SASL LOGIN XOAUTH2"])
    assert found.parameters("SASL") == ("PLAIN", "LOGIN", "XOAUTH2")


def test_garbage_capabilities_are_printable() -> None:
    """FAULTS 8, 45: they end up in logs."""
    found = parse_capabilities([b"\x1b[31mX \xff" + b"a" * 5000])
    ((name, parameters),) = found.items.items()
    assert name == "\\X1B[31MX"
    assert all(word.isprintable() and len(word) < 250 for word in parameters)


@given(st.binary())
def test_any_line_gives_a_value_or_a_protocol_error(line: bytes) -> None:
    """And nothing else, whatever the line."""
    said = ""
    for parse in (parse_status, parse_stat, parse_listing, parse_unique_id):
        try:
            parse(line)
        except ProtocolError as error:
            said += str(error)
    assert said.isprintable()
    assert parse_capabilities([line]).items or not line.strip()
