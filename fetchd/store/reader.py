"""Reading the store from beside the daemon that works on it."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fetchd.errors import StoreError
from fetchd.model import AccountRecord
from fetchd.store import history, schema
from fetchd.store.accounts import records
from fetchd.store.database import BUSY_SECONDS
from fetchd.store.faults import translated


class StoreReader:
    """A look at a store that takes no lock and changes nothing: all that ``fetchd status`` needs."""

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
