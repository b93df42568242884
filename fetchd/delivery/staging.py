"""Staging: where a message is written, in a directory of ours that no mail reader looks into (DESIGN §4).

``NAME.part`` is being written; ``NAME`` is complete, flushed, and either committed in the store or unknown to it.
Several accounts may stage into one directory at a time: a name says whose it is, and nobody touches another's.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Final

from fetchd.delivery.directory import Directory, create_directories
from fetchd.delivery.faults import delivery_error, translated
from fetchd.delivery.newlines import LineEnds
from fetchd.errors import DeliveryError, Retry
from fetchd.model import Staged
from fetchd.names import account_digest, parse_name

PART: Final = ".part"
DIGEST_OCTETS: Final = 16
"""BLAKE2b-128: see ``model.Staged.digest``."""
CHUNK: Final = 262_144
"""Octets that are written, or read, at once."""

_OTHERS_MAY_ENTER: Final = 0o077


class PartFile:
    """A message being written: ``ports.StagedFile``."""

    __slots__ = ("_buffer", "_digest", "_directory", "_file", "_line_ends", "_name", "_size")

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        self._name = name
        self._line_ends = LineEnds()
        self._buffer = bytearray()
        self._digest = blake2b(digest_size=DIGEST_OCTETS)
        self._size = 0
        self._file: FileIO | None = directory.create(name + PART)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends octets from the wire.

        Raises:
            DeliveryError: they cannot be written; the file is gone.
        """
        octets = self._line_ends.convert(data)
        try:
            if len(self._buffer) + len(octets) < CHUNK:
                self._buffer += octets
            else:
                self._put(self._buffer)
                self._buffer = bytearray()
                self._put(octets)
        except OSError as error:
            self.abandon()
            raise self._failed("cannot write to", error) from error

    def finish(self) -> Staged:
        """Flushes the file, and only then gives it the name that says it is complete.

        Raises:
            DeliveryError: the message is not on disk, and the file is gone; a failed fsync is not tried again.
        """
        file = self._open_file()
        try:
            self._buffer += self._line_ends.end()
            self._put(self._buffer)
            _flush_file(file)
            self._file = None
            file.close()
            self._rename()
        except OSError as error:
            self._file = file
            self.abandon()
            raise self._failed("cannot complete", error) from error
        return Staged(self._name, self._size, self._digest.digest())

    def abandon(self) -> None:
        """Removes the file. Never raises; what cannot be removed is swept away by the next ``prepare``."""
        file, self._file = self._file, None
        if file is None:
            return
        with suppress(OSError):
            file.close()
        with suppress(DeliveryError):
            self._directory.remove(self._name + PART)

    def _put(self, octets: bytes | bytearray) -> None:
        """Writes all of it, in as many pieces as the kernel takes."""
        descriptor = self._open_file().fileno()
        with memoryview(octets) as rest:
            self._digest.update(rest)
            self._size += len(rest)
            done = 0
            while done < len(rest):
                done += os.write(descriptor, rest[done:])

    def _rename(self) -> None:
        at = self._directory.descriptor
        os.rename(self._name + PART, self._name, src_dir_fd=at, dst_dir_fd=at)

    def _open_file(self) -> FileIO:
        if self._file is None:
            raise ValueError(f"{self._name} is finished or abandoned")
        return self._file

    def _failed(self, doing: str, error: OSError) -> DeliveryError:
        return delivery_error(doing, self._directory.path / (self._name + PART), error)


def _flush_file(file: FileIO) -> None:
    """THE place where a message's octets are put on disk: one fsync a file.

    Whoever flushes a batch at once instead has to rename after the flush: a complete name vouches for the octets, since
    recovery may publish a file on the strength of its name alone (``adopt``).
    """
    os.fsync(file.fileno())


class Staging:
    """One account's view of a staging directory. Every method raises ``DeliveryError``."""

    def __init__(self, path: Path, account: str) -> None:
        self.path = path
        self._account = account_digest(account)
        self._directory: Directory | None = None

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
        self._make_private(directory)
        for name in directory.names():
            if name.endswith(PART) and self._is_ours(name.removesuffix(PART)):
                directory.remove(name)

    def close(self) -> None:
        """Closes the directory; may be called twice."""
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def stage(self, name: str) -> PartFile:
        """Opens a new file; ``name`` is one that ``names.message_name`` made for this account."""
        if not self._is_ours(name) or "/" in name:
            raise ValueError(f"not a name of this account: {name!r}")
        if name.endswith(PART):
            raise DeliveryError(f"this host's name ends in {PART}, which marks half-written files: give it another one")
        if self.directory.holds(name):
            raise DeliveryError(f"{self.path / name} exists already: names are never used twice")
        return PartFile(self.directory, name)

    def flush(self, batch: Sequence[Staged]) -> None:
        """Returns when the names of these finished files are on disk; their octets are since they were finished.

        A failed fsync is not tried again: the batch is removed, to be fetched again later.
        """
        if not batch:
            return
        try:
            self.directory.sync()
        except DeliveryError:
            for staged in batch:
                with suppress(DeliveryError):
                    self.directory.remove(staged.name)
            raise

    def leftovers(self) -> list[str]:
        """Returns the names of this account's complete files, oldest first."""
        names = (name for name in self.directory.names() if not name.endswith(PART) and self._is_ours(name))
        return sorted(names)

    def adopt(self, name: str) -> Staged:
        """Returns size and digest of a complete file of an earlier run, and makes sure that it is on disk."""
        digest = blake2b(digest_size=DIGEST_OCTETS)
        size = 0
        with self.directory.read(name) as file, translated("cannot read", self.path / name):
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
            os.fsync(file.fileno())
        self.directory.sync()
        return Staged(name, size, digest.digest())

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
