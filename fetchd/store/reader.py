"""Reading the store from beside the daemon that works on it."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fetchd.errors import StoreError
from fetchd.model import AccountRecord, Deletion, Fate, Remembered, Seen
from fetchd.store import history, schema, seen
from fetchd.store.accounts import records
from fetchd.store.database import BUSY_SECONDS
from fetchd.store.faults import damaged, translated


def is_missing(path: Path) -> bool:
    """Returns whether there is no store yet, as before the first poll; False, too, where that cannot be told."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # opening it says what is wrong
    return False


class StoreReader:
    """A look at a store that takes no lock and changes nothing: for ``fetchd status`` and ``fetchd check``."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        with translated(path):
            path.stat()
            self._db = sqlite3.connect(
                f"{self._path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None
            )
            try:
                self._check_version()
            except BaseException:
                self._db.close()
                raise

    def accounts(self) -> Sequence[AccountRecord]:
        """Returns a line for every account that the store has heard of, by name. Raises ``StoreError``."""
        with translated(self._path):
            return records(self._db)

    def delivered_since(self, since: int) -> Mapping[str, Mapping[int, int]]:
        """Returns when messages came: see ``SqliteStore.delivered_since``. Raises ``StoreError``."""
        with translated(self._path):
            return history.since(self._db, since)

    def remembered(self, account: str, *, user: str) -> Remembered:
        """Returns what a plan needs to know of an account, all of one moment; nothing where it was another user's.

        Raises:
            StoreError: the store cannot be read.
        """
        with translated(self._path):
            self._db.execute("BEGIN")
            try:
                found = self._db.execute(
                    "SELECT id, listed_at, not_before FROM accounts WHERE name = ? AND user IN ('', ?)", (account, user)
                )
                row = found.fetchone()
                return Remembered() if row is None else self._remembered(account, *row)
            finally:
                self._db.execute("ROLLBACK")

    def _remembered(self, account: str, number: int, listed_at: int | None, not_before: int) -> Remembered:
        trouble = self._db.execute("SELECT uid, since FROM trouble WHERE account = ?", (number,))
        deletions = self._db.execute("SELECT uid, copies, size FROM deletions WHERE account = ?", (number,))
        try:
            known = {
                uid: Seen(copies, first_seen, Fate(fate), listed=bool(is_listed))
                for uid, copies, first_seen, fate, is_listed in self._db.execute(seen.ALL_SEEN, (account,))
            }
        except ValueError as error:
            raise damaged(self._path, str(error)) from error
        return Remembered(
            known=listed_at is not None,
            seen=known,
            troubled=dict(trouble.fetchall()),
            deletions={uid: Deletion(copies, size) for uid, copies, size in deletions},
            not_before=not_before,
        )

    def close(self) -> None:
        """Closes the file; may be called twice."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_version(self) -> None:
        version = schema.version_of(self._db, self._path)
        if version < schema.SCHEMA_VERSION:
            raise StoreError(
                f"store {self._path} was not brought up to schema {schema.SCHEMA_VERSION} yet (it has {version}): "
                "start fetchd once"
            )
