"""Where the mail is written to: a journaled file system, for durability has no price on one without a journal."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

IMAGE_OCTETS: Final = 16 << 30
"""Of the loop image, which is sparse."""

_JOURNALED: Final = {"xfs", "btrfs"}


class Disk:
    """Fresh directories on a journaled file system.

    The machine's own where it has a journal, else ext4 in a loop image (root only), else, with a warning in
    :attr:`description`, whatever there is. Nothing is removed before the end: on ext4, files created after a large
    removal in the same block group cost ten times more.

    Args:
        parent: a directory on the file system to use, and for the image.
    """

    def __init__(self, parent: Path = Path("/var/tmp")) -> None:
        self._parent = parent
        self._count = 0
        self._mounted = False
        self.description = ""
        self.path = Path()

    def __enter__(self) -> Self:
        self.path = Path(tempfile.mkdtemp(prefix="fetchd-bench-", dir=self._parent))
        self.path.chmod(0o755)
        kind, source, has_journal = file_system(self._parent)
        if has_journal:
            self.description = f"{kind} on {source}"
        elif os.geteuid() == 0:
            self.description = f"ext4 in a loop image (the machine's own {kind} has no journal)"
            self._mount()
        else:
            self.description = f"{kind} WITHOUT A JOURNAL: an fsync is nearly free there; run as root for a loop image"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mounted:
            self._unmount()
        shutil.rmtree(self.path, ignore_errors=True)

    def fresh(self, label: str) -> Path:
        """Returns a new directory; what is dirty is written first, so that nobody pays for others."""
        self._count += 1
        home = self._root / f"{self._count:04d}-{label}"
        home.mkdir()
        self.settle()
        return home

    def settle(self) -> None:
        """Writes what is dirty, and waits for it."""
        handle = os.open(self._root, os.O_RDONLY)
        try:
            ctypes.CDLL(None, use_errno=True).syncfs(handle)
        finally:
            os.close(handle)

    def renew(self) -> None:
        """Makes the image anew, empty; the machine's own file system stays as it is."""
        if self._mounted:
            self._unmount()
            self._mount()

    @property
    def _root(self) -> Path:
        return self.path / "mnt" if self._mounted else self.path

    def _mount(self) -> None:
        image, mount = self.path / "image", self.path / "mnt"
        with image.open("wb") as file:
            file.truncate(IMAGE_OCTETS)
        mount.mkdir(exist_ok=True)
        _do("mkfs.ext4", "-q", "-F", str(image))
        # noinit_itable: no thread in the background that writes inode tables while we measure.
        _do("mount", "-o", "loop,noinit_itable", str(image), str(mount))
        self._mounted = True

    def _unmount(self) -> None:
        _do("umount", str(self.path / "mnt"))
        (self.path / "image").unlink()
        self._mounted = False


def file_system(path: Path) -> tuple[str, str, bool]:
    """Returns the type and the device of the file system of ``path``, and whether it keeps a journal (or a log)."""
    found = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", str(path)], capture_output=True, text=True, check=True
    )
    kind, _, source = found.stdout.strip().partition(" ")
    device = Path(source.strip()).name
    journal = kind == "ext4" and any(Path("/proc/fs/jbd2").glob(f"{device}-*"))
    return kind, source.strip(), journal or kind in _JOURNALED


def _do(*command: str) -> None:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    subprocess.run(command, check=True, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL)
