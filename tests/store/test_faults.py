"""What a StoreError says."""

import errno
import sqlite3
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.store.faults import store_error, translated

PATH = Path("/var/lib/fetchd/fetchd.db")


def sqlite_error(code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_BUSY, "fuser"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "fuser"),
        (sqlite3.SQLITE_FULL, "free some"),
        (sqlite3.SQLITE_IOERR_FSYNC, "dmesg"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "df"),
        (sqlite3.SQLITE_CORRUPT, "backup"),
        (sqlite3.SQLITE_CORRUPT_VTAB, "backup"),
        (sqlite3.SQLITE_NOTADB, "`state:`"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "mounted read-write"),
        (sqlite3.SQLITE_CANTOPEN, "may this user read and write it"),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, "twice"),
    ],
)
def test_each_kind_of_sqlite_error_says_where_what_and_what_to_do(code: int, advice: str) -> None:
    """FAULTS G 103; extended result codes are as good as their primary one."""
    text = str(store_error(PATH, sqlite_error(code, "SQLITE_NAME")))
    assert text.startswith(f"store {PATH} ")
    assert advice in text
    assert text.endswith("(SQLITE_NAME: what SQLite says)")
    assert "\n" not in text


def test_an_error_of_another_kind_still_says_where() -> None:
    assert str(store_error(PATH, sqlite_error(sqlite3.SQLITE_NOLFS, "SQLITE_NOLFS"))) == (
        f"store {PATH} cannot be used (SQLITE_NOLFS: what SQLite says)"
    )
    assert str(store_error(PATH, sqlite3.ProgrammingError("odd"))) == f"store {PATH} cannot be used: odd"


def test_an_os_error_names_the_file_it_is_about() -> None:
    error = OSError(errno.EACCES, "Permission denied", "/var/lib/fetchd/fetchd.db.lock")
    assert str(store_error(PATH, error)) == (
        f"store {PATH} cannot be used: /var/lib/fetchd/fetchd.db.lock: Permission denied"
    )
    assert str(store_error(PATH, OSError(errno.EIO, "Input/output error"))) == (
        f"store {PATH} cannot be used: {PATH}: Input/output error"
    )


def test_the_cause_is_kept_and_bugs_pass_through() -> None:
    cause = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StoreError) as caught, translated(PATH):
        raise cause
    assert caught.value.__cause__ is cause
    with pytest.raises(KeyError), translated(PATH):
        raise KeyError("a bug")
