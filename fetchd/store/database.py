"""The store's file and the one connection to it: what makes a transaction durable, and an error harmless.

The file is written in WAL mode, so that a reader never waits, and its log is put on disk by ``log.py``: one sync for
the transactions of many sessions. Every write begins with BEGIN IMMEDIATE, because a transaction that begins as a
reader and wants to write later can fail in a way that no waiting heals (SQLITE_BUSY_SNAPSHOT, FAULTS G 103). A WAL
needs shared memory: the file belongs on a local disk.

After any error the connection is dropped, which undoes what was not committed. Whether a COMMIT that failed took
effect only the opened-again database can tell. Opening copies the WAL into the database file and syncs that: what a
kill or a failed sync left in the WAL may be readable without being on disk, and a second sync of the same file after
an error lies "ok" (FAULTS §4).
"""

import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fetchd.errors import StoreError
from fetchd.store import schema
from fetchd.store.faults import busy, store_error, translated, unsynced
from fetchd.store.lock import StoreLock
from fetchd.store.log import Log, Ticket

BUSY_SECONDS: Final = 5.0
"""How long to wait for a lock that another program, such as a backup, holds on the file."""
CLOSE_SECONDS: Final = 1.0
"""How long closing waits for a transaction in hand."""

_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",  # while the file is opened and brought to our version
    "PRAGMA temp_store = MEMORY",  # a hardened service may have no directory for temporary files
    "PRAGMA journal_size_limit = 4194304",  # octets that the WAL keeps after one large transaction
)


