"""Lines and bodies: where they begin and end, whatever the network does to their octets."""

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ProtocolError
from fetchd.pop3.framing import CRLF, LF, BodyDecoder, LineDecoder, encode_body, take_line
from tests.pop3.feeding import Cut, cut_at, octet_by_octet, whole

ways = pytest.mark.parametrize("cut", [whole, octet_by_octet])
tails = pytest.mark.parametrize("tail", [b"", b"+OK next\r\n", b".\r\n", b"\r\n.\r\n"])

# Octets that matter, so that random bytes meet the rules.
wire_octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"a", b"\0"])).map(
    b"".join
)


def decode(segments: list[bytes], line_end: bytes = CRLF) -> tuple[bytes, bytes, bool]:
    """Returns content, what is left for the next reply, and whether the end was seen."""
    decoder = BodyDecoder(line_end)
    content, left = b"", b""
    for segment in segments:
        if decoder.ended:
            left += segment
            continue
        chunk, position = decoder.feed(segment)
        content += chunk
        left += segment[position:]
    return content, left, decoder.ended


def decode_by_lines(wire: bytes) -> tuple[bytes, bytes, bool]:
    """The rules of RFC 1939 §3 written down line by line: slow, and obviously right."""
    content, rest = b"", wire
    while CRLF in rest:
        line, _, rest = rest.partition(CRLF)
        if line == b".":
            return content, rest, True
        content += line.removeprefix(b".") + CRLF
    return content, b"", False


