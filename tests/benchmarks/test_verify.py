"""What the benchmarks call verified: added headers are tolerated, anything else is not."""

from pathlib import Path

import pytest

from tests.benchmarks.corpus import small
from tests.benchmarks.verify import Verdict, verify

CORPUS = small(3)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for box in ("new", "cur"):
        (tmp_path / box).mkdir()
    for number, message in enumerate(CORPUS.messages()):
        (tmp_path / "new" / str(number)).write_bytes(message)
    return tmp_path


def test_whole_messages_are_clean(maildir: Path) -> None:
    assert verify(maildir, CORPUS.digests()) == Verdict(whole=3)


def test_headers_that_a_tool_adds_are_tolerated(maildir: Path) -> None:
    message = CORPUS.message(1)
    (maildir / "new" / "1").write_bytes(b"Return-Path: <x>\nReceived: from a\n\tby b; now\n" + message)
    assert verify(maildir, CORPUS.digests()).is_clean


def test_a_changed_octet_is_damage(maildir: Path) -> None:
    message = bytearray(CORPUS.message(1))
    message[-2] ^= 1
    (maildir / "new" / "1").write_bytes(message)
    verdict = verify(maildir, CORPUS.digests())
    assert (verdict.whole, verdict.lost, verdict.duplicates, len(verdict.damaged)) == (2, 1, 0, 1)


@pytest.mark.parametrize("front", [b"X-Surprise: yes\n", b"no header\n", b"Received: from a\n\n"])
def test_anything_else_in_front_is_damage(maildir: Path, front: bytes) -> None:
    (maildir / "new" / "1").write_bytes(front + CORPUS.message(1))
    assert len(verify(maildir, CORPUS.digests()).damaged) == 1


def test_a_second_copy_is_a_duplicate_and_a_missing_one_is_lost(maildir: Path) -> None:
    (maildir / "new" / "1").rename(maildir / "cur" / "1:2,S")
    (maildir / "new" / "0").write_bytes(CORPUS.message(2))
    assert verify(maildir, CORPUS.digests()) == Verdict(whole=2, lost=1, duplicates=1)
