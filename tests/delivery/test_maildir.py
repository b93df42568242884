"""The Maildir's own rules."""

import mailbox
import os
from pathlib import Path

import pytest

from fetchd.delivery.maildir import Maildir
from fetchd.errors import DeliveryError
from tests.delivery.doubles import Bench, MemoryJournal, deliver, stage


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench("maildir", tmp_path)


def test_the_library_reads_it(bench: Bench, journal: MemoryJournal) -> None:
    """Messages by key, folders: all is ``mailbox.Maildir``'s, also of the object that delivers."""
    delivery = Maildir(bench.path, "alice")
    delivery.prepare()
    batch = deliver(delivery, journal, b"Subject: hello\n\nhi\n")
    key = batch[0].staged.name
    assert isinstance(delivery, mailbox.Maildir)
    assert delivery[key]["Subject"] == "hello"
    delivery.discard(key)
    assert len(delivery) == 0
    delivery.flush()
    delivery.close()


def test_a_message_stays_once_where_it_was_renamed_from(bench: Bench, journal: MemoryJournal) -> None:
    """Same inode: no octet is copied after the flush."""
    delivery = bench.prepared()
    batch = stage(delivery, b"x\n")
    inode = (bench.staging / batch[0].staged.name).stat().st_ino
    delivery.publish(batch, journal)
    assert (bench.path / "new" / batch[0].staged.name).stat().st_ino == inode


# ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_in_new_is_never_overwritten(bench: Bench, journal: MemoryJournal) -> None:
    """FAULTS G 101."""
    delivery = bench.prepared()
    batch = stage(delivery, b"ours\n")
    there = bench.path / "new" / batch[0].staged.name
    there.write_bytes(b"theirs\n")
    with pytest.raises(DeliveryError, match=r"exists already"):
        delivery.publish(batch, journal)
    assert there.read_bytes() == b"theirs\n"
    assert bench.staged() == [batch[0].staged.name]


def test_what_a_reader_moved_to_cur_is_published(bench: Bench, journal: MemoryJournal) -> None:
    delivery = bench.prepared()
    batch = deliver(delivery, journal, b"x\n")
    name = batch[0].staged.name
    (bench.path / "new" / name).rename(bench.path / "cur" / f"{name},S=2:2,S")
    delivery.publish(batch, journal)
    assert delivery.recover(batch, journal) == 0
    assert bench.messages() == [b"x\n"]


def test_what_a_reader_deleted_is_not_missed_by_recovery(bench: Bench, journal: MemoryJournal) -> None:
    """A rename that happened is the end of our part: an intent log would deliver it again here (FAULTS §3)."""
    batch = deliver(bench.prepared(), journal, b"read and deleted\n")
    (bench.path / "new" / batch[0].staged.name).unlink()
    delivery = bench.open()
    delivery.prepare(create=False)
    assert delivery.recover(batch, journal) == 0
    assert bench.messages() == []


def test_a_batch_half_renamed_is_finished(bench: Bench, journal: MemoryJournal) -> None:
    batch = stage(bench.prepared(), b"one\n", b"two\n", b"three\n")
    name = batch[1].staged.name
    (bench.staging / name).rename(bench.path / "new" / name)
    delivery = bench.open()
    delivery.prepare(create=False)
    assert delivery.recover(batch, journal) == 2
    assert sorted(bench.messages()) == [b"one\n", b"three\n", b"two\n"]


# ── what is there ────────────────────────────────────────────────────────────────────────────────────────────────


def test_delivered_tells_this_accounts_names_as_they_were_staged(bench: Bench, journal: MemoryJournal) -> None:
    """From new/ and cur/, without what readers append: a lost store is rebuilt from them."""
    alice = bench.prepared("alice")
    names = [one.staged.name for one in deliver(alice, journal, b"1\n", b"2\n", b"3\n")]
    _, second, third = names
    (bench.path / "new" / second).rename(bench.path / "cur" / f"{second}:2,RS")
    (bench.path / "new" / third).rename(bench.path / "cur" / f"{third},W=3:2,")
    deliver(bench.prepared("bob"), journal, b"bob\n", account="bob")
    (bench.path / "cur" / "1700000000.M1P2.other:2,S").touch()
    assert sorted(alice.delivered()) == sorted(name.removesuffix(",S=2") for name in names)


def test_has_mail_sees_anybodys_mail_and_no_dot_files(bench: Bench) -> None:
    delivery = bench.prepared()
    (bench.path / "cur" / ".nfs000").touch()
    assert not delivery.has_mail()
    (bench.path / "cur" / "1700000000.M1P2.other:2,S").touch()
    assert delivery.has_mail()


def test_cleaning_tmp_leaves_staging_alone(bench: Bench) -> None:
    """The library's ``clean`` fails on a directory that has grown old; old files go, young ones stay."""
    delivery = Maildir(bench.path, "alice")
    delivery.prepare()
    batch = stage(delivery, b"waiting\n")
    old, young = bench.path / "tmp" / "old", bench.path / "tmp" / "young"
    for file in (old, young):
        file.touch()
    for path in (old, bench.staging, bench.staging / batch[0].staged.name):
        os.utime(path, (0, 0))
    delivery.clean()
    assert sorted(path.name for path in (bench.path / "tmp").glob("[!.]*")) == ["young"]
    assert bench.staged() == [batch[0].staged.name]
