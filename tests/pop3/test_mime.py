"""Messages parsed once they are whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.pop3.mime import HeaderCollector, leaf_parts, parse_message

MIXED = b"""From: a@b.example
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary="inner"

--inner
Content-Type: text/plain

text
--inner
Content-Type: text/html

<p>html
--inner--
--outer
Content-Type: message/rfc822

Subject: attached
Content-Type: multipart/mixed; boundary="third"

--third

not ours
--third--
--outer
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAEC
--outer--
""".replace(b"\n", b"\r\n")


def test_leaf_parts_come_in_order() -> None:
    """POCO's PartHandler; an attached message is one part."""
    parts = list(leaf_parts(parse_message(MIXED)))
    assert [part.get_content_type() for part in parts] == [
        "text/plain",
        "text/html",
        "message/rfc822",
        "application/octet-stream",
    ]
    assert parts[3].get_content() == b"\0\1\2"


@pytest.mark.parametrize(
    "message",
    [b"", b"Subject: x\r\n\r\nhello\r\n", b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno part\r\n"],
)
def test_message_without_parts_has_no_leaf_parts(message: bytes) -> None:
    """Not multipart, or a multipart that is broken."""
    assert list(leaf_parts(parse_message(message))) == []


def test_line_ends_are_crlf() -> None:
    """Both in the content and written out again."""
    message = parse_message(b"Subject: x\r\n\r\na\r\nb\r\n")
    assert message.get_payload() == "a\r\nb\r\n"
    assert message.as_bytes() == b"Subject: x\r\n\r\na\r\nb\r\n"


def header_of(wire: bytes, *, most: int = 10_000, segment: int = 1_000_000) -> dict[str, str]:
    """Returns a header's fields."""
    collector = HeaderCollector(most=most)
    for start in range(0, len(wire), segment):
        collector.write(wire[start : start + segment])
    message = collector.parse()
    assert message.get_payload() == ""
    return {name: str(value) for name, value in message.items()}


@pytest.mark.parametrize("segment", [1, 1_000_000])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("rest", [b"", b"|", b"|body: no field|more|", b"|" + b"x" * 100])
def test_header_ends_at_the_empty_line(rest: bytes, line_end: bytes, segment: int) -> None:
    """FACTS §2: poco#107, a server that sends lines of the body all the same."""
    wire = (b"From: a@b.example|Subject: one| two|" + rest).replace(b"|", line_end)
    assert header_of(wire, segment=segment) == {"From": "a@b.example", "Subject": "one two"}


def test_message_may_have_no_header() -> None:
    """FAULTS 19."""
    assert header_of(b"\r\nbody: x\r\n") == {}
    assert header_of(b"") == {}


def test_endless_header_is_cut() -> None:
    """FAULTS 32: memory stays bounded."""
    collector = HeaderCollector(most=100)
    for _ in range(1000):
        collector.write(b"x" * 10)
    assert len(collector._kept) <= 110
    assert collector._kept[:100] == b"x" * 100


@given(st.binary(max_size=200))
def test_any_octets_are_a_message(octets: bytes) -> None:
    """FAULTS 95: defects, no exceptions."""
    assert list(leaf_parts(parse_message(octets))) is not None
