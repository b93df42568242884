"""What becomes of a batch that was being appended when something failed, or the process ended: FAULTS §4.4."""

import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd.delivery import appending
from fetchd.delivery.mbox import Mbox
from fetchd.errors import DeliveryError, StoreError
from fetchd.model import Committed, Placement
from tests.delivery.doubles import SECONDS, Bench, MemoryJournal, deliver, new_name, stage

LINE = b"From MAILER-DAEMON Mon Nov 23 19:26:26 2026\n"
THEIRS = b"From bob@example.org Tue Nov 24 06:01:00 2026\nSubject: theirs\n\nbody\n\n"
ONE, TWO = b"Subject: one\n\nFrom me\n", b"Subject: two\n\n" + b"x" * 700_000 + b"\n"
WRITTEN = LINE + b"Subject: one\n\n>From me\n\n" + LINE + TWO + b"\n"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench("mbox", tmp_path)


class StoreGone(MemoryJournal):
    """A store that fails at the given call."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at

    def appending(self, placement: Placement) -> None:
        super().appending(placement)
        if self._at == "appending":
            raise StoreError("disk full")

    def appended(self, placement: Placement) -> None:
        if self._at == "appended":
            raise StoreError("disk full")
        super().appended(placement)


def interrupted(bench: Bench, journal: MemoryJournal, *bodies: bytes) -> list[Committed]:
    """A batch appended in full, of which the journal only knows the beginning."""
    delivery = bench.prepared()
    batch = stage(delivery, *bodies)
    journal.commit(batch)
    failing = StoreGone("appended")
    failing.kept = journal.kept
    with pytest.raises(StoreError):
        delivery.publish(batch, failing)
    assert len(bench.staged()) == len(bodies)
    return batch


def recovered(bench: Bench, journal: MemoryJournal) -> int:
    delivery = bench.open()
    delivery.prepare(create=False)
    done = delivery.recover(journal.outbox, journal)
    assert bench.staged() == []
    done_names = {name for placement in journal.placements() if placement.done for name in placement.names}
    assert done_names == {committed.staged.name for committed in journal.outbox}
    return done


# ── a failure while appending ────────────────────────────────────────────────────────────────────────────────────


def test_a_store_that_fails_before_the_append_leaves_the_mbox_alone(bench: Bench) -> None:
    """The journal first; whether it kept the placement or not, recovery sees that nothing is there."""
    bench.path.write_bytes(THEIRS)
    failing = StoreGone("appending")
    delivery = bench.prepared()
    batch = stage(delivery, ONE)
    failing.commit(batch)
    with pytest.raises(StoreError):
        delivery.publish(batch, failing)
    assert bench.path.read_bytes() == THEIRS
    assert not bench.path.with_name("mbox.lock").exists()
    journal = MemoryJournal()
    journal.kept, journal.outbox = failing.kept, failing.outbox
    assert recovered(bench, journal) == 1
    assert bench.messages() == [b"Subject: theirs\n\nbody\n", ONE]


def test_a_full_disk_cuts_the_mbox_back_and_recovery_finishes(
    small_disk: Path, bench: Bench, journal: MemoryJournal
) -> None:
    """FAULTS G 96 and §4.4: a real ENOSPC in the middle of the append. The batch stays committed and staged."""
    path = small_disk / "mbox"
    path.write_bytes(THEIRS)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 600_000)
    delivery = Mbox(path, "alice", staging=bench.staging)
    delivery.prepare()
    batch = stage(delivery, ONE, TWO)
    journal.commit(batch)
    for _ in range(2):
        with pytest.raises(DeliveryError, match=r"cannot append to mbox .*: the disk is full"):
            delivery.publish(batch, journal)
        assert path.read_bytes() == THEIRS
        assert len(bench.staged()) == 2
    ballast.unlink()
    assert delivery.recover(journal.outbox, journal) == 2
    assert path.read_bytes() == THEIRS + WRITTEN
    assert bench.staged() == []
    delivery.close()


def failing_fsync_of(path: Path, monkeypatch: pytest.MonkeyPatch, code: int = errno.EIO) -> list[str]:
    """Lets the next fsync of one file fail; returns the list of files that were flushed from then on."""
    flushed: list[str] = []
    fsync = os.fsync

    def fail_once(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        flushed.append(name)
        if name == str(path) and flushed.count(name) == 1:
            raise OSError(code, "injected")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    return flushed


def test_after_a_failed_fsync_the_mbox_is_cut_back(
    bench: Bench, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS G 97: what a second fsync says of these octets would be a lie, so they are written anew."""
    bench.path.write_bytes(THEIRS)
    delivery = bench.prepared()
    batch = stage(delivery, ONE)
    journal.commit(batch)
    with monkeypatch.context() as patch:
        flushed = failing_fsync_of(bench.path, patch)
        with pytest.raises(DeliveryError, match=r"cannot append to mbox .*: the disk reports an error"):
            delivery.publish(batch, journal)
    assert flushed == [str(bench.path)] * 2  # the second is the cut's
    assert bench.path.read_bytes() == THEIRS
    assert not journal.placements()[0].done
    assert recovered(bench, journal) == 1
    assert bench.messages() == [b"Subject: theirs\n\nbody\n", ONE]


