"""Staging: where a message is written, in a directory of ours that no mail reader looks into (DESIGN §4).

``NAME,S=OCTETS`` is complete if it has as many octets as it says; it is flushed with its batch, and then committed in
the store. ``NAME.part`` is a long message that is coming in. What is shorter than it says is what a crash left of one.
Several accounts may stage into one directory at a time: a name says whose it is, and nobody touches another's.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from fetchd.delivery import kernel
from fetchd.delivery.directory import Directory, create_directories, write_all
from fetchd.delivery.faults import delivery_error, translated
from fetchd.delivery.flushing import GroupFlush
from fetchd.delivery.newlines import LineEnds
from fetchd.errors import DeliveryError, Retry
from fetchd.model import Staged
from fetchd.names import account_digest, parse_name, stated_size

PART: Final = ".part"
DIGEST_OCTETS: Final = 16
"""BLAKE2b-128: see ``model.Placement.digest``."""
CHUNK: Final = 262_144
"""Octets that are written, or read, at once."""

_WRITE_BEHIND: Final = 8 * 2**20
"""Octets of one message after which the kernel is asked to begin writing them to disk."""
_OTHERS_MAY_ENTER: Final = 0o077


class PartFile:
    """A message being written: ``ports.StagedFile``.

    A short one is held back until it is whole, and gets its final name at once: so it is never renamed in staging.
    """

    __slots__ = ("_directory", "_file", "_held", "_held_octets", "_is_open", "_line_ends", "_name", "_size", "_started")

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        self._name = name
        self._line_ends = LineEnds()
        self._held: list[bytes] = []
        self._held_octets = 0
        self._size = 0
        self._started = 0
        self._file: FileIO | None = None
        self._is_open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends octets from the wire.

        Raises:
            DeliveryError: they cannot be written; the file is gone.
        """
        octets = self._line_ends.convert(data)
        self._held.append(octets)
        self._held_octets += len(octets)
        if self._held_octets >= CHUNK:
            self._spill(self._held_octets - self._held_octets % CHUNK)

    def finish(self) -> Staged:
        """Ends the file under the name that says how long it is; :meth:`Staging.flush` puts it on disk.

        Raises:
            DeliveryError: it cannot be written whole; the file is gone.
        """
        if not self._is_open:
            raise ValueError(f"{self._name} is finished or abandoned")
        if end := self._line_ends.end():
            self._held.append(end)
            self._held_octets += len(end)
        name = f"{self._name},S={self._size + self._held_octets}"
        if self._file is None:
            self._directory.write_new(name, self._held[0] if len(self._held) == 1 else b"".join(self._held))
            self._size = self._held_octets
        else:
            if self._held_octets:
                self._spill(self._held_octets)
            self._complete(self._file, name)
        self._is_open = False
        return Staged(name, self._size)

    def abandon(self) -> None:
        """Removes the file. Never raises; what cannot be removed is swept away by the next ``prepare``."""
        self._is_open = False
        file, self._file = self._file, None
        if file is None:
            return
        with suppress(OSError):
            file.close()
        with suppress(DeliveryError):
            self._directory.remove(self._name + PART)

    def _spill(self, most: int) -> None:
        """Writes ``most`` octets of what is held to the file; a long message is on its way to disk meanwhile.

        In whole chunks, however the octets came in: the kernel's pages are filled once, and a run is like another.
        """
        if not self._is_open:
            raise ValueError(f"{self._name} is finished or abandoned")
        if self._file is None:
            self._file = self._directory.create(self._name + PART)
        descriptor = self._file.fileno()
        held = b"".join(self._held)
        rest = held[most:]
        try:
            with memoryview(held) as octets:
                write_all(descriptor, octets[:most])
        except OSError as error:
            self.abandon()
            raise self._failed("cannot write to", error) from error
        self._size += most
        self._held, self._held_octets = [rest] if rest else [], len(rest)
        if self._size - self._started >= _WRITE_BEHIND:
            kernel.start_writing(descriptor, self._started, self._size - self._started)
            self._started = self._size

    def _complete(self, file: FileIO, name: str) -> None:
        at = self._directory.descriptor
        try:
            file.close()
            kernel.rename_new(self._name + PART, name, src_dir_fd=at, dst_dir_fd=at)
        except OSError as error:
            self.abandon()
            raise self._failed("cannot complete", error) from error

    def _failed(self, doing: str, error: OSError) -> DeliveryError:
        return delivery_error(doing, self._directory.path / (self._name + PART), error)


