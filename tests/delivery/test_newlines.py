"""CRLF → LF over any chunk's edge."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.delivery.newlines import LineEnds

OCTETS = st.text(alphabet="\r\n.ab", max_size=60).map(str.encode)


def convert(*chunks: bytes | bytearray | memoryview) -> bytes:
    ends = LineEnds()
    return b"".join([*(bytes(ends.convert(chunk)) for chunk in chunks), ends.end()])


@given(message=OCTETS, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_any_split_gives_what_the_whole_gives(message: bytes, cuts: list[int]) -> None:
    """Exactly the CRs directly before an LF go (FAULTS F 90)."""
    edges = [0, *sorted(cuts), len(message)]
    chunks = [message[start:end] for start, end in pairwise(edges)]
    assert convert(*chunks) == re.sub(rb"\r\n", rb"\n", message)


@pytest.mark.parametrize(
    ("wire", "disk"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\r\r\nb", b"a\r\nb"),
        (b"a\rb", b"a\rb"),
        (b"a\nb", b"a\nb"),
        (b"a\r", b"a\r"),
        (b"a\r\r", b"a\r\r"),
        (b"\r\n\r\n", b"\n\n"),
        (b"\0\xff\r\n", b"\0\xff\n"),
        (b"ab\r\ncd\r\nef\r\n", b"ab\ncd\nef\n"),
        (b"ab\r\ncd\rxef\r\n", b"ab\ncd\rxef\n"),
        (b"ab\r\ncd\r\nef\r\r\n", b"ab\ncd\nef\r\n"),
        (b"ab\r\nc\r\nef\rx", b"ab\nc\nef\rx"),
    ],
)
def test_only_the_cr_before_an_lf_goes(wire: bytes, disk: bytes) -> None:
    """In one piece, and octet by octet."""
    assert convert(wire) == disk
    assert convert(*(wire[at : at + 1] for at in range(len(wire)))) == disk


def test_every_kind_of_buffer_is_taken() -> None:
    assert convert(b"a\r\n", bytearray(b"b\r\n"), memoryview(b"c\r\n")) == b"a\nb\nc\n"


def test_a_long_line_is_not_held_back() -> None:
    """FAULTS A 20: bodies have no line cap; only one CR is ever kept."""
    ends = LineEnds()
    assert len(ends.convert(b"x" * 1_000_000)) == 1_000_000
    assert ends.end() == b""