class Database:
    """The file at ``path``, locked against other daemons, with one connection behind one mutex.

    Attributes:
        path: absolute, without symbolic links, so that two names of one store share one lock.
        created: whether :meth:`open` found no store and made a new one.
        replaced: how often another file was found at the path since, as after a backup was put back.
        dropped: how often the connection was given up: what was read before may have been another file's.
    """

    def __init__(self, path: Path, lock: StoreLock) -> None:
        self.path = path
        self.created = False
        self.replaced = 0
        self.dropped = 0
        self._lock = lock
        self._mutex = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._log: Log
        self._file = (0, 0)
        self._closed = False
        self._write_failed = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the store at ``path`` for this process alone; makes directory (0700) and file (0600) if missing.

        Raises:
            StoreError: it is in use, cannot be used, or is not ours to use.
        """
        with translated(path):
            path = Path(os.path.realpath(path))
            _make_directory(path.parent)
            lock = StoreLock.acquire(path)
            try:
                _make_file(path)
                database = cls(path, lock)
                database._begin_life()
            except BaseException:
                lock.release()
                raise
            return database

    def close(self) -> None:
        """Closes the file and lets go of the lock; may be called twice.

        From here on nobody gets the connection, nor those who wait for it. A transaction that is in hand for longer
        than :data:`CLOSE_SECONDS` (it waits for another program's lock, or for the disk) is left to the end of the
        process, which any transaction survives; until then the store stays locked against other daemons.
        """
        self._closed = True
        if self._mutex.acquire(timeout=CLOSE_SECONDS):
            try:
                self._drop()
                self._lock.release()
            finally:
                self._mutex.release()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Gives the connection for queries, to one thread at a time. Raises ``StoreError``."""
        return _Reading(self)

    def begin_reading(self) -> sqlite3.Connection:
        """For :meth:`reading`: takes the mutex and returns the connection."""
        self._check_open()
        self._mutex.acquire()
        try:
            return self._connection()
        except BaseException as error:
            self.end_reading(error)
            if isinstance(error, sqlite3.Error | OSError):
                raise store_error(self.path, error) from error
            raise

    def end_reading(self, error: BaseException | None) -> None:
        """For :meth:`reading`: lets go of the mutex; after an error the connection is dropped."""
        try:
            if error is not None:
                self._drop()
        finally:
            self._mutex.release()

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Gives the connection for one transaction, durable when the block is left.

        Args:
            durable: False for what may be lost with the machine's power: it is on disk with the next durable
                transaction, and outlives this process in any case. Nothing else is at risk.

        Raises:
            StoreError: nothing is known of what became of the transaction.
        """
        self._check_open()  # a store that is closed is not waited for
        with translated(self.path), self._mutex:
            try:
                db = self._connection()
                self._check_file(db)
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
                log, ticket = self._log, self._log.committed()
            except BaseException:
                self._write_failed = True
                self._drop()
                raise
            self._write_failed = False
        if durable:
            self._wait_for_disk(log, ticket)

    def check(self) -> None:
        """Raises ``StoreError`` where the store cannot be written to now.

        Takes the write lock and changes nothing, unless the last write failed: then only a real one tells whether,
        say, a full disk has space again.
        """
        prove = self._write_failed
        with self.writing() as db:
            if prove:
                db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")

    def _begin_life(self) -> None:
        """Opens the first connection, the only one that may find an empty database."""
        self._db, self._log, version = _connect(self.path)
        self.created = version == 0
        self._file = _identity(self.path)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"store {self.path} is closed")

    def _connection(self) -> sqlite3.Connection:
        self._check_open()
        if self._db is None:
            # The daemon's memory of this run says that there was something: an empty file is a loss, not a start.
            self._db, self._log, _ = _connect(self.path, may_be_empty=False)
            identity = _identity(self.path)
            self.replaced += identity != self._file
            self._file = identity
        return self._db

    def _check_file(self, db: sqlite3.Connection) -> None:
        """Raises where the path does not name the open file any more: what is written there would be lost.

        The WAL, which is found by its name, is emptied into the old file first: SQLite would take it for the new one's.
        """
        try:
            unchanged = _identity(self.path) == self._file
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise StoreError(
                f"store {self.path} was removed or replaced while in use: nothing more is written to the old one"
            )

    def _wait_for_disk(self, log: Log, ticket: Ticket) -> None:
        try:
            log.wait(ticket)
        except OSError as error:
            with self._mutex:
                if self._log is log:  # else someone was faster, and the file was opened anew
                    self._write_failed = True
                    self._drop()
            raise unsynced(self.path, error) from error

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            self.dropped += 1
            self._log.close()
            with contextlib.suppress(sqlite3.Error):
                db.close()


class _Reading:
    """The connection, for queries. A generator would cost each of ten queries a poll two microseconds more."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        return self._database.begin_reading()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.end_reading(error)
        if isinstance(error, sqlite3.Error | OSError):
            raise store_error(self._database.path, error) from error


def _make_directory(directory: Path) -> None:
    """Creates a directory (0700) and those above it, durably; one that is there is left as it is."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    _sync_directory(directory.parent)


def _make_file(path: Path) -> None:
    """Creates the empty file (0600) if there is none, durably; SQLite gives its WAL the same mode.

    Raises:
        StoreError: the path names something else than a regular file.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"store {path} is not a regular file: point `state:` elsewhere") from None
    else:
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    """Returns device and inode of the file that a path names now."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _connect(path: Path, *, may_be_empty: bool = True) -> tuple[sqlite3.Connection, Log, int]:
    """Opens the file, which must exist; returns the connection, its log and the schema version that was found.

    ``mode=rw`` never creates the file: a store that vanished is an error, not a new beginning.
    """
    db = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        version = schema.version_of(db, path)  # before the first pragma that changes the file
        if version == 0 and not may_be_empty:
            raise StoreError(f"store {path} is empty now: put it back, or restart fetchd to begin anew")  # noqa: TRY301
        _prepare(db, path)
        schema.migrate(db, version)
        db.execute("PRAGMA synchronous = NORMAL")  # from here on the log is synced by us
        log = Log(path)
    except BaseException:
        db.close()
        raise
    return db, log, version


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"store {path} cannot use a write-ahead log there: point `state:` to a local disk")
    for pragma in _PRAGMAS:
        db.execute(pragma)
    held, _, _ = db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    if held:
        raise busy(path)
