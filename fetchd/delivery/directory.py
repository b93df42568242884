"""Directories, durably: a name in one is on disk only when the directory itself was flushed (FAULTS §3)."""

import errno
import os
import stat
import weakref
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final, Self

from fetchd.delivery.faults import delivery_error, translated
from fetchd.errors import DeliveryError

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory:
    """An open directory. Everything is done relative to its descriptor, so that no path can be swapped meanwhile.

    Every method raises ``DeliveryError``. The descriptor is closed with the object at the latest.
    """

    __slots__ = ("__weakref__", "_close", "descriptor", "path")

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path
        self._close = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens a directory that is not a symbolic link; the directories above it may be one."""
        with translated("cannot open directory", path):
            return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC), path)

    def close(self) -> None:
        """Closes the descriptor; may be called twice."""
        self._close()

    def status(self) -> os.stat_result:
        """Returns the directory's own status."""
        with translated("cannot read", self.path):
            return os.fstat(self.descriptor)

    def names(self) -> list[str]:
        """Returns the names in it, in no order."""
        with translated("cannot list", self.path):
            return os.listdir(self.descriptor)

    def holds(self, name: str) -> bool:
        """Returns whether something of that name is there, be it a dangling symbolic link."""
        with translated("cannot look into", self.path):
            try:
                os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def size_of(self, name: str) -> int | None:
        """Returns a file's octets; None where there is no such file."""
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise delivery_error("cannot look at", self.path / name, error) from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def create(self, name: str) -> FileIO:
        """Opens a new file for writing, mode 0600; the name must be free."""
        return FileIO(self._create(name), "wb")

    def write_new(self, name: str, octets: bytes) -> None:
        """Writes a whole new file, mode 0600; the name must be free. After an error there is no such file."""
        descriptor = self._create(name)
        try:
            try:
                write_all(descriptor, octets)
            finally:
                os.close(descriptor)
        except OSError as error:
            with suppress(DeliveryError):
                self.remove(name)
            raise delivery_error("cannot write", self.path / name, error) from error

    def _create(self, name: str) -> int:
        try:
            return os.open(name, _NEW, 0o600, dir_fd=self.descriptor)
        except OSError as error:
            raise delivery_error("cannot create", self.path / name, error) from error

    def read(self, name: str) -> FileIO:
        """Opens a regular file for reading; a FIFO does not make it wait."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated("cannot read", self.path / name):
            file = FileIO(os.open(name, flags, dir_fd=self.descriptor), "rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise DeliveryError(f"{self.path / name} is not a file: fetchd did not put it there, remove it")
        return file

    def remove(self, name: str) -> bool:
        """Removes a file; returns whether it was there."""
        with translated("cannot remove", self.path / name):
            try:
                os.unlink(name, dir_fd=self.descriptor)
            except FileNotFoundError:
                return False
        return True

    def sync(self) -> None:
        """Returns when the names in it are on disk. A failure is final: a second fsync would claim success."""
        with translated("cannot flush", self.path):
            os.fsync(self.descriptor)


def write_all(descriptor: int, octets: bytes | memoryview) -> None:
    """Writes all of it, in as many pieces as the kernel takes.

    Raises:
        OSError: something is not written.
    """
    done = os.write(descriptor, octets)  # nearly always that is all
    if done == len(octets):
        return
    if not done:
        raise OSError(errno.EIO, "nothing was written")
    with memoryview(octets) as rest:
        while done < len(rest):
            written = os.write(descriptor, rest[done:])
            if not written:
                raise OSError(errno.EIO, "nothing was written")
            done += written


def create_directories(path: Path) -> None:
    """Creates a directory, mode 0700, and what is missing above it; all are on disk on return.

    Raises:
        OSError: it cannot, or something else has the name.
    """
    if path.is_dir():
        return
    create_directories(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise
    sync_directory(path.parent)  # also after another thread made it: it may not have come so far yet


def sync_directory(path: Path) -> None:
    """Returns when the names in a directory are on disk.

    Raises:
        OSError: it cannot, or there is no such directory.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
