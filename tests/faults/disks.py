"""Disks that fail: small, full, read-only or rotten file systems of our own, and calls that fail on request."""

import errno
import gc
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Final

import pytest

from tests.delivery.syscalls import watch

THIN: Final = "loop,errors=continue"
TRUSTY: Final = THIN + ",dioread_lock"
"""Linux 6.18's ext4 loses pages that are written a second time, and flushed with success, after it failed to write them
once into blocks that it had allocated but not filled. With this it does not: there are no such blocks."""
_MOST: Final = 64 * 2**20
"""Octets: nothing that is larger is ever filled up."""


@contextmanager
def mounted(where: Path, *arguments: str | Path) -> Iterator[Path]:
    """Mounts something for the block, or skips the test where that is not possible."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a file system of our own needs root")
    where.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", *arguments, where], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"nothing can be mounted here: {made.stderr.decode(errors='replace').strip()}")
    try:
        yield where
    finally:
        gc.collect()  # an error's traceback may hold a directory open
        if subprocess.run(["umount", where], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", where], check=True)  # a failed test may hold files open for longer


@contextmanager
def tmpfs(where: Path, options: str = "size=1m") -> Iterator[Path]:
    """An empty tmpfs with these options."""
    with mounted(where, "-t", "tmpfs", "-o", options, "fetchd-test") as disk:
        yield disk


def remount(disk: Path, options: str) -> None:
    """Changes the options of what is mounted there."""
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


@contextmanager
def thin_ext4(where: Path, pool: Path, options: str = THIN) -> Iterator[Path]:
    """An ext4 that believes in more octets than the tmpfs below it, mounted at ``pool``, has: as with thin volumes.

    Its journal and its tables have theirs. While the pool is :func:`full`, data goes into the page cache without a
    word, and fsync(2) fails; then the kernel takes the pages for clean, and they are read back until it drops them.
    """
    with tmpfs(pool, "size=16m"):
        image = pool / "image"
        with image.open("wb") as file:
            file.truncate(12 * 2**20)
        layout = ["-E", "packed_meta_blocks=1,nodiscard", "-b", "1024", "-J", "size=1", "-N", "256"]
        made = subprocess.run(["mkfs.ext4", "-q", "-F", *layout, image], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"no ext4 can be made here: {made.stderr.decode(errors='replace').strip()}")
        shown = subprocess.run(["dumpe2fs", image], capture_output=True, text=True, check=True).stdout
        first_free = int(re.findall(r"^  Free blocks: (\d+)", shown, re.MULTILINE)[0])
        with image.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, first_free * 1024)
        with mounted(where, "-t", "ext4", "-o", options, image) as disk:
            shutil.rmtree(disk / "lost+found")
            yield disk


def mount_anew(disk: Path, pool: Path, options: str = THIN) -> None:
    """Shows what a :func:`thin_ext4`, in which no file is open, has on disk."""
    gc.collect()
    subprocess.run(["umount", disk], check=True)
    subprocess.run(["mount", "-t", "ext4", "-o", options, pool / "image", disk], check=True)


@contextmanager
def full(disk: Path, *, free: int = 0) -> Iterator[None]:
    """Leaves so many octets free on a small file system for the block."""
    status = os.statvfs(disk)
    assert status.f_blocks * status.f_frsize <= _MOST, f"{disk} is no file system of ours"
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**16, 2**10, 1):
            with pytest.raises(OSError, match="No space left"):
                _write_for_ever(file, bytes(size))
        if free:
            file.truncate(max(0, file.tell() - free))
    try:
        yield
    finally:
        ballast.unlink(missing_ok=True)


def _write_for_ever(file: FileIO, octets: bytes) -> None:
    while True:
        file.write(octets)


class FailingCalls:
    """Lets the calls that change a disk fail, from the n-th on for as long as it is so, or that one alone.

    A write fails as on a real disk: half of it is done, where there is more than one octet. A full disk lets files be
    removed, and a file descriptor that one has can be written to, whatever the system's limits are.
    """

    _SPARED: Final = {
        errno.ENOSPC: {"unlink"},
        errno.EDQUOT: {"unlink"},
        errno.EMFILE: {"unlink", "write", "fsync", "rename", "mkdir", "link", "ftruncate", "fchmod"},
        errno.ENFILE: {"unlink", "write", "fsync", "rename", "mkdir", "link", "ftruncate", "fchmod"},
    }

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fired: list[str] = []
        self.retried: list[str] = []
        self._errno = 0
        self._left = 0
        self._lasting = False
        self._synced: set[str] = set()  # in vain
        self._write = os.write
        watch(patch, self._before)

    def arm(self, code: int, *, number: int = 1, lasting: bool = True) -> None:
        """Makes the ``number``-th call from now on the first that fails."""
        self.fired.clear()
        self._errno, self._left, self._lasting = code, number, lasting

    def disarm(self) -> None:
        """All is well again."""
        self._errno = 0

    def _before(self, name: str, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if name in ("fsync", "write", "ftruncate"):
            self._note(name, args[0])
        if not self._errno or name in self._SPARED.get(self._errno, ()):
            return
        self._left -= 1
        if self._left > 0 or (self.fired and not self._lasting):
            return
        self.fired.append(name)
        if name == "write" and len(args[1]) > 1:
            self._write(args[0], bytes(args[1])[: len(args[1]) // 2])
        if name == "fsync":
            self._synced.add(os.readlink(f"/proc/self/fd/{args[0]}"))
        raise OSError(self._errno, os.strerror(self._errno))

    def _note(self, name: str, descriptor: int) -> None:
        """A second fsync of the same octets after a failed one would lie "ok" (FAULTS §2 G 97)."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if name != "fsync":
            self._synced.discard(path)
        elif path in self._synced and not (os.path.isdir(path) or path.endswith(".lock")):
            # The lock is flushed again and again, to ask whether its file system still works.
            self.retried.append(path)
