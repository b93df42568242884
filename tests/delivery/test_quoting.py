"""mboxrd, streamed."""

import mailbox
import re
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fetchd.delivery.quoting import Quoter, as_mbox, separator
from tests.delivery.doubles import SECONDS, unquoted

LINES = st.lists(
    st.sampled_from([b"From ", b"From", b"Fro", b">", b">>", b"\n", b"x", b" ", b"\rFrom ", b"F"]), max_size=20
)


def quote(*chunks: bytes) -> bytes:
    quoter = Quoter()
    return b"".join([*(quoter.quote(chunk) for chunk in chunks), quoter.end()])


def split(message: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(message)]
    return [message[start:end] for start, end in pairwise(edges)]


@given(message=LINES.map(b"".join), cuts=st.lists(st.integers(0, 40), max_size=6))
@example(message=b">>From x", cuts=[1])
@example(message=b"x\n>From ", cuts=[2, 3, 6])
def test_any_split_quotes_exactly_the_lines_that_look_like_separators(message: bytes, cuts: list[int]) -> None:
    assert quote(*split(message, cuts)) == re.sub(rb"(?m)^(>*From )", rb">\1", message)


@given(message=LINES.map(b"".join))
def test_unquoting_gives_the_message_back(message: bytes) -> None:
    """What sets mboxrd apart from mboxo: nothing is ambiguous."""
    assert unquoted(quote(message)) == message


@given(message=LINES.map(b"".join))
def test_no_line_of_a_quoted_body_is_a_separator(message: bytes) -> None:
    assert not re.search(rb"(?m)^From ", quote(message))


def test_a_line_of_ten_megabytes_is_passed_on_as_it_comes() -> None:
    """Be it of ">" only: no more than four octets are ever held."""
    quoter = Quoter()
    for _ in range(40):
        assert len(quoter.quote(b">" * 262_144)) == 262_144
    assert quoter.quote(b"From ") == b">From "


def test_the_separator_is_the_librarys() -> None:
    """``From MAILER-DAEMON`` and asctime in UTC: a function of the name alone."""
    assert separator(SECONDS) == b"From MAILER-DAEMON Mon Nov 23 19:26:26 2026\n"
    assert separator(0) == b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"


def test_a_time_beyond_the_calendar_is_no_error() -> None:
    """A name may carry 19 digits."""
    assert len(separator(9_999_999_999_999_999_999)) == len(separator(0))


@pytest.mark.parametrize("body", [b"", b"x", b"x\n", b"x\nFrom", b"From", b"x\n\n"])
def test_a_blank_line_follows_every_message(body: bytes) -> None:
    """After the line end of its last line, also where the end of the body was held back."""
    ended = body if not body or body.endswith(b"\n") else body + b"\n"
    assert b"".join(as_mbox([body], seconds=SECONDS)) == separator(SECONDS) + ended + b"\n"


@given(bodies=st.lists(LINES.map(b"".join), min_size=1, max_size=4))
def test_the_library_reads_every_message_back(bodies: list[bytes]) -> None:
    """A body that does not end its last line is given a line end, and nothing else."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mbox"
        path.write_bytes(b"".join(b"".join(as_mbox([body], seconds=SECONDS)) for body in bodies))
        box = mailbox.mbox(path, create=False)
        read = [unquoted(box.get_bytes(key)) for key in range(len(box))]  # type: ignore[arg-type]
        box.close()
    assert read == [body if not body or body.endswith(b"\n") else body + b"\n" for body in bodies]