@pytest.mark.parametrize("kind", ["appended to", "replaced"])
def test_a_program_that_ignores_the_locks_is_found_out(
    bench: Bench, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its octets are not cut off with ours, and ours are not taken for delivered where they are not."""
    bench.path.write_bytes(THEIRS)
    delivery = bench.prepared()
    batch = stage(delivery, ONE, TWO)
    journal.commit(batch)
    write = os.write
    theirs = THEIRS.replace(b"theirs", b"rude")

    def meddle(descriptor: int, octets: bytes) -> int:
        if LINE in bytes(octets[:100]) and bench.path.stat().st_size > len(THEIRS) + 10:
            if kind == "appended to":
                with bench.path.open("ab") as file:
                    file.write(theirs)
            else:
                new = bench.path.with_name("new")
                new.write_bytes(THEIRS + theirs)
                new.rename(bench.path)
        return write(descriptor, octets)

    with monkeypatch.context() as patch:
        patch.setattr(appending.os, "write", meddle)
        with pytest.raises(DeliveryError, match=r"changed by another program while fetchd held its locks"):
            delivery.publish(batch, journal)
    recovered(bench, journal)
    messages = bench.messages()
    assert [messages.count(body) for body in (b"Subject: rude\n\nbody\n", ONE, TWO)] == [1, 1, 1]


# ── what recovery finds ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_that_is_all_there_is_done(bench: Bench, journal: MemoryJournal) -> None:
    """Also where others have appended since; and the file is flushed, for the earlier run may not have."""
    interrupted(bench, journal, ONE, TWO)
    with bench.path.open("ab") as file:
        file.write(THEIRS)
    assert recovered(bench, journal) == 0
    assert bench.path.read_bytes() == WRITTEN + THEIRS


def test_a_batch_that_is_all_there_is_flushed_before_it_is_done(
    bench: Bench, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(bench, journal, ONE)
    flushed = failing_fsync_of(bench.path, monkeypatch)
    delivery = bench.open()
    delivery.prepare(create=False)
    with pytest.raises(DeliveryError, match="cannot flush mbox"):
        delivery.recover(journal.outbox, journal)
    assert flushed[-1] == str(bench.path)
    assert not journal.placements()[0].done
    assert len(bench.staged()) == 1


@pytest.mark.parametrize("before", [b"", THEIRS, b"From bob\n\nend"])
@pytest.mark.parametrize("torn", [0, 1, 2, 3, 20, len(LINE), 80, 300_000, -1])
def test_a_torn_batch_is_cut_off_and_appended_again(
    bench: Bench, journal: MemoryJournal, before: bytes, torn: int
) -> None:
    """A proper prefix at the end of the file, down to nothing."""
    if before:
        bench.path.write_bytes(before)
    interrupted(bench, journal, ONE, TWO)
    whole = bench.path.read_bytes()
    os.truncate(bench.path, len(whole) - 1 if torn < 0 else len(before) + torn)
    assert recovered(bench, journal) == 2
    assert bench.path.read_bytes() == whole
    bench.path.unlink()  # a reader takes it all; the journal knows of two equal placements, one of them done
    assert recovered(bench, journal) == 0


def rewritten_in_place(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)


def replaced(path: Path, octets: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(octets)
    new.rename(path)


REWRITES = [rewritten_in_place, replaced]


@pytest.mark.parametrize("rewrite", REWRITES)
def test_a_reader_that_removed_other_mail_has_not_removed_ours(
    bench: Bench, journal: MemoryJournal, rewrite: Callable[[Path, bytes], None]
) -> None:
    """The batch stands elsewhere in the file now: found by its very octets, and not appended again."""
    bench.path.write_bytes(THEIRS * 3)
    interrupted(bench, journal, ONE, TWO)
    rewrite(bench.path, THEIRS + WRITTEN)
    assert recovered(bench, journal) == 0
    assert bench.path.read_bytes() == THEIRS + WRITTEN
    assert recovered(bench, journal) == 0


@pytest.mark.parametrize("rewrite", REWRITES)
def test_a_reader_that_removed_one_of_ours_gets_it_again(
    bench: Bench, journal: MemoryJournal, rewrite: Callable[[Path, bytes], None]
) -> None:
    """Undecidable whether it was read or never written: never lost comes before never twice. The other stays one."""
    bench.path.write_bytes(THEIRS)
    interrupted(bench, journal, ONE, TWO)
    rewrite(bench.path, LINE + TWO + b"\n" + THEIRS)
    assert recovered(bench, journal) == 1
    assert bench.messages() == [TWO, b"Subject: theirs\n\nbody\n", ONE]


def test_the_last_blank_line_may_be_gone(bench: Bench, journal: MemoryJournal) -> None:
    """Some readers write none at the end."""
    bench.path.write_bytes(THEIRS)
    interrupted(bench, journal, ONE)
    replaced(bench.path, LINE + b"Subject: one\n\n>From me\n")
    assert recovered(bench, journal) == 0
    assert bench.messages() == [ONE]


@pytest.mark.parametrize("longer", [b"Subject: one\n\nFrom me\nand more\n", b"Subject: one\n\nFrom me\n\nmore\n"])
def test_a_longer_message_that_begins_like_ours_is_not_ours(
    bench: Bench, journal: MemoryJournal, longer: bytes
) -> None:
    """Of the same second; taking it for ours would lose a message."""
    interrupted(bench, journal, ONE)
    replaced(bench.path, LINE + longer.replace(b"From", b">From") + b"\n")
    assert recovered(bench, journal) == 1
    assert bench.messages() == [longer, ONE]


def test_two_equal_messages_are_two(bench: Bench, journal: MemoryJournal) -> None:
    """One place in the file counts for one message only."""
    bench.path.write_bytes(THEIRS)
    interrupted(bench, journal, ONE, ONE)
    replaced(bench.path, LINE + b"Subject: one\n\n>From me\n\n" + THEIRS)
    assert recovered(bench, journal) == 1
    assert bench.messages() == [ONE, b"Subject: theirs\n\nbody\n", ONE]


@pytest.mark.parametrize("rewrite", REWRITES)
def test_two_equal_messages_are_found_in_two_places(
    bench: Bench, journal: MemoryJournal, rewrite: Callable[[Path, bytes], None]
) -> None:
    bench.path.write_bytes(THEIRS * 9)
    interrupted(bench, journal, ONE, ONE)
    rewrite(bench.path, (LINE + b"Subject: one\n\n>From me\n\n" + THEIRS) * 2)
    assert recovered(bench, journal) == 0
    assert bench.messages().count(ONE) == 2


def test_a_new_file_of_the_old_size_is_searched_all_the_same(bench: Bench, journal: MemoryJournal) -> None:
    """It ends where the append began, but it is another file: ours may be in it."""
    message = LINE + b"Subject: one\n\n>From me\n\n"
    bench.path.write_bytes(b"From x\n".ljust(len(message) - 2, b"x") + b"\n\n")
    interrupted(bench, journal, ONE)
    assert journal.placements()[0].offset == len(message)
    replaced(bench.path, message)
    assert recovered(bench, journal) == 0
    assert bench.path.read_bytes() == message


def test_two_equal_messages_are_two_also_where_one_is_still_in_place(bench: Bench, journal: MemoryJournal) -> None:
    """The second of two was torn, and others wrote behind it."""
    interrupted(bench, journal, ONE, ONE)
    os.truncate(bench.path, bench.path.stat().st_size // 2 + 60)
    with bench.path.open("ab") as file:
        file.write(b"\n\n" + THEIRS)
    assert recovered(bench, journal) == 1
    assert bench.messages().count(ONE) == 2


def test_a_message_is_found_over_any_edge_of_the_search_window(bench: Bench, journal: MemoryJournal) -> None:
    """Bounded memory: the file is searched in pieces, and a separator may lie across two."""
    interrupted(bench, journal, ONE)
    message = LINE + b"Subject: one\n\n>From me\n\n"
    for short in (0, 1, 20, 43, 44, 45, 46):
        filling = b"From x\n\n" + b"y" * (appending.CHUNK - 10 - short) + b"\n\n"
        rewritten = filling + message + THEIRS
        bench.path.write_bytes(rewritten)
        again = MemoryJournal()
        again.kept, again.outbox = list(journal.kept), list(journal.outbox)
        delivery = bench.open()
        delivery.prepare(create=False)
        staged = {name: (bench.staging / name).read_bytes() for name in bench.staged()}
        assert delivery.recover(again.outbox, again) == 0
        assert bench.path.read_bytes() == rewritten
        for name, octets in staged.items():
            (bench.staging / name).write_bytes(octets)


@pytest.mark.parametrize("gone", ["removed", "emptied"])
def test_a_reader_that_took_the_whole_file_gets_the_batch_again(
    bench: Bench, journal: MemoryJournal, gone: str
) -> None:
    bench.path.write_bytes(THEIRS)
    interrupted(bench, journal, ONE)
    if gone == "removed":
        bench.path.unlink()
    else:
        os.truncate(bench.path, 0)
    assert recovered(bench, journal) == 1
    assert bench.messages() == [ONE]


@pytest.mark.parametrize("torn", [0, 1, 2, 5, len(LINE), 100])
def test_what_others_appended_behind_a_torn_batch_stays(bench: Bench, journal: MemoryJournal, torn: int) -> None:
    """Nobody else's octets are ever touched: what is whole of ours counts, the rest is appended behind theirs."""
    bench.path.write_bytes(THEIRS)
    interrupted(bench, journal, ONE, TWO)
    os.truncate(bench.path, len(THEIRS) + len(LINE) + len(b"Subject: one\n\n>From me\n\n") + torn)
    with bench.path.open("ab") as file:
        file.write(b"\n\n" + THEIRS)
    before = bench.path.read_bytes()
    assert recovered(bench, journal) == 1
    assert bench.path.read_bytes() == before + LINE + TWO + b"\n"
    assert [sum(message.startswith(body) for message in bench.messages()) for body in (ONE, TWO)] == [1, 1]


def test_a_message_known_to_be_in_the_mbox_is_never_cut_off(bench: Bench, journal: MemoryJournal) -> None:
    """Recovery found one of two behind which others wrote, and ended; then the others' mail was removed."""
    batch = interrupted(bench, journal, ONE, TWO)
    first = LINE + b"Subject: one\n\n>From me\n\n"
    os.truncate(bench.path, len(first))
    half_done = journal.placements()[0]
    found = Placement(half_done.inode, 0, len(first), b"\0" * 16, (batch[0].staged.name,), done=True)
    journal.kept.append(found)
    assert recovered(bench, journal) == 1
    assert sorted(bench.messages()) == [ONE, TWO]


def test_the_last_placement_of_a_message_counts(bench: Bench, journal: MemoryJournal) -> None:
    """An append that failed and was cut back, others' mail in its place, then the append that was interrupted."""
    bench.path.write_bytes(THEIRS)
    delivery = bench.prepared()
    batch = stage(delivery, ONE)
    journal.commit(batch)
    inode = bench.path.stat().st_ino
    journal.appending(Placement(inode, 0, len(WRITTEN), b"\0" * 16, (batch[0].staged.name,)))
    failing = StoreGone("appended")
    failing.kept = journal.kept
    with pytest.raises(StoreError):
        delivery.publish(batch, failing)
    whole = bench.path.read_bytes()
    assert recovered(bench, journal) == 0
    assert bench.path.read_bytes() == whole


def test_a_batch_that_is_done_needs_no_staged_file_and_no_mbox(bench: Bench, journal: MemoryJournal) -> None:
    """The run ended between the unlinks and the settling; a reader has emptied the mbox since."""
    deliver(bench.prepared(), journal, ONE)
    bench.path.unlink()
    assert recovered(bench, journal) == 0
    assert not bench.path.exists()


def test_staged_files_come_back_after_a_power_cut_and_are_removed_for_good(
    bench: Bench, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal that was never flushed; the directory is flushed before anybody forgets the names."""
    batch = deliver(bench.prepared(), journal, ONE)
    (bench.staging / batch[0].staged.name).write_bytes(ONE)
    flushed = failing_fsync_of(Path("/none"), monkeypatch)
    assert recovered(bench, journal) == 0
    assert flushed == [str(bench.staging)]
    assert bench.messages() == [ONE]


def test_a_staged_file_that_vanished_is_an_error_that_names_it(bench: Bench, journal: MemoryJournal) -> None:
    """Never passed over: the store takes the message for delivered."""
    batch = interrupted(bench, journal, ONE)
    bench.path.write_bytes(b"")
    (bench.staging / batch[0].staged.name).unlink()
    delivery = bench.open()
    delivery.prepare(create=False)
    with pytest.raises(DeliveryError, match=r"staged file vanished: .*put it back"):
        delivery.recover(journal.outbox, journal)


def test_a_message_needs_little_memory(bench: Bench, journal: MemoryJournal) -> None:
    """30 MB with 10 MB lines, appended and recovered by search, in a few MB."""
    line = b"From " + b"x" * 10_000_000 + b"\n"
    delivery = bench.prepared()
    file = delivery.stage(new_name(seconds=SECONDS))
    for _ in range(3):
        for at in range(0, len(line), 100_000):
            file.write(line[at : at + 100_000])
    batch = [Committed(None, file.finish())]
    journal.commit(batch)
    tracemalloc.start()
    failing = StoreGone("appended")
    with pytest.raises(StoreError):
        delivery.publish(batch, failing)
    bench.path.rename(bench.root / "old")
    with bench.path.open("wb") as new, (bench.root / "old").open("rb") as old:
        new.write(THEIRS)
        while chunk := old.read(100_000):
            new.write(chunk)
    journal.kept = failing.kept
    assert recovered(bench, journal) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


def test_another_accounts_torn_append_is_not_ours_to_cut(bench: Bench, journal: MemoryJournal) -> None:
    """Two accounts, one mbox: each recovers its own."""

    theirs, their_batch = MemoryJournal(), stage(bench.prepared(), TWO)
    theirs.commit(their_batch)
    failing = StoreGone("appended")
    with pytest.raises(StoreError):
        bench.prepared().publish(their_batch, failing)
    theirs.kept = failing.kept
    os.truncate(bench.path, 1000)
    deliver(bench.prepared("bob"), journal, ONE, account="bob")
    assert recovered(bench, theirs) == 1
    assert [bench.messages().count(body) for body in (ONE, TWO)] == [1, 1]