BODIES = {
    "empty (18)": (b".\r\n", b""),
    "one line": (b"a\r\n.\r\n", b"a\r\n"),
    "an empty line": (b"\r\n.\r\n", b"\r\n"),
    "empty lines before the end": (b"a\r\n\r\n\r\n.\r\n", b"a\r\n\r\n\r\n"),
    "two dots (14)": (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n"),
    "three dots (14)": (b"a\r\n...\r\n.\r\n", b"a\r\n..\r\n"),
    "a dot that was not stuffed (14)": (b"a\r\n.x\r\n.\r\n", b"a\r\nx\r\n"),
    "the first line is stuffed (17)": (b"..a\r\nb\r\n.\r\n", b".a\r\nb\r\n"),
    "the first line has a lone dot and text (17)": (b".a\r\n.\r\n", b"a\r\n"),
    "dots in the middle of lines": (b"a.b\r\nc.\r\n.\r\n", b"a.b\r\nc.\r\n"),
    "stuffed lines in a row": (b"..\r\n..\r\n..\r\n.\r\n", b".\r\n.\r\n.\r\n"),
    "LF . LF is text (15)": (b"abc\n.\nDEF\r\n.\r\n", b"abc\n.\nDEF\r\n"),
    "CR . CR is text (16)": (b"abc\r.\rDEF\r\n.\r\n", b"abc\r.\rDEF\r\n"),
    "LF . CRLF is text (16)": (b"abc\n.\r\nDEF\r\n.\r\n", b"abc\n.\r\nDEF\r\n"),
    "CRLF . CR CRLF is text (16)": (b"abc\r\n.\r\r\nDEF\r\n.\r\n", b"abc\r\n\r\r\nDEF\r\n"),
    "CRLF . LF is text (16)": (b"abc\r\n.\nDEF\r\n.\r\n", b"abc\r\n\nDEF\r\n"),
    "LF .. CRLF is not stuffed": (b"abc\n..\r\n.\r\n", b"abc\n..\r\n"),
    "CR CRLF before the end": (b"a\r\r\n.\r\n", b"a\r\r\n"),
    "NUL, bare CR, bare LF and 8-bit are kept (9)": (b"\0\r\xff\n\x80\r\n.\r\n", b"\0\r\xff\n\x80\r\n"),
}

LF_BODIES = {
    "empty": (b".\n", b""),
    "one line": (b"a\n.\n", b"a\n"),
    "stuffed": (b"..\n..a\n.x\n.\n", b".\n.a\nx\n"),
    "CRLF . CRLF is text": (b"a\r\n.\r\nb\n.\n", b"a\r\n\r\nb\n"),
    "CR . LF is text": (b"a\r.\nb\n.\n", b"a\r.\nb\n"),
}


@ways
@tails
@pytest.mark.parametrize(("wire", "content"), BODIES.values(), ids=BODIES)
def test_body_ends_at_crlf_dot_crlf_only(wire: bytes, content: bytes, tail: bytes, cut: Cut) -> None:
    """FAULTS 9, 13-18: dot rules apply to lines that CRLF ends, and what follows the end is left alone."""
    assert decode(cut(wire + tail)) == (content, tail, True)


@ways
@tails
@pytest.mark.parametrize(("wire", "content"), LF_BODIES.values(), ids=LF_BODIES)
def test_body_of_an_lf_session_ends_at_lf_dot_lf(wire: bytes, content: bytes, tail: bytes, cut: Cut) -> None:
    """FAULTS 7: the same rules with LF, and only where the session began with it."""
    assert decode(cut(wire + tail), LF) == (content, tail, True)


@ways
@pytest.mark.parametrize("wire", [b"", b"abc", b"abc\r\n", b"abc\r\n.", b"abc\r\n.\r", b"abc\n.\n", b"."])
def test_body_without_its_end_has_not_ended(wire: bytes, cut: Cut) -> None:
    """FAULTS 22: right after CRLF and a dot, too."""
    assert not decode(cut(wire))[2]


def test_terminator_is_found_at_every_cut() -> None:
    """FAULTS 13: one and two cuts anywhere."""
    wire = b"ab\r\n..c\r\n.\r\n+OK\r\n"
    for cuts in itertools.combinations_with_replacement(range(len(wire) + 1), 2):
        assert decode(cut_at(wire, cuts)) == (b"ab\r\n.c\r\n", b"+OK\r\n", True), cuts


@given(wire_octets | st.binary(), st.lists(st.integers(0, 60), max_size=5))
def test_body_is_what_the_lines_say(wire: bytes, cuts: list[int]) -> None:
    """RFC 1939 §3, against a reader of lines; an incomplete line may still be held back."""
    content, left, ended = decode(cut_at(wire, cuts))
    expected = decode_by_lines(wire)
    if ended:
        assert (content, left, ended) == expected
    else:
        assert not expected[2]
        # of the last line only what may still become the terminator is missing
        assert content.startswith(expected[0].removesuffix(CRLF))


@given(wire_octets | st.binary(), st.lists(st.integers(0, 60), max_size=5))
def test_decoding_undoes_encoding(message: bytes, cuts: list[int]) -> None:
    """decode(encode(m)) == m, but for the CRLF that a message without one at its end is given."""
    expected = message if not message or message.endswith(CRLF) else message + CRLF
    assert decode(cut_at(encode_body(message) + b"+OK", cuts)) == (expected, b"+OK", True)


def test_one_line_of_100_mb_streams() -> None:
    """FAULTS 20: no limit on a body's lines, and no memory for them."""
    decoder = BodyDecoder()
    segment = b"x" * 262_144
    tracemalloc.start()
    try:
        passed = sum(len(decoder.feed(segment)[0]) for _ in range(400))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert passed == 400 * len(segment)
    assert peak < 4 * len(segment)


def test_body_gives_out_what_is_certain_at_once() -> None:
    """Nothing waits for a line's end: at most the four octets that may become the terminator."""
    decoder = BodyDecoder()
    assert decoder.feed(b"abc") == (b"abc", 3)
    assert decoder.feed(b"def\r\n.\r") == (b"def", 7)
    assert decoder.feed(b"x") == (b"\r\n\rx", 1)


def test_body_that_has_ended_takes_no_more() -> None:
    """Whatever comes belongs to the next reply."""
    decoder = BodyDecoder()
    decoder.feed(b".\r\n")
    assert decoder.feed(b"abc", 1) == (b"", 1)


def test_body_begins_where_it_is_told_to() -> None:
    """The octets before belong to the status line."""
    assert BodyDecoder().feed(b"+OK\r\n..\r\n.\r\n+OK", 5) == (b".\r\n", 12)


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_line_is_taken_without_its_end() -> None:
    """And where the next begins."""
    assert take_line(b"xx+OK\r\n-ERR\r\n", 2, limit=100, line_end=CRLF) == (b"+OK", CRLF, 7)
    assert take_line(b"+OK\n", 0, limit=100, line_end=None) == (b"+OK", LF, 4)
    assert take_line(b"\r\n", 0, limit=100, line_end=None) == (b"", CRLF, 2)
    assert take_line(b"\n", 0, limit=100, line_end=None) == (b"", LF, 1)


@pytest.mark.parametrize("data", [b"", b"+OK", b"+OK\r"])
def test_incomplete_line_is_waited_for(data: bytes) -> None:
    """Without a LF there is no line."""
    assert take_line(data, 0, limit=100, line_end=CRLF) is None


@pytest.mark.parametrize(("line", "line_end"), [(b"+OK\n", CRLF), (b"+OK\r\n", LF)])
def test_line_ends_are_never_mixed(line: bytes, line_end: bytes) -> None:
    """FAULTS 7: a line that ends otherwise than the greeting did is an error, not a wait for ever."""
    with pytest.raises(ProtocolError, match=r"although the greeting ended in"):
        take_line(line, 0, limit=100, line_end=line_end)


def test_line_as_long_as_the_limit_is_taken() -> None:
    """Its end counts."""
    assert take_line(b"xx" + b"a" * 8 + b"\r\n", 2, limit=10, line_end=CRLF) == (b"a" * 8, CRLF, 12)


@pytest.mark.parametrize("data", [b"a" * 9 + b"\r\n", b"a" * 10, b"a" * 1000])
def test_line_beyond_the_limit_is_an_error_before_its_end(data: bytes) -> None:
    """FAULTS 3: an endless line does not fill the memory."""
    with pytest.raises(ProtocolError, match="longer than 10 octets"):
        take_line(data, 0, limit=10, line_end=CRLF)


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────


def lines_of(segments: list[bytes], line_end: bytes = CRLF, limit: int = 20) -> tuple[list[bytes], bytes, bool]:
    """Returns the lines, what is left for the next reply, and whether the end was seen."""
    decoder = LineDecoder(line_end, limit=limit)
    lines: list[bytes] = []
    left = b""
    for segment in segments:
        if decoder.ended:
            left += segment
            continue
        found, position = decoder.feed(segment)
        lines += found
        left += segment[position:]
    return lines, left, decoder.ended


@ways
@pytest.mark.parametrize("tail", [b"", b"+OK next\r\n"])
def test_lines_come_whole_and_unstuffed(cut: Cut, tail: bytes) -> None:
    """A line is the same however it was cut; an empty line is a line."""
    wire = b"1 a\r\n..b\r\n\r\n4 d\re \r\n.\r\n"
    assert lines_of(cut(wire + tail)) == ([b"1 a", b".b", b"", b"4 d\re "], tail, True)


@ways
def test_list_may_be_empty(cut: Cut) -> None:
    """FAULTS 31: nothing but the terminator."""
    assert lines_of(cut(b".\r\n+OK")) == ([], b"+OK", True)


@ways
def test_lines_of_an_lf_session(cut: Cut) -> None:
    """FAULTS 7."""
    assert lines_of(cut(b"1 a\n2 b\n.\n+OK"), LF) == ([b"1 a", b"2 b"], b"+OK", True)


@ways
@pytest.mark.parametrize(
    ("wire", "line_end", "why"),
    [
        (b"1 a\r\n2 b\n3 c\r\n.\r\n", CRLF, "bare LF"),
        (b"1 a\r\n.\n", CRLF, "bare LF"),
        (b"1 a\n2 b\r\n.\n", LF, "ends in CRLF"),
        (b"1 a\n.\r\n", LF, "ends in CRLF"),
        (b"1 a\0\r\n.\r\n", CRLF, "NUL"),
        (b"1 " + b"a" * 17 + b"\r\n.\r\n", CRLF, "longer than 20 octets"),
        (b"1 a\r\n" + b"a" * 19, CRLF, "longer than 20 octets"),
    ],
)
def test_line_that_no_list_may_have_is_an_error(wire: bytes, line_end: bytes, why: str, cut: Cut) -> None:
    """FAULTS 7, 9, 32: mixed ends, NUL, and a line without an end."""
    with pytest.raises(ProtocolError, match=why):
        lines_of(cut(wire), line_end)


@given(wire_octets | st.binary(), st.lists(st.integers(0, 60), max_size=5))
def test_lines_do_not_depend_on_the_cut(wire: bytes, cuts: list[int]) -> None:
    """The same lines or the same failure."""

    def outcome(segments: list[bytes]) -> object:
        try:
            return lines_of(segments)
        except ProtocolError:
            return "error"

    assert outcome(cut_at(wire, cuts)) == outcome([wire])
