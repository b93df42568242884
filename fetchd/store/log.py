"""Putting the write-ahead log on disk: one sync for all transactions that were committed before it began.

A COMMIT in WAL mode with ``synchronous=NORMAL`` appends to the log and does not wait for the disk. Whoever needs it
durable waits here, outside the store's mutex: while one session's sync is under way others commit, and the next sync is
for all of them. The log only grows between checkpoints, and SQLite syncs log and database itself before it begins the
log anew: so a sync of the file covers every commit before it, whatever became of the log since.
"""

import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path

Ticket = int
"""The number of a commit in the log of one connection, from 1."""


class Log:
    """The log of one connection. An error is final: the kernel tells of it once, and a second sync would lie."""

    def __init__(self, store: Path) -> None:
        """Opens the log beside ``store``, which a connection in WAL mode has created."""
        self._descriptor = os.open(f"{store}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._turn = threading.Condition()
        self._committed = 0
        self._on_disk = 0
        self._is_syncing = False
        self._error: OSError | None = None

    def committed(self) -> Ticket:
        """Notes that a COMMIT has returned. Called by one thread at a time."""
        self._committed += 1
        return self._committed

    def wait(self, ticket: Ticket) -> None:
        """Returns when that commit, and with it all before it, is on disk.

        Raises:
            OSError: it is not known to be.
        """
        with self._turn:
            while self._is_syncing and self._on_disk < ticket:
                self._turn.wait()
            if self._on_disk >= ticket:
                return
            if self._error is not None:
                raise self._error
            self._is_syncing = True
            upto = self._committed
        error: OSError | None = None
        try:
            os.fdatasync(self._descriptor)
        except OSError as failure:
            error = failure
        with self._turn:
            self._is_syncing = False
            if error is None:
                self._on_disk = upto
            else:
                self._error = error
            self._turn.notify_all()
        if error is not None:
            raise error

    def close(self) -> None:
        """Closes the file; those who still wait for a commit have their answer before. Never raises."""
        with suppress(OSError):
            self.wait(self._committed)
        self._close()
