"""Putting a batch of finished files on disk, by what costs least: measured in SPEED.md and ``docs/benchmarks.md``.

One fsync a file costs a journal commit each. One syncfs for all costs one, but carries everybody's unwritten data on
that file system, and where it fails names no file: the whole batch is given up then.
"""

import os
from collections.abc import Sequence
from time import monotonic
from typing import Final

from fetchd.delivery import kernel
from fetchd.delivery.directory import Directory
from fetchd.delivery.faults import translated

_FEW: Final = 4
"""Fewer files than this are flushed one by one."""

_SLOW: Final = 2.0
"""Seconds; a syncfs that takes longer is writing others' data, and the rest of this session goes file by file."""


class GroupFlush:
    """Flushes files, and their names, of one directory for one session. Raises ``DeliveryError``.

    A failed flush is never tried again: the kernel tells of an error once, and the second flush would say all is well.
    """

    __slots__ = ("_directory", "_together")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._together: bool | None = None

    def flush(self, names: Sequence[str]) -> bool:
        """Returns when these files and their names are on disk; and whether all of the file system is."""
        if len(names) >= _FEW and self._can_go_together():
            self._flush_together()
            return True
        self._flush_each(names)
        self._directory.sync()
        return False

    def _can_go_together(self) -> bool:
        if self._together is None:
            self._together = kernel.can_flush_file_system(self._directory.descriptor)
        return self._together

    def _flush_together(self) -> None:
        began = monotonic()
        with translated("cannot flush the file system of", self._directory.path):
            kernel.flush_file_system(self._directory.descriptor)
        self._together = monotonic() - began < _SLOW

    def _flush_each(self, names: Sequence[str]) -> None:
        """All are on their way before the first is waited for: the disk then takes them together."""
        for name in names[1:]:
            with self._directory.read(name) as file:
                kernel.start_writing(file.fileno(), 0, 0)
        for name in names:
            with self._directory.read(name) as file, translated("cannot flush", self._directory.path / name):
                os.fsync(file.fileno())
