"""fetchd.observe.lines: a closed, broken or blocked stream costs lines, never the caller (FAULTS 113)."""

import io
import os
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from fetchd.observe.lines import LineWriter, is_journal


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe: the descriptor of its reading end, and its writing end as a text stream."""
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
    with suppress(OSError):  # a test may have closed it
        os.close(reading)


def fill(stream: TextIO) -> int:
    """Fills a pipe until not one octet more goes in; returns how many did."""
    os.set_blocking(stream.fileno(), False)
    filled = 0
    for size in (65536, 1):
        try:
            while True:
                filled += os.write(stream.fileno(), b"." * size)
        except BlockingIOError:
            pass
    os.set_blocking(stream.fileno(), True)
    return filled


def drain(descriptor: int) -> bytes:
    """Returns all that is in a pipe now."""
    data = b""
    while select.select([descriptor], [], [], 0)[0]:
        data += os.read(descriptor, 1 << 20)
    return data


def test_a_line_to_a_descriptor_is_written_at_once_in_utf_8(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    assert LineWriter(stream)("Zoë")
    assert drain(reading) == "Zoë\n".encode()


def test_a_stream_without_a_descriptor_is_written_through() -> None:
    stream = io.StringIO()
    assert LineWriter(stream)("one")
    assert stream.getvalue() == "one\n"


def test_no_stream_at_all_drops_the_line() -> None:
    """``sys.stdout`` is None where descriptor 1 was closed at the start; that number may be the store's by now."""
    assert not LineWriter(None)("lost")


def test_a_reader_that_went_away_loses_lines_and_raises_nothing(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    write = LineWriter(stream)
    os.close(reading)
    assert not write("lost")
    assert not write("lost too")


def test_a_closed_stream_loses_lines_and_touches_no_other_file(tmp_path: Path) -> None:
    """The descriptor of a closed stream may be another file's by now."""
    stream = (tmp_path / "log").open("w")
    write = LineWriter(stream)
    number = stream.fileno()
    stream.close()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    assert other == number, "the test needs the number to be used again"
    assert not write("lost")
    os.close(other)
    assert (tmp_path / "other").read_bytes() == b""


def test_a_closed_stream_without_descriptor_loses_lines() -> None:
    stream = io.StringIO()
    stream.close()
    assert not LineWriter(stream)("lost")


def test_a_full_disk_loses_lines_and_raises_nothing() -> None:
    with open("/dev/full", "w") as full:
        assert not LineWriter(full)("lost")


def test_a_stream_that_cannot_encode_loses_the_line() -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert not LineWriter(ascii_only)("Zoë")
    assert LineWriter(ascii_only)("Zoe")


def test_a_reader_that_stands_still_loses_lines_until_it_moves(pipe: tuple[int, TextIO]) -> None:
    """A blocked journal never blocks a poll: a write(2) here would hang this test."""
    reading, stream = pipe
    write = LineWriter(stream, patience=0.0)
    filled = fill(stream)
    assert not write("lost")
    assert not write("lost")
    assert drain(reading) == b"." * filled
    assert write("here again")
    assert drain(reading) == b"here again\n"


def test_patience_is_spent_once_a_standstill(pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first line waits; and once the reader moved, there is patience again."""
    reading, stream = pipe
    waits: list[float] = []

    class Poll:
        def register(self, descriptor: int, mask: int) -> None:
            self.descriptor = descriptor

        def poll(self, milliseconds: float) -> list[int]:
            waits.append(milliseconds)
            return select.select([], [self.descriptor], [], 0)[1]

    monkeypatch.setattr("fetchd.observe.lines.select.poll", Poll)
    write = LineWriter(stream, patience=5.0)
    fill(stream)
    for _ in range(3):
        assert not write("lost")
    drain(reading)
    assert write("there")
    fill(stream)
    assert not write("lost")
    assert [wait > 0 for wait in waits] == [True, False, False, False, True]


def test_a_line_cut_off_by_a_standstill_does_not_swallow_the_next(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    write = LineWriter(stream, patience=0.0)
    filled = fill(stream)
    os.read(reading, select.PIPE_BUF * 4)
    assert not write("x" * filled)
    rest = drain(reading)
    assert rest.endswith(b"x")
    assert write("whole")
    assert drain(reading) == b"\nwhole\n"


# ── the systemd journal ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_journal_is_known_by_device_and_inode(pipe: tuple[int, TextIO]) -> None:
    _, stream = pipe
    info = os.fstat(stream.fileno())
    assert is_journal(stream, {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"})
    assert not is_journal(stream, {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino + 1}"}), "redirected"
    assert not is_journal(stream, {})


def test_a_stream_that_is_none_or_closed_or_no_file_is_no_journal(tmp_path: Path) -> None:
    environ = {"JOURNAL_STREAM": "1:2"}
    closed = (tmp_path / "closed").open("w", encoding="utf-8")
    closed.close()
    assert not any(is_journal(stream, environ) for stream in (None, closed, io.StringIO()))
