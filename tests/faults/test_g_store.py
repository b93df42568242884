"""FAULTS §2 G: a store that is locked, full, rotten, read-only, or not ours (103, 116)."""

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fetchd.app import App
from fetchd.errors import StoreError
from fetchd.inbox import Finished
from fetchd.store import database
from fetchd.store.sqlite import SqliteStore
from tests.accounts import make_settings
from tests.faults.bench import KEEP, Bench, _no_reload, stored, uid
from tests.faults.disks import TRUSTY, full, mount_anew, remount, thin_ext4, tmpfs
from tests.faults.server import FaultyServer, Session
from tests.faults.steps import Honest

NO_SPACE = (
    r"store .*/fetchd\.db (has no space left on its file system: free some|could not be read or written: the file)"
)


# ── locked by others ─────────────────────────────────────────────────────────────────────────────────────────────


class Locker:
    """Another process, that holds the store's write lock, as a backup does, from :meth:`lock` until :meth:`release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    def lock(self) -> None:
        if self._process is None:
            script = (
                "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10); "
                "db.execute('BEGIN IMMEDIATE'); print(flush=True); input()"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", script, str(self._path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert self._process.stdout is not None
            self._process.stdout.readline()

    def release(self) -> None:
        if self._process is not None:
            self._process.communicate(b"\n")
            self._process = None


@pytest.fixture
def locked(tmp_path: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Bench, Locker]]:
    """A bench whose store does not wait for long, and a process that can lock it."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    locker = Locker(tmp_path / "state" / "fetchd.db")
    with Bench(tmp_path, server) as made:
        yield made, locker
    locker.release()


@pytest.mark.parametrize("when", [b"STAT", b"RETR 1", b"RETR 2", b"RETR 3", b"LIST 3", b"DELE 1", b"QUIT"])
def test_a_store_that_others_lock_ends_the_poll_and_the_next_one_goes_on(
    locked: tuple[Bench, Locker], when: bytes
) -> None:
    """FAULTS 103: SQLITE_BUSY by another process, from each instant of a session on: nothing is recorded from then."""
    bench, locker = locked
    bench.fill(1, 2, 3)
    bench.poll(policy=KEEP)
    bench.fill(4, 5, 6)
    bench.server.mail[:] = bench.server.mail[3:]

    def take(session: Session) -> Honest:
        locker.lock()
        return Honest()

    bench.server.faults[when] = take
    says = r"store .*/fetchd\.db is locked by another program: end that one \(`fuser` names it\)"
    bench.fails(StoreError, says, here=True)
    told = len(bench.server.retrieved)
    bench.fails(StoreError, says, here=True)
    assert len(bench.server.retrieved) == told, "without a memory nothing is fetched"
    locker.release()
    bench.heals(1, 2, 3, 4, 5, 6)
    assert sorted(bench.server.deleted) == [uid(4), uid(5), uid(6)]


# ── disks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("when", [None, b"RETR 1", b"RETR 2"], ids=["before", "first", "second"])
def test_a_disk_full_under_the_store_alone(tmp_path: Path, server: FaultyServer, when: bytes | None) -> None:
    """FAULTS 116: a real SQLITE_FULL, before a poll or in the middle; the Maildir has space, and gets nothing twice."""
    with tmpfs(tmp_path / "state", "size=1m,mode=0700") as disk, Bench(tmp_path, server) as bench:
        bench.poll()
        bench.fill(*range(1, 100))
        filling = full(disk)

        def fill_up(session: Session) -> Honest:
            server.faults.clear()
            filling.__enter__()
            return Honest()

        if when is None:
            filling.__enter__()
        else:
            server.faults[when] = fill_up
        for _ in range(2):
            bench.fails(StoreError, NO_SPACE, here=True)
        assert server.deleted == []
        filling.__exit__(None, None, None)
        bench.heals(*range(1, 100))


