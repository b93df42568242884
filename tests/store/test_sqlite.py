"""The SQLite store beyond the contract: durability, faults, and that nothing ever begins anew in silence."""

import errno
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.model import AllKnown, Committed, Fate, PollResult, Seen, Staged, UniqueId
from fetchd.store import database, schema
from fetchd.store.sqlite import SqliteStore
from tests.store import faulty
from tests.store.mounts import tmpfs

NOW = 1_795_461_986
DAY = 86_400
A = UniqueId(b"uid-A")


def batch(start: int, count: int = 1, *, octets: int = 8) -> list[Committed]:
    return [
        Committed(
            uid=UniqueId(b"%0*d" % (octets, number)),
            staged=Staged(name=f"name-{number}", size=number),
        )
        for number in range(start, start + count)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fetchd.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.open(path) as opened:
        yield opened


def make_store(path: Path, count: int = 3) -> None:
    """Leaves a store with that many committed messages of the account "a"."""
    with SqliteStore.open(path) as store:
        store.commit("a", batch(0, count), now=NOW)


def pragma(store: SqliteStore, name: str) -> object:
    with store._database.reading() as db:
        return db.execute(f"PRAGMA {name}").fetchone()[0]


# ── durable ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_commits_are_durable_and_readers_do_not_wait(store: SqliteStore) -> None:
    """WAL with synchronous=NORMAL (1): the log is synced by us, after COMMIT (``store/log.py``)."""
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == 1
    assert pragma(store, "busy_timeout") == database.BUSY_SECONDS * 1000
    assert pragma(store, "temp_store") == 2
    assert pragma(store, "application_id") == schema.APPLICATION_ID
    assert pragma(store, "user_version") == schema.SCHEMA_VERSION


def test_what_a_listing_shows_again_waits_for_no_disk(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """That all of it is known is written down behind every delivery: losing it costs a plan."""
    store.listed("a", vanished=[], returned=[], now=NOW)

    def fdatasync(_descriptor: int) -> None:
        raise OSError("synced")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fdatasync)
        store.listed("a", vanished=[], returned=[], now=NOW, known=AllKnown(b"digest"))
    assert store.all_known("a") == AllKnown(b"digest")


def test_that_an_account_is_known_is_on_disk(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not make the next poll a first one again: ``first_poll: skip`` would skip what came since."""
    synced = syncs_of_the_log(monkeypatch)
    store.mark("a", [UniqueId(b"old")], fate=Fate.SKIPPED, now=NOW)
    assert len(synced) == 1
    store.listed("a", vanished=[], returned=[], now=NOW)
    assert len(synced) == 2
    store.listed("a", vanished=[], returned=[], now=NOW + DAY)
    assert len(synced) == 2, "a day that begins again after a power cut costs nothing"


def test_a_connection_opened_again_after_an_error_is_as_durable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = faulty.install(monkeypatch)
    with SqliteStore.open(path) as store:
        first = store._database._db
        faults.before["COMMIT"] = sqlite3.SQLITE_IOERR
        with pytest.raises(StoreError):
            store.settle("a", ["x"])
        synced = syncs_of_the_log(monkeypatch)
        store.commit("a", batch(0, 1), now=NOW)
        assert store._database._db is not first
        assert synced == [os.stat(f"{path}-wal").st_ino]


def syncs_of_the_log(monkeypatch: pytest.MonkeyPatch, failing: int = 0) -> list[int]:
    """Lists the inodes of what is synced by us from now on; the first ``failing`` times it fails."""
    synced: list[int] = []
    fdatasync = os.fdatasync

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        if len(synced) <= failing:
            raise OSError(errno.EIO, "the disk fails")
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    return synced


def test_a_commit_returns_when_the_log_is_on_disk(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the end of a poll does not wait: every poll writes it, and losing it with the power costs a date."""
    synced = syncs_of_the_log(monkeypatch)
    store.commit("a", batch(0, 1), now=NOW)
    assert synced == [os.stat(f"{path}-wal").st_ino]
    store.poll_ended("a", PollResult("a"), error="", now=NOW)
    assert len(synced) == 1
    store.settle("a", ["x"])
    assert len(synced) == 2


def test_a_log_that_cannot_be_synced_is_an_error_and_the_file_is_opened_anew(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS G 97: a second sync of the same log would say that all is well; opening copies it into the database."""
    first = store._database._db
    synced = syncs_of_the_log(monkeypatch, failing=1)
    with pytest.raises(StoreError, match="the disk fails"):
        store.commit("a", batch(0, 1), now=NOW)
    assert len(synced) == 1
    assert len(store.outbox("a")) == 1
    assert store._database._db is not first


def test_every_write_takes_the_write_lock_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS G 103: a reader that turns writer may fail in a way that no waiting heals."""
    with SqliteStore.open(path) as store:
        statements: list[str] = []
        assert store._database._db is not None
        store._database._db.set_trace_callback(statements.append)
        store.commit("a", batch(0), now=NOW)
        store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
        store.mark_troubled("a", A, now=NOW)
        store.settle("a", ["name-0"])
        store.configure({"a": ("h", "u")})
        store.poll_ended("a", PollResult(account="a"), error="", now=NOW)
    statements = [statement for statement in statements if not statement.startswith("PRAGMA")]
    assert statements.count("COMMIT") == 6
    assert statements[0] == "BEGIN IMMEDIATE"
    assert [after for at, after in pairwise(statements) if at == "COMMIT"] == ["BEGIN IMMEDIATE"] * 5


WRITER = """
import sys
from pathlib import Path
from fetchd.model import Committed, Staged
from fetchd.store.sqlite import SqliteStore
store = SqliteStore.open(Path(sys.argv[1]))
for number in range(1000000):
    batch = [
        Committed(uid=b"%d.%d" % (number, part), staged=Staged(name=f"{number}.{part}", size=1)) for part in range(3)
    ]
    store.commit("a", batch, now=1, settled=[f"{number - 2}.{part}" for part in range(3)])
    print(number, flush=True)
"""


def test_what_was_committed_survives_kill_9_in_whole_batches(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(200)]
        process.kill()
        lines += process.stdout.readlines()
    reported = int([line for line in lines if line.endswith(b"\n")][-1])
    with SqliteStore.open(path) as store:
        assert not store.created
        seen = store.seen("a")
        whole, part = divmod(len(seen), 3)
        assert part == 0
        assert whole - 1 in {reported, reported + 1}
        assert seen.keys() == {b"%d.%d" % (number, part) for number in range(whole) for part in range(3)}
        assert [one.staged.name for one in store.outbox("a")] == [
            f"{number}.{part}" for number in (whole - 2, whole - 1) for part in range(3)
        ]


def test_opening_moves_what_a_kill_left_in_the_wal_into_the_database(path: Path) -> None:
    """What a killed process wrote may be readable without having been synced; opening syncs it elsewhere."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate()
    assert path.with_name("fetchd.db-wal").stat().st_size > 0
    with SqliteStore.open(path) as store:
        kept = len(store.seen("a"))
        copy = path.with_name("copy.db")
        shutil.copy(path, copy)  # without the WAL
        with closing(sqlite3.connect(copy)) as db:
            assert db.execute("SELECT count(*) FROM seen").fetchone() == (kept,)


def test_a_listing_that_changes_nothing_writes_nothing_that_day(path: Path, store: SqliteStore) -> None:
    """Thousands of idle accounts would otherwise cost a sync each, every poll."""
    store.listed("a", vanished=[], returned=[], now=NOW)
    assert store._database._db is not None
    statements: list[str] = []
    store._database._db.set_trace_callback(statements.append)
    store.listed("a", vanished=[], returned=[], now=NOW + DAY - 1)
    assert statements
    assert "BEGIN IMMEDIATE" not in statements
    store.listed("a", vanished=[], returned=[], now=NOW + DAY)
    assert "BEGIN IMMEDIATE" in statements


# ── made, or not made ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_store_says_so_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "fetchd.db"
    with SqliteStore.open(path) as store:
        assert store.created
        store.commit("a", batch(0), now=NOW)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.parent.parent.stat().st_mode & 0o777 == 0o700
        modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
        assert modes == dict.fromkeys(["fetchd.db", "fetchd.db-wal", "fetchd.db-shm", "fetchd.db.lock"], 0o600)
    with SqliteStore.open(path) as store:
        assert not store.created
        assert len(store.seen("a")) == 1


def test_directories_that_are_there_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    SqliteStore.open(tmp_path / "state" / "fetchd.db").close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o755


def test_a_new_store_is_synced_into_its_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(database, "_sync_directory", synced.append)
    SqliteStore.open(tmp_path / "one" / "two" / "fetchd.db").close()
    assert synced == [tmp_path, tmp_path / "one", tmp_path / "one" / "two"]


def test_an_empty_file_is_announced_as_a_new_store(path: Path) -> None:
    """As a crash between making the file and its tables leaves it, or a careless ``> fetchd.db``."""
    path.touch()
    with SqliteStore.open(path) as store:
        assert store.created


@pytest.mark.parametrize("content", [b"hello, I am a text file\n", b"x" * 100_000], ids=["short", "long"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=f"^store {re.escape(str(path))} is not a fetchd store: point `state:` elsewhere"
    ):
        SqliteStore.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url)")
    content = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        SqliteStore.open(path)
    assert path.read_bytes() == content


def test_a_newer_store_is_refused_and_left_alone(path: Path) -> None:
    make_store(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    content = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer fetchd \(schema 99, this one knows 1\): upgrade fetchd"):
        SqliteStore.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_a_path_that_is_no_regular_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "state"
    make(path)
    with pytest.raises(StoreError, match=f"store {path} is not a regular file"):
        SqliteStore.open(path)


def test_a_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=f"{tmp_path}/file"):
        SqliteStore.open(tmp_path / "file" / "fetchd.db")


@pytest.mark.parametrize("name", ["a b.db", "a?mode=memory.db", "a#b.db", "a%2fb.db", "ä.db"])
def test_a_path_may_hold_what_means_something_in_a_uri(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    make_store(path)
    assert path.stat().st_size > 0
    with SqliteStore.open_readonly(path) as reader:
        assert reader.accounts()[0].seen == 3


def test_a_store_that_is_closed_says_so(path: Path) -> None:
    store = SqliteStore.open(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.seen("a")
    with pytest.raises(StoreError, match="is closed"):
        store.commit("a", batch(0), now=NOW)


# ── damaged, replaced, gone ──────────────────────────────────────────────────────────────────────────────────────


def test_a_damaged_table_is_an_error_that_says_what_to_do(path: Path) -> None:
    make_store(path, count=5000)
    content = bytearray(path.read_bytes())
    content[8 * 4096 : 60 * 4096] = b"\xa5" * (52 * 4096)
    path.write_bytes(content)
    with SqliteStore.open(path) as store:
        for _ in range(2):
            with pytest.raises(StoreError, match=f"store {path} is damaged: stop fetchd, keep a copy of it"):
                store.seen("a")
    assert path.stat().st_size == len(content)


def test_a_damaged_schema_is_an_error_at_opening(path: Path) -> None:
    make_store(path)
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xa5" * 3996
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        SqliteStore.open(path)


def test_a_fate_that_no_fetchd_wrote_is_damage(path: Path) -> None:
    make_store(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE seen SET fate = 77")
    with SqliteStore.open(path) as store, pytest.raises(StoreError, match=r"is damaged.*\(unknown fate 77\)"):
        store.seen("a")


def test_a_store_removed_while_in_use_is_never_replaced_by_a_new_one(path: Path, store: SqliteStore) -> None:
    store.commit("a", batch(0), now=NOW)
    path.unlink()
    for _ in range(2):
        with pytest.raises(StoreError, match=str(path)):
            store.commit("a", batch(1), now=NOW)
    with pytest.raises(StoreError, match=str(path)):
        store.check()
    with pytest.raises(StoreError, match=str(path)):
        store.seen("a")
    assert not path.exists()


def test_a_store_emptied_while_in_use_is_never_taken_for_a_new_one(path: Path, store: SqliteStore) -> None:
    store.commit("a", batch(0), now=NOW)
    path.unlink()
    path.touch()
    with pytest.raises(StoreError, match="was removed or replaced while in use"):
        store.commit("a", batch(1), now=NOW)
    with pytest.raises(StoreError, match=f"store {path} is empty now"):
        store.seen("a")


def test_a_backup_put_back_while_in_use_is_opened(path: Path, store: SqliteStore) -> None:
    backup = path.with_name("backup.db")
    make_store(backup)
    path.unlink()
    backup.rename(path)
    with pytest.raises(StoreError, match="was removed or replaced while in use"):
        store.commit("a", batch(10), now=NOW)
    assert len(store.seen("a")) == 3
    store.commit("a", batch(10), now=NOW)
    assert len(store.seen("a")) == 4


def test_what_another_file_does_not_know_is_not_known_any_more(path: Path, store: SqliteStore) -> None:
    """What is remembered beside the file is the file's: a backup from before may be put back."""
    backup = path.with_name("backup.db")
    SqliteStore.open(backup).close()
    store.commit("a", [replace(one, target="maildir:/srv/a") for one in batch(0)], now=NOW)
    store.listed("a", vanished=(), returned=(), now=NOW)
    for _ in range(2):
        assert (store.knows("a"), store.delivered_into("maildir:/srv/a")) == (True, True)
    path.unlink()
    backup.rename(path)
    with pytest.raises(StoreError, match="was removed or replaced while in use"):
        store.commit("a", batch(10), now=NOW)
    assert (store.knows("a"), store.delivered_into("maildir:/srv/a")) == (False, False)


def test_a_name_that_an_account_gave_up_is_not_known_any_more(store: SqliteStore) -> None:
    """Else the first poll of another account under it would not be one, and ``first_poll: skip`` mean nothing."""
    store.configure({"a": ("host", "alice")})
    store.listed("a", vanished=(), returned=(), now=NOW)
    assert store.knows("a")
    assert store.configure({"b": ("host", "alice")}) == [("a", "b")]
    assert (store.knows("a"), store.knows("b")) == (False, True)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_commit_that_failed_may_have_happened_and_the_outbox_tells(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN §4: a failed COMMIT is ambiguous; the opened-again store is the truth, and a repeat is refused."""
    faults = faulty.install(monkeypatch)
    with SqliteStore.open(path) as store:
        faults.after["COMMIT"] = sqlite3.SQLITE_IOERR_FSYNC
        with pytest.raises(StoreError, match="could not be read or written"):
            store.commit("a", batch(0), now=NOW)
        assert list(store.outbox("a")) == batch(0)
        with pytest.raises(StoreError, match="twice"):
            store.commit("a", batch(0), now=NOW)
        faults.before["COMMIT"] = sqlite3.SQLITE_IOERR_FSYNC
        with pytest.raises(StoreError, match="could not be read or written"):
            store.commit("a", batch(1), now=NOW)
        assert list(store.outbox("a")) == batch(0)
        store.commit("a", batch(1), now=NOW)
        assert {one.copies for one in store.seen("a").values()} == {1}
        assert faults.fired == 2


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO seen", "INSERT INTO outbox", "UPDATE accounts", "COMMIT"])
def test_an_error_within_a_commit_undoes_all_of_it(path: Path, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    faults = faulty.install(monkeypatch)
    with SqliteStore.open(path) as store:
        store.commit("a", batch(0), now=NOW)
        faults.before[statement] = sqlite3.SQLITE_FULL
        with pytest.raises(StoreError, match=f"store {path} has no space left"):
            store.commit("a", batch(1, 3), now=NOW, settled=["name-0"])
        assert faults.fired == 1
        assert list(store.outbox("a")) == batch(0)
        assert len(store.seen("a")) == 1
        assert store.accounts()[0].delivered == 1


def test_an_exception_that_is_not_the_stores_undoes_the_transaction_too(path: Path, store: SqliteStore) -> None:
    def interrupted() -> None:
        with store._database.writing() as db:
            db.execute("INSERT INTO accounts (name) VALUES ('ghost')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(store.accounts()) == []
    store.commit("a", batch(0), now=NOW)


def test_the_check_after_a_failed_write_is_a_real_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the write lock can still be had: only a write tells whether there is space again."""
    faults = faulty.install(monkeypatch)
    with SqliteStore.open(path) as store:
        faults.before["PRAGMA user_version ="] = sqlite3.SQLITE_FULL
        store.check()
        faults.before["COMMIT"] = sqlite3.SQLITE_FULL
        with pytest.raises(StoreError, match="no space"):
            store.commit("a", batch(0), now=NOW)
        with pytest.raises(StoreError, match="no space"):
            store.check()
        store.check()
        faults.before["PRAGMA user_version ="] = sqlite3.SQLITE_FULL
        store.check()


def test_a_store_locked_by_another_program_is_an_error_after_a_wait_and_works_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS G 103: SQLITE_BUSY."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with SqliteStore.open(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match=f"store {path} is locked by another program"):
                store.commit("a", batch(0), now=NOW)
            with pytest.raises(StoreError, match=f"store {path} is locked by another program"):
                store.check()
        store.commit("a", batch(0), now=NOW)


def test_a_write_waits_for_another_programs_short_lock(path: Path, store: SqliteStore) -> None:
    locked = threading.Event()
    done = threading.Event()

    def other() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            locked.set()
            done.wait(0.2)
            db.execute("COMMIT")

    thread = threading.Thread(target=other)
    thread.start()
    locked.wait(10)
    store.commit("a", batch(0), now=NOW)
    done.set()
    thread.join()
    assert len(store.seen("a")) == 1


def test_closing_does_not_queue_behind_a_transaction_that_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An abandoned worker may wait for another program's lock: fetchd ends all the same, and nobody else begins."""
    monkeypatch.setattr(database, "CLOSE_SECONDS", 0.05)
    store = SqliteStore.open(path)
    in_hand, go_on = threading.Event(), threading.Event()
    refused: list[str] = []

    def hang() -> None:
        with store._database.writing() as db:
            in_hand.set()
            go_on.wait(60)
            db.execute("INSERT INTO accounts (name) VALUES ('in hand')")

    def come_next() -> None:
        with pytest.raises(StoreError) as error:
            store.check()
        refused.append(str(error.value))

    hung, closing_, next_ = (threading.Thread(target=one) for one in (hang, store.close, come_next))
    hung.start()
    try:
        assert in_hand.wait(10)
        closing_.start()
        closing_.join(10)
        assert not closing_.is_alive()
        next_.start()
        next_.join(10)
        assert refused == [f"store {path} is closed"]
    finally:
        go_on.set()
        for thread in (hung, closing_, next_):
            if thread.ident is not None:
                thread.join(60)
        store.close()
    with SqliteStore.open(path) as again:
        assert [one.name for one in again.accounts()] == ["in hand"]


def fill(store: SqliteStore) -> tuple[int, StoreError]:
    """Commits batches of ten until one fails; returns how many did not, and the error."""
    for durable in range(1000):
        try:
            store.commit("a", batch(durable * 10, 10, octets=200), now=NOW)
        except StoreError as error:
            return durable, error
    pytest.fail("the file system never got full")


def test_a_full_disk_is_an_error_and_works_again_when_there_is_space(tmp_path: Path) -> None:
    """FAULTS G 96, 116: a real ENOSPC, on the store's file system alone."""
    with tmpfs(tmp_path / "small", "size=1m") as small, SqliteStore.open(small / "fetchd.db") as store:
        ballast = small / "ballast"
        ballast.write_bytes(b"x" * 600_000)
        durable, error = fill(store)
        assert re.search(r"has no space left|file system is full", str(error))
        assert durable > 0
        with pytest.raises(StoreError, match=r"has no space left|file system is full"):
            store.check()
        ballast.unlink()
        store.check()
        names = [one.staged.name for one in store.outbox("a")]
        assert len(names) in {durable * 10, durable * 10 + 10}
        assert len(store.seen("a")) == len(names)
        store.commit("a", batch(len(names), 10, octets=200), now=NOW)
        assert len(store.seen("a")) == len(names) + 10
        assert pragma(store, "quick_check") == "ok"


def test_a_disk_full_from_the_start_is_an_error_and_no_store(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=64k") as small:
        ballast = small / "ballast"
        ballast.write_bytes(b"x" * 60_000)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"store {small}/fetchd.db"):
                SqliteStore.open(small / "fetchd.db")


def test_a_file_system_mounted_read_only_is_an_error_that_names_it(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "ro") as mounted:
        make_store(mounted / "fetchd.db")
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        with pytest.raises(StoreError, match=f"store {mounted}/fetchd.db cannot be used: .*Read-only file system"):
            SqliteStore.open(mounted / "fetchd.db")


def test_a_file_that_may_not_be_written_is_an_error_at_opening(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite falls back to reading only; the first thing opening does is to ask for the write lock."""
    make_store(path)
    faults = faulty.install(monkeypatch)
    faults.before["BEGIN IMMEDIATE"] = sqlite3.SQLITE_READONLY
    with pytest.raises(StoreError, match=f"store {path} cannot be opened: does it exist, may this user"):
        SqliteStore.open(path)


FAULTY_WRITER = """
import sys
from pathlib import Path
from fetchd.errors import StoreError
from fetchd.model import Committed, Staged
from fetchd.store.sqlite import SqliteStore
failed = False
try:
    with SqliteStore.open(Path(sys.argv[1])) as store:
        for number in range(2):
            names = [f"{number}.{part}" for part in range(3)]
            batch = [Committed(uid=name.encode(), staged=Staged(name=name, size=1)) for name in names]
            try:
                store.commit("a", batch, now=1)
            except StoreError as error:
                failed = True
                print("error", error)
                if not any(one.staged.name == f"{number}.0" for one in store.outbox("a")):
                    store.commit("a", batch, now=1)
            print("durable", number, flush=True)
except StoreError as error:
    failed = True
    print("error", error)
sys.exit(3 if failed else 0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the faults")
@pytest.mark.parametrize("fault", ["error=EIO", "signal=SIGKILL"])
@pytest.mark.parametrize(("call", "stride"), [("fdatasync", 1), ("pwrite64", 3)])
def test_a_fault_at_any_sync_or_write_loses_and_doubles_nothing(
    tmp_path: Path, fault: str, call: str, stride: int
) -> None:
    """FAULTS G 97, 107: the n-th call fails or kills us, up to the last; the caller does what DESIGN §4 says."""
    fired = 0
    for number in range(1, 80, stride):
        path = tmp_path / f"{call}-{number}" / "fetchd.db"
        inject = f"inject={call}:{fault}:when={number}"
        command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        command += ["-P", str(path), "-P", f"{path}-wal"]
        run = subprocess.run(
            [*command, sys.executable, "-c", FAULTY_WRITER, path], stdout=subprocess.PIPE, text=True, check=False
        )
        assert run.returncode in {0, 3 if fault == "error=EIO" else -signal.SIGKILL}, run.stdout
        durable = [int(line.split()[1]) for line in run.stdout.splitlines() if line.startswith("durable")]
        with SqliteStore.open(path) as store:
            assert pragma(store, "integrity_check") == "ok"
            seen = store.seen("a")
            whole = {int(uid.split(b".")[0]) for uid in seen}
            assert whole >= set(durable)
            assert seen == {
                UniqueId(b"%d.%d" % (number, part)): Seen(copies=1, first_seen=1, fate=Fate.DELIVERED)
                for number in whole
                for part in range(3)
            }
            assert len(store.outbox("a")) == len(seen)
        if run.returncode == 0 and durable == [0, 1]:
            break
        fired += 1
    assert fired >= 3
    assert run.returncode == 0, "the last run met no fault: every call was tried"
