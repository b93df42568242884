"""Putting a batch of finished files on disk, by what costs least: measured in SPEED.md and ``docs/benchmarks.md``.

One fsync a file costs a journal commit each. One syncfs for all costs one, but carries everybody's unwritten data on
that file system, and where it fails names no file: the whole batch is given up then. Kernels have kept errors of
syncfs, and of fsync on a directory, to themselves where a file system had shut down; fsync on a file tells. So one file
of each batch is asked as well, and whether all are still there.
"""

import errno
import os
from collections.abc import Sequence
from time import monotonic
from typing import Final

from fetchd.delivery import kernel
from fetchd.delivery.directory import Directory
from fetchd.delivery.faults import delivery_error, translated
from fetchd.errors import DeliveryError
from fetchd.model import Staged

_FEW: Final = 4
"""Fewer files than this are flushed one by one."""

_SLOW: Final = 2.0
"""Seconds; a syncfs that takes longer is writing others' data, and the rest of this session goes file by file."""

_NOT_TO_BE_HAD: Final = kernel.NO_SUCH_CALL | {errno.EPERM}
"""EPERM: a sandbox forbids it (systemd's ``SystemCallFilter``, a container's seccomp)."""


class GroupFlush:
    """Flushes files, and their names, of one directory for one session. Raises ``DeliveryError``.

    A failed flush is never tried again: the kernel tells of an error once, and the second flush would say all is well.
    """

    __slots__ = ("_directory", "_together")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._together: bool | None = None

    def flush(self, batch: Sequence[Staged]) -> bool:
        """Returns when these files and their names are on disk; and whether all of the file system is."""
        names = [staged.name for staged in batch]
        together = len(names) >= _FEW and self._can_go_together() and self._flush_together()
        if not together:
            for name in names[1:]:
                self._start_writing(name)  # the disk takes all of them together
        for name in names[-1:] if together else names:
            self._flush_file(name)
        if not together:
            self._directory.sync()
        self._require(batch)
        return together

    def _can_go_together(self) -> bool:
        if self._together is None:
            self._together = kernel.can_flush_file_system(self._directory.descriptor)
        return self._together

    def _flush_together(self) -> bool:
        """Returns False where that call is not to be had, as in a sandbox that forbids it."""
        began = monotonic()
        try:
            kernel.flush_file_system(self._directory.descriptor)
        except OSError as error:
            self._together = False
            if error.errno in _NOT_TO_BE_HAD:
                return False
            raise delivery_error("cannot flush the file system of", self._directory.path, error) from error
        self._together = monotonic() - began < _SLOW
        return True

    def _start_writing(self, name: str) -> None:
        with self._directory.read(name) as file:
            kernel.start_writing(file.fileno(), 0, 0)

    def _flush_file(self, name: str) -> None:
        with self._directory.read(name) as file, translated("cannot flush", self._directory.path / name):
            os.fsync(file.fileno())

    def _require(self, batch: Sequence[Staged]) -> None:
        """Sees to it that what is committed next is there: it would be taken for published if it were not."""
        for staged in batch:
            if self._directory.size_of(staged.name) != staged.size:
                raise DeliveryError(
                    f"staged file vanished: {self._directory.path / staged.name}; nobody but fetchd may work in that "
                    "directory, and only one fetchd with an account of that name"
                )