def test_a_store_on_a_disk_that_does_not_keep_what_it_takes(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 103: SQLITE_IOERR: fsync(2) fails for real, and the COMMIT that failed may have happened."""
    pool = tmp_path / "pool"
    numbers = range(1, 400)
    with thin_ext4(tmp_path / "state", pool, TRUSTY) as disk:
        with Bench(tmp_path, server) as bench:
            bench.fill(*numbers)
            with full(pool):
                for _ in range(2):
                    says = r"store .*/fetchd\.db could not be read or written: the file"
                    bench.fails(StoreError, says, here=True, policy=KEEP)
            bench.heals(*numbers, policy=KEEP)
        mount_anew(disk, pool, TRUSTY)
        with closing(sqlite3.connect(disk / "fetchd.db")) as db:
            assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        with SqliteStore.open(disk / "fetchd.db") as store:
            assert len(store.seen("alice")) == len(numbers)


def test_a_store_mounted_read_only(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 103: SQLITE_READONLY, as a kernel does after errors; nobody is called."""
    with tmpfs(tmp_path / "state", "size=4m,mode=0700") as disk, Bench(tmp_path, server) as bench:
        bench.fill(1)
        bench.poll()
        bench.fill(2)
        server.deleted.clear()
        server.may_delete = lambda _uid: ""  # what it asks is closed
        bench.store.close()
        remount(disk, "ro")
        with pytest.raises(StoreError, match=r"cannot be (opened|used): .*[Rr]ead-only|mounted read-write\?"):
            once(bench)
        assert len(server.sessions) == 1
        remount(disk, "rw")
        assert [message.error for message in once(bench)] == [None]
        assert bench.mail() == stored(1, 2)


# ── not what it should be ────────────────────────────────────────────────────────────────────────────────────────


def once(bench: Bench) -> list[Finished]:
    """Runs the whole of ``fetchd --once`` but its arguments, with the bench's account and the store's path."""
    settings = make_settings([bench.account], state=bench.root / "state" / "fetchd.db")
    with App(settings, renderers=[bench.world.emit], load=_no_reload) as app:
        return app.run_once([])


def rotten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url)")


def cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 + 100)


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (rotten, r"is damaged: stop fetchd, keep a copy of it, and put back a backup"),
        (cut_off, r"is damaged: stop fetchd, keep a copy of it, and put back a backup"),
        (lambda path: path.write_bytes(b"hello, I am a text file\n" * 99), "is not a fetchd store: point `state:`"),
        (foreign, "another program's database"),
        (newer, r"was made by a newer fetchd \(schema 99, this one knows 1\): upgrade fetchd"),
        (become_a_directory, "is not a regular file: point `state:` elsewhere"),
    ],
    ids=["rotten", "cut off", "text", "foreign", "newer", "directory"],
)
def test_a_store_that_is_none_of_ours_is_left_alone_and_nobody_is_called(
    bench: Bench, spoil: Callable[[Path], object], says: str
) -> None:
    """FAULTS 103: CORRUPT, NOTADB, a newer schema, another program's: one line that names it; a backup helps."""
    path = bench.root / "state" / "fetchd.db"
    bench.fill(*range(40))
    bench.poll()
    bench.server.deleted.clear()
    bench.store.close()
    backup = bench.root / "backup"
    shutil.copy(path, backup)
    spoil(path)
    found = path.read_bytes() if path.is_file() else b""
    bench.fill(40)
    sessions = len(bench.server.sessions)
    error = _refused(bench)
    assert re.fullmatch(rf"store {re.escape(str(path))} .*", error), error
    assert re.search(says, error), error
    assert (path.read_bytes() if path.is_file() else b"") == found, "it was written to"
    assert len(bench.server.sessions) == sessions
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copy(backup, path)
    bench.server.may_delete = lambda _uid: ""
    assert [message.error for message in once(bench)] == [None]
    assert bench.mail() == stored(*range(41))
    assert bench.server.deleted == [uid(40)]


def _refused(bench: Bench) -> str:
    """Returns why fetchd does not start, or does not poll."""
    try:
        (finished,) = once(bench)
    except StoreError as error:
        return str(error)
    assert isinstance(finished.error, StoreError)
    return str(finished.error)


@pytest.mark.parametrize("how", ["removed", "emptied", "replaced"])
def test_a_store_that_vanishes_under_a_running_daemon_is_not_begun_anew(bench: Bench, how: str) -> None:
    """FAULTS 103: nothing is delivered without it; once it is put back all goes on in the same process."""
    path = bench.root / "state" / "fetchd.db"
    bench.fill(1)
    bench.poll(policy=KEEP)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    aside = path.with_name("aside")
    path.rename(aside)
    bench.fill(2)
    match how:
        case "emptied":
            path.touch()
        case "replaced":
            shutil.copy(aside, path)
    bench.fails(StoreError, r"store .*/fetchd\.db was removed or replaced while in use", here=True, policy=KEEP)
    if how != "replaced":  # a copy is as good as the original, once it was noticed
        told = len(bench.server.retrieved)
        bench.fails(StoreError, r"store .*/fetchd\.db (is empty now: put it back|cannot be)", here=True, policy=KEEP)
        assert len(bench.server.retrieved) == told
        aside.rename(path)
    assert bench.mail() == stored(1)
    bench.heals(1, 2, policy=KEEP)
    assert bench.server.retrieved.count(uid(1)) == 1
