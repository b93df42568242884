"""How a long message gets to disk: in the same pieces, whatever the network makes of it."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fetchd.delivery.staging import CHUNK, PartFile, Staging
from tests.delivery.doubles import new_name


def staged(staging: Staging, pieces: list[bytes]) -> tuple[bytes, list[int]]:
    """Stages a message; returns what is on disk, and how many octets each write took."""
    written: list[int] = []
    write = os.write

    def counted(descriptor: int, octets: bytes) -> int:
        written.append(write(descriptor, octets))
        return written[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", counted)
        file: PartFile = staging.stage(new_name())
        for piece in pieces:
            file.write(piece)
        done = file.finish()
    return (staging.path / done.name).read_bytes(), written


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 3 * CHUNK), max_size=12), octets=st.integers(0, 3 * CHUNK))
def test_a_long_message_is_written_in_whole_chunks(tmp_path: Path, cuts: list[int], octets: int) -> None:
    """And a short one at once, under its final name."""
    staging = Staging(tmp_path / "staging", "alice")
    staging.open(create=True)
    message = os.urandom(octets).replace(b"\r", b"x")
    edges = [0, *sorted(min(cut, octets) for cut in cuts), octets]
    pieces = [message[start:end] for start, end in pairwise(edges)]
    there, written = staged(staging, pieces)
    staging.close()
    assert there == message
    if octets >= CHUNK:
        assert all(size % CHUNK == 0 for size in written[:-1])
        assert sum(written) == octets
        assert 0 not in written
    else:
        assert written == [octets]
