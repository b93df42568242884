"""SQLite's errors and the operating system's, as :class:`StoreError`: translated here and nowhere else in the store.

A message names the file, says what is wrong and what to do about it.
"""

import sqlite3
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final

from fetchd.errors import StoreError

_NO_ACCESS: Final = (
    "cannot be opened: does it exist, may this user read and write it and its directory, and is its file system "
    "mounted read-write?"
)

_ADVICE: Final = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: "is locked by another program: end that one (`fuser` names it)",
        sqlite3.SQLITE_LOCKED: "is locked by another program: end that one (`fuser` names it)",
        sqlite3.SQLITE_FULL: "has no space left on its file system: free some, and fetching goes on by itself",
        sqlite3.SQLITE_IOERR: (
            "could not be read or written: the file system is full or the disk fails (see `df` and `dmesg`)"
        ),
        sqlite3.SQLITE_CORRUPT: (
            "is damaged: stop fetchd, keep a copy of it, and put back a backup or what `sqlite3 FILE .recover` saves; "
            "without it all mail kept on the servers would be fetched again"
        ),
        sqlite3.SQLITE_NOTADB: (
            "is not a fetchd store: point `state:` elsewhere, or put back a backup if it was one once"
        ),
        sqlite3.SQLITE_CONSTRAINT: "refuses to record the same thing twice",
        sqlite3.SQLITE_READONLY: _NO_ACCESS,
        sqlite3.SQLITE_PERM: _NO_ACCESS,
        sqlite3.SQLITE_CANTOPEN: _NO_ACCESS,
    }
)
_PRIMARY_CODE: Final = 0xFF
"""The low octet of an extended result code is the primary one (https://sqlite.org/rescode.html)."""


def busy(path: Path) -> StoreError:
    """Returns the error for a store that another program would not let go of in time."""
    return StoreError(f"store {path} {_ADVICE[sqlite3.SQLITE_BUSY]}")


def damaged(path: Path, what: str) -> StoreError:
    """Returns the error for a store whose content cannot be what fetchd wrote."""
    return StoreError(f"store {path} {_ADVICE[sqlite3.SQLITE_CORRUPT]} ({what})")


def unsynced(path: Path, error: OSError) -> StoreError:
    """Returns the error for a log that cannot be put on disk."""
    return StoreError(f"store {path} {_ADVICE[sqlite3.SQLITE_IOERR]}: {error.strerror or error}")


def store_error(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    """Returns the error that says what went wrong with the store at ``path`` and what to do."""
    if isinstance(error, OSError):
        where = error.filename or path
        return StoreError(f"store {path} cannot be used: {where}: {error.strerror or error}")
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by the sqlite3 module itself
        return StoreError(f"store {path} cannot be used: {error}")
    advice = _ADVICE.get(code & _PRIMARY_CODE, "cannot be used")
    return StoreError(f"store {path} {advice} ({error.sqlite_errorname}: {error})")


class translated:  # noqa: N801 - reads as what it does; a generator would cost each query a microsecond
    """Raises whatever SQLite or the operating system raise inside as :class:`StoreError`."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            raise store_error(self._path, error) from error
