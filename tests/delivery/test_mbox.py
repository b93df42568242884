"""The mbox's own rules; what recovery makes of a half-done append is in ``test_settlement.py``."""

import mailbox
import os
from pathlib import Path

import pytest

from fetchd.delivery.locking import locked
from fetchd.delivery.mbox import Mbox
from fetchd.errors import DeliveryError, Retry
from tests.delivery.doubles import Bench, MemoryJournal, Waiting, deliver, stage

LINE = b"From MAILER-DAEMON Mon Nov 23 19:26:26 2026\n"
THEIRS = b"From bob@example.org Tue Nov 24 06:01:00 2026\nSubject: theirs\n\nbody\n\n"
ONE, TWO = b"Subject: one\n\nFrom me\n", b"Subject: two\n\n" + b"x" * 700_000 + b"\n"
WRITTEN = LINE + b"Subject: one\n\n>From me\n\n" + LINE + TWO + b"\n"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench("mbox", tmp_path)


@pytest.mark.parametrize("waiting", [True, False])
def test_a_directory_that_was_delivered_into_is_not_created_anew(bench: Bench, waiting: bool) -> None:
    """FAULTS G 99: not even with ``create_parents``; the file may be, for readers remove an empty one."""
    spool = bench.root / "spool"
    delivery = Mbox(spool / "mbox", "alice", staging=bench.staging, create_parents=True)
    delivery.prepare()
    spool.rename(bench.root / "away")
    with pytest.raises(DeliveryError, match=rf"{spool} is not there, and mail was delivered into it before") as caught:
        delivery.prepare(create=False, waiting=waiting)
    assert caught.value.retry is Retry.LATER
    assert not spool.exists()
    (bench.root / "away").rename(spool)
    delivery.prepare(create=False, waiting=waiting)


# ── what is written ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_octets_are_a_function_of_the_staged_files(bench: Bench, journal: MemoryJournal) -> None:
    """Separator with the time of the name, mboxrd quoting, a blank line; at the end of what is there."""
    bench.path.write_bytes(THEIRS)
    deliver(bench.prepared(), journal, ONE, TWO)
    assert bench.path.read_bytes() == THEIRS + WRITTEN
    placement = journal.placements()[0]
    assert (placement.inode, placement.offset, placement.length, placement.done) == (
        bench.path.stat().st_ino,
        len(THEIRS),
        len(WRITTEN),
        True,
    )


@pytest.mark.parametrize(("end", "ours"), [(b"end", b"\n\n"), (b"end\n", b"\n"), (b"end\n\n", b"")])
def test_what_separates_the_first_message_is_ours(
    bench: Bench, journal: MemoryJournal, end: bytes, ours: bytes
) -> None:
    """A program that does not end its last message with a blank line: we add it, and the placement counts it."""
    there = b"From bob\n\n" + end
    bench.path.write_bytes(there)
    deliver(bench.prepared(), journal, ONE)
    assert bench.path.read_bytes() == there + ours + LINE + b"Subject: one\n\n>From me\n\n"
    assert journal.placements()[0].offset == len(there)


def test_the_library_reads_it(bench: Bench, journal: MemoryJournal) -> None:
    """Also the object that delivers, after and between deliveries."""
    delivery = Mbox(bench.path, "alice", staging=bench.staging)
    delivery.prepare()
    delivery.flush()
    deliver(delivery, journal, b"Subject: one\n\n1\n")
    assert isinstance(delivery, mailbox.mbox)
    assert [message["Subject"] for message in delivery] == ["one"]
    deliver(delivery, journal, b"Subject: two\n\n2\n")
    assert [message["Subject"] for message in delivery] == ["one", "two"]
    delivery.lock()
    delivery.unlock()
    delivery.discard(0)
    delivery.flush()
    assert [message["Subject"] for message in delivery] == ["two"]
    delivery.close()
    assert bench.messages() == [b"Subject: two\n\n2\n"]


def test_reading_a_missing_mbox_is_the_librarys_error(bench: Bench) -> None:
    delivery = Mbox(bench.path, "alice", staging=bench.staging)
    with pytest.raises(mailbox.NoSuchMailboxError):
        len(delivery)
    with pytest.raises(AttributeError):
        _ = delivery.__length_hint__
    delivery.close()
    assert not bench.path.exists()


def test_delivered_is_empty(bench: Bench, journal: MemoryJournal) -> None:
    """An mbox keeps no names."""
    delivery = bench.prepared()
    deliver(delivery, journal, ONE)
    assert list(delivery.delivered()) == []


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_no_mbox_is_refused(bench: Bench) -> None:
    """A wrong path must not grow mail at its end."""
    bench.path.write_text("root:x:0:0\n")
    with pytest.raises(DeliveryError, match=r"mbox is not an mbox") as caught:
        bench.prepared()
    assert caught.value.retry is Retry.LATER


@pytest.mark.parametrize("start", [b"", b"Fro", b"\n\nFrom bob\n", b"From "])
def test_an_mbox_may_be_torn_or_begin_with_blank_lines(bench: Bench, start: bytes) -> None:
    """Our own first append may have been cut anywhere."""
    bench.path.write_bytes(start)
    bench.prepared()
    assert bench.path.read_bytes() == start


def test_a_path_that_is_no_file_is_refused_before_anything_is_fetched(bench: Bench) -> None:
    bench.path.mkdir()
    with pytest.raises(DeliveryError, match=r"is a directory, not a file"):
        bench.prepared()


def test_a_dot_lock_that_stays_is_an_error_and_the_batch_waits(bench: Bench, journal: MemoryJournal) -> None:
    lock = bench.path.with_name("mbox.lock")
    lock.touch()
    delivery = Mbox(bench.path, "alice", staging=bench.staging, sleep=lambda seconds: None)
    delivery.prepare()
    batch = stage(delivery, ONE)
    journal.commit(batch)
    with pytest.raises(DeliveryError, match=r"dot lock .*mbox.lock is there and names no process"):
        delivery.publish(batch, journal)
    assert journal.placements() == ()
    lock.unlink()
    delivery.publish(batch, journal)
    assert bench.messages() == [ONE]


def test_a_dot_lock_that_a_power_cut_brought_back_goes_with_the_next_poll(bench: Bench) -> None:
    """Though that poll delivers nothing: mail readers wait for it. One that is held is not waited for, and stays."""
    bench.path.touch()
    mark, lock = (bench.path.with_name(f"mbox.lock{end}") for end in (".fetchd", ""))
    delivery = Mbox(bench.path, "alice", staging=bench.staging, sleep=pytest.fail)
    with locked(bench.path, Waiting().patience()):
        delivery.prepare()
        assert mark.exists()
        assert lock.exists()
    mark.write_text("1\n")
    os.link(mark, lock)
    delivery.prepare()
    assert not mark.exists()
    assert not lock.exists()
