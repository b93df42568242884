"""FAULTS §2 G: disks that are full, over quota, read-only or rotten, and limits of the system (96 to 98)."""

import errno
import os
from pathlib import Path

import pytest

from fetchd import events
from fetchd.errors import DeliveryError
from tests.faults.bench import Bench, message, stored, uid
from tests.faults.disks import FailingCalls, full, mount_anew, remount, thin_ext4, tmpfs
from tests.faults.mbox import OTHERS, MboxBench
from tests.faults.server import FaultyServer

KINDS = pytest.mark.parametrize("kind", [Bench, MboxBench], ids=["maildir", "mbox"])
FULL = "the disk is full or out of inodes: free some space, and delivery goes on by itself"


def in_vain(bench: Bench, *new: int, says: str, before: int = 0) -> None:
    """New mail comes in vain, twice; nothing is DELEd, and not a poll more than needed is tried."""
    bench.fill(*new)
    there = len(bench.mail())
    for _ in range(2):
        bench.fails(DeliveryError, says, here=True)
        assert len(bench.mail()) <= there + before
        assert bench.server.deleted == []


# ── no space ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_a_full_disk_takes_what_it_can_and_the_rest_when_there_is_space(bench: Bench, pages: int) -> None:
    """FAULTS 96: a real ENOSPC; the message that finds no space is the first, the second, or the third."""
    with tmpfs(bench.root / "Maildir") as disk:
        bench.poll()
        with full(disk, free=pages * os.sysconf("SC_PAGE_SIZE")):
            in_vain(bench, 1, 2, 3, says=rf"cannot (write|complete).* .*/Maildir/tmp/.*: {FULL}", before=pages)
            assert len(bench.mail()) == pages
        bench.heals(1, 2, 3)
        assert sorted(set(bench.server.deleted)) == [uid(1), uid(2), uid(3)]


@pytest.mark.parametrize("inodes", [1, 2, 3, 4, 5, 6])
def test_without_inodes_nothing_is_half_made(bench: Bench, inodes: int) -> None:
    """FAULTS 96: used up at the first, second, third directory of the Maildir, at staging's, or at a message."""
    with tmpfs(bench.root / "Maildir", f"size=1m,nr_inodes={inodes}") as disk:
        in_vain(bench, 1, 2, says=rf"cannot .*/Maildir.*: {FULL}", before=1)
        remount(disk, "nr_inodes=100")
        bench.heals(1, 2)


@pytest.mark.parametrize(("pages", "what"), [(0, "lock"), (1, "append to")])
def test_an_mbox_on_a_full_disk_is_as_it_was(tmp_path: Path, server: FaultyServer, pages: int, what: str) -> None:
    """FAULTS 96: what was appended in part is cut off; what was downloaded is not downloaded again."""
    page = os.sysconf("SC_PAGE_SIZE")
    with MboxBench(tmp_path, server) as bench, tmpfs(bench.path.parent) as disk:
        bench.path.write_bytes(OTHERS.ljust(page - 100, b"x") + b"\n\n")
        before = bench.path.read_bytes()
        with full(disk, free=pages * page):
            in_vain(bench, 1, 2, 3, says=rf"cannot {what} mbox .*/mbox: {FULL}")
            assert bench.path.read_bytes() == before
        bench.heals(1, 2, 3)
        assert bench.path.read_bytes().startswith(before)
        assert server.retrieved.count(uid(1)) == 1


def test_the_staging_of_an_mbox_on_a_full_disk(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 96: before anything is recorded."""
    with MboxBench(tmp_path, server) as bench, tmpfs(tmp_path / "mbox-staging", "size=1m,mode=0700") as disk:
        with full(disk):
            in_vain(bench, 1, 2, says=FULL)
        bench.heals(1, 2)


@KINDS
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("lasting", [True, False], ids=["for good", "once"])
def test_a_fault_at_each_call_loses_and_doubles_nothing(
    tmp_path: Path,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Bench],
    code: int,
    lasting: bool,
) -> None:
    """FAULTS 96, 97: at each open, write, fsync, rename, link and mkdir of two messages' way."""
    calls = FailingCalls(monkeypatch)
    with kind(tmp_path, server) as bench:
        for trial in range(1, 200):
            numbers = range(1, 2 * trial + 1)
            bench.fill(*numbers[-2:])
            calls.arm(code, number=trial, lasting=lasting)
            if fails_or_not(bench) and lasting:
                bench.fails(DeliveryError, ".", here=True)
            fired = bool(calls.fired)
            calls.disarm()
            bench.heals(*numbers)
            assert calls.retried == [], "a failed fsync was tried again"
            if not fired:
                assert trial > 10
                break
        else:
            raise AssertionError("never a poll without a fault")


def fails_or_not(bench: Bench) -> bool:
    """Polls; what is not vital, such as the mark that tells a stale lock, may fail without a word."""
    failed: DeliveryError | None = None
    try:
        bench._poll({})
    except DeliveryError as error:
        failed = error
    assert len(bench.said(events.PollFailed)) == (failed is not None)
    bench.always(failed, here=True)
    return failed is not None


# ── errors of the disk ───────────────────────────────────────────────────────────────────────────────────────────


def test_an_fsync_that_fails_for_real_loses_nothing(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 97: a volume that promised more than there is behind it: write(2) succeeds, and fsync(2) does not."""
    pool = tmp_path / "pool"
    with Bench(tmp_path, server) as bench, thin_ext4(tmp_path / "Maildir", pool) as disk:
        bench.poll()
        server.mail += [(uid(1), message(1)), (uid(2), message(2) + b"x" * 100_000 + b"\r\n")]
        with full(pool):
            for _ in range(2):
                bench.fails(DeliveryError, rf"cannot .*/Maildir/.*: ({FULL}|the disk reports an error)", here=True)
                assert server.deleted == []
                assert os.statvfs(disk).f_bavail > 1000
        bench.poll()
        bench.poll()
        mount_anew(disk, pool)
        bench.always()
        assert [len(one) for one in bench.mail()] == [len(stored(1)[0]), 100_000 + 1 + len(stored(2)[0])]
        assert sorted(server.deleted) == [uid(1), uid(2)]


def test_an_mbox_that_cannot_be_flushed_for_real_loses_nothing(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 97: likewise; it is cut back, and what is appended anew is on disk."""
    pool = tmp_path / "pool"
    with MboxBench(tmp_path, server) as bench, thin_ext4(bench.path.parent, pool) as disk:
        bench.path.write_bytes(OTHERS + b"x" * 99_000 + b"\n\n")
        before = bench.path.read_bytes()
        with bench.path.open("rb") as file:
            os.fsync(file.fileno())
        bench.fill(*range(100))
        with full(pool):
            for _ in range(2):
                bench.fails(DeliveryError, rf"cannot .*/mbox: ({FULL}|the disk reports an error)", here=True)
                assert server.deleted == []
        bench.heals(*range(100))
        mount_anew(disk, pool)
        assert bench.mail() == stored(*range(100))
        assert bench.path.read_bytes().startswith(before)


def test_a_target_mounted_read_only_waits_until_it_is_not(bench: Bench) -> None:
    """FAULTS 97: as a kernel does after errors."""
    with tmpfs(bench.root / "Maildir") as disk:
        bench.fill(1)
        bench.poll()
        bench.server.deleted.clear()
        remount(disk, "ro")
        in_vain(bench, 2, says=r"cannot .*/Maildir.*: its file system is mounted read-only")
        remount(disk, "rw")
        bench.heals(1, 2)