class Staging:
    """One account's view of a staging directory. Every method raises ``DeliveryError``."""

    def __init__(self, path: Path, account: str) -> None:
        self.path = path
        self._account = account_digest(account)
        self._mark = f".F{self._account}"
        self._directory: Directory | None = None
        self._flushing: GroupFlush | None = None

    @property
    def directory(self) -> Directory:
        """The directory, once :meth:`open` has succeeded."""
        if self._directory is None:
            raise ValueError("prepare() comes first")
        return self._directory

    def open(self, *, create: bool) -> None:
        """Opens the directory, and removes what this account left half-written in it.

        Args:
            create: whether it may be created; if not, mail is waiting in it, and where it is missing so is the mail.
        """
        self.close()
        with translated("cannot create staging directory", self.path):
            if create:
                create_directories(self.path)
            elif not os.path.lexists(self.path):
                raise DeliveryError(
                    f"staging directory {self.path} is missing, and mail waits in it to be published: mount its file "
                    "system, or put it back; an empty one in its place gives that mail up",
                    retry=Retry.LATER,
                )
        self._directory = directory = Directory.open(self.path)
        self._flushing = GroupFlush(directory)
        self._make_private(directory)
        for name in directory.names():
            if name.endswith(PART) and self._is_ours(name.removesuffix(PART)):
                directory.remove(name)

    def holds_nothing(self) -> bool:
        """Returns whether nothing of this account's is in the directory, which need not be open.

        Raises:
            OSError: that cannot be told.
        """
        return not any(self._is_ours(name.removesuffix(PART)) for name in os.listdir(self.path))

    def close(self) -> None:
        """Closes the directory; may be called twice."""
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def stage(self, name: str) -> PartFile:
        """Opens a new file; ``name`` is one that ``names.message_name`` made for this account."""
        if self._mark not in name or "/" in name:
            raise ValueError(f"not a name of this account: {name!r}")
        return PartFile(self.directory, name)

    def flush(self, batch: Sequence[Staged]) -> bool:
        """Returns when these finished files, and their names, are on disk; and whether all of the file system is.

        A failed flush is not tried again. The files stay, and the next poll's recovery settles them: what is still
        listed is fetched again, and of what is not these may be the only copies.
        """
        if not batch:
            return False
        if self._flushing is None:
            raise ValueError("prepare() comes first")
        return self._flushing.flush(batch)

    def leftovers(self) -> list[str]:
        """Returns the names of this account's complete files, oldest first; removes what a power cut made shorter.

        Called when all that is committed was published: what is there now was perhaps never flushed.
        """
        whole = []
        for name in self.directory.names():
            if name.endswith(PART) or not self._is_ours(name):
                continue
            if self._is_whole(name):
                whole.append(name)
            else:
                self.directory.remove(name)
        return sorted(whole)

    def adopt(self, name: str) -> Staged:
        """Returns a complete file of an earlier run, and makes sure that it is on disk."""
        with self.directory.read(name) as file, translated("cannot read", self.path / name):
            size = os.fstat(file.fileno()).st_size
            os.fsync(file.fileno())
        self.directory.sync()
        return Staged(name, size)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yields a complete file's octets."""
        with self.directory.read(name) as file:
            while True:
                with translated("cannot read", self.path / name):
                    chunk = file.read(CHUNK)
                if not chunk:
                    return
                yield chunk

    def holds(self, name: str) -> bool:
        """Returns whether a complete file of that name is there."""
        return self.directory.holds(name)

    def remove(self, names: Iterable[str]) -> None:
        """Removes complete files, durably, also those that an earlier run removed without getting so far as the flush.

        A file that came back after a power cut would be taken for a message that was never delivered.
        """
        for name in names:
            self.directory.remove(name)
        self.directory.sync()

    def _is_whole(self, name: str) -> bool:
        return self.directory.size_of(name) == stated_size(name)

    def _is_ours(self, name: str) -> bool:
        parsed = parse_name(name)
        return parsed is not None and parsed.account == self._account

    def _make_private(self, directory: Directory) -> None:
        status = directory.status()
        if status.st_uid != os.geteuid():
            raise DeliveryError(
                f"staging directory {self.path} belongs to uid {status.st_uid}, and fetchd runs as uid {os.geteuid()}: "
                "run it as that user, or `chown -R` the directory",
                retry=Retry.LATER,
            )
        if status.st_mode & _OTHERS_MAY_ENTER:
            with translated("cannot make private", self.path):
                os.fchmod(directory.descriptor, 0o700)
