"""File systems of our own whose power can be cut: ext4 and XFS, in sparse images on loop devices (FAULTS §3).

``FS_IOC_SHUTDOWN`` without a flush of the log stops a file system between two instructions: from then on nothing
reaches its image, neither data nor log. Mounted again it holds what was flushed to it, and of the rest what had got
there by itself, which is next to nothing: ext4 commits every 300 seconds here instead of every 5, and XFS and the page
cache wait for 30. This is the power cut as a file system sees it: the disk under the image loses nothing of its cache.

It takes root and loop devices. Where these are missing :class:`UnavailableError` says why.
"""

import ctypes
import errno
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Final

_SHUTDOWN: Final = 0x8004587D
"""``_IOR('X', 125, __u32)``: XFS_IOC_GOINGDOWN, and the same number in ext4."""
_NO_LOG_FLUSH: Final = struct.pack("I", 2)

_TOOLS: Final = ("losetup", "mount", "umount", "mountpoint", "truncate", "rm")
_MAKE: Final[Mapping[str, Sequence[str]]] = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=8", "-E", "lazy_itable_init=0,nodiscard"),
    "xfs": ("mkfs.xfs", "-q", "-K"),
}
_SIZE: Final[Mapping[str, str]] = {"ext4": "64M", "xfs": "300M"}
"""The least that mkfs.xfs takes; the images are sparse."""
_OPTIONS: Final[Mapping[str, str]] = {"ext4": "commit=300,noauto_da_alloc,nodev,nosuid", "xfs": "nodev,nosuid"}
"""``noauto_da_alloc``: ext4 is not to guess that a renamed file wants flushing."""

KINDS: Final = tuple(_MAKE)

_KEEPER: Final = """
trap '' HUP INT TERM
answer() {
    if said=$("$@" 2>&1); then echo ok; else echo "$*: $(echo "$said" | tr '\\n' ' ')"; fi
}
on() {
    mount -o "loop,$2" "$1.img" "$1" || return
    disk=$(losetup -n -O NAME -j "$1.img" | tail -n 1)
    echo 'write through' >"/sys/block/${disk#/dev/}/queue/write_cache" || :
}
off() {
    for again in 1 2 3 4 5 6 7 8 9 10; do
        umount "$1" && return
        sleep 0.2
    done
    return 1
}
while read -r verb name options; do
    case $verb in
        on) answer on "$1/$name" "$options" ;;
        off) answer off "$1/$name" ;;
    esac
done
for at in "$1"/*/; do
    if mountpoint -q "$at"; then umount "$at" || umount -l "$at"; fi
done
rm -rf --one-file-system "$1"
"""
"""Alone mounts and unmounts, and cleans up when its standard input ends: so it does however the tests end, by SIGKILL
too, and no mount is left that was under way. It is in a session of its own, since a Ctrl-C is not meant for it.

The disk under an image loses nothing, so that a flush of it would only take time: it is said to have no cache."""

_PATIENCE: Final = 60.0
_libc: Final = ctypes.CDLL(None, use_errno=True)


class NotCutError(Exception):
    """What was written right before the cut is still there."""


class UnavailableError(Exception):
    """File systems cannot be made, or mounted, here; the text says why."""


class _Keeper:
    """The process that mounts, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            ["sh", "-c", _KEEPER, "keeper", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={**os.environ, "PATH": _path(), "LC_ALL": "C"},
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def ask(self, *words: str) -> str:
        """Returns what the keeper says to a request; ``ok`` is well."""
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise AssertionError("pipes were asked for")
        print(*words, file=requests, flush=True)
        return answers.readline().strip()

    def close(self) -> None:
        """Unmounts all and removes the directory; raises where something is left."""
        self._process.communicate(timeout=_PATIENCE)
        if self.directory.exists():
            raise AssertionError(f"file systems of the tests are left behind in {self.directory}: unmount, remove")


class Disk:
    """One file system, mounted."""

    def __init__(self, keeper: _Keeper, kind: str, name: str) -> None:
        self.kind = kind
        self.path = keeper.directory / name
        self._keeper = keeper
        self._name = name
        self._switch_on()

    def wipe(self) -> None:
        """Removes all files, and flushes."""
        self._require_mount()
        for entry in self.path.iterdir():
            if entry.is_dir() and entry.name != "lost+found":
                shutil.rmtree(entry)
            elif not entry.is_dir():
                entry.unlink()
        self.flush()

    def flush(self) -> None:
        """Returns when all of this file system is on disk, and of no other."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _libc.syncfs(descriptor):
                raise OSError(ctypes.get_errno(), f"cannot flush {self.path}")
        finally:
            os.close(descriptor)

    def _switch_on(self) -> None:
        answer = self._keeper.ask("on", self._name, _OPTIONS[self.kind])
        if answer != "ok":
            raise UnavailableError(f"{self.kind} cannot be mounted here: {answer}")
        self._require_mount()

    def _witness(self) -> Path:
        return self.path / "never-flushed"

    def _cut(self) -> None:
        """Stops the file system; only a process that has a file open there can tell it from a mounted one."""
        self._require_mount()
        self._witness().write_bytes(b"gone by the next start")
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def _restart(self) -> NotCutError | None:
        """Mounts the file system again; returns an error if the cut was none: what was not flushed has to be gone."""
        try:
            self._witness().with_name("too-late").write_bytes(b"")
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EROFS):
                raise
        else:
            raise AssertionError(f"{self.path} takes files after its power was cut")
        answer = self._keeper.ask("off", self._name)
        if answer != "ok":
            raise AssertionError(answer)
        self._switch_on()
        if self._witness().exists():
            return NotCutError(f"{self.path} was flushed while its power was cut: this proves nothing")
        return None

    def _require_mount(self) -> None:
        """Nothing is ever written to the directory that the file system is mounted on."""
        if not self.path.is_mount():
            raise AssertionError(f"{self.path} is not mounted")


@contextmanager
def disks(kind: str, *names: str) -> Iterator[list[Disk]]:
    """Makes and mounts empty file systems; whatever happens, they are gone afterwards.

    Args:
        kind: ``ext4`` or ``xfs``.
        names: how many, and what they are called.

    Raises:
        UnavailableError: not here, and why.
    """
    _require_tools(kind)
    # /var/tmp is on a disk, unlike /tmp and /dev/shm, which may be memory.
    directory = Path(tempfile.mkdtemp(prefix="fetchd-disks-", dir="/var/tmp"))
    keeper = _Keeper(directory)
    with ExitStack() as stack:
        stack.callback(keeper.close)
        for name in names:
            (directory / name).mkdir()
            image = directory / f"{name}.img"
            _run("truncate", "-s", _SIZE[kind], str(image))
            _run(*_MAKE[kind], str(image))
        yield [Disk(keeper, kind, name) for name in names]


def cut_power(*of: Disk) -> None:
    """Cuts the power of file systems at one time, then switches it on again: they are as a restart finds them.

    Raises:
        NotCutError: somebody on this machine flushed them meanwhile (``sync``).
    """
    for disk in of:
        disk._cut()
    spoilt = [error for disk in of if (error := disk._restart()) is not None]
    if spoilt:
        raise spoilt[0]


def _require_tools(kind: str) -> None:
    missing = [tool for tool in (_MAKE[kind][0], *_TOOLS) if shutil.which(tool, path=_path()) is None]
    if missing:
        raise UnavailableError(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise UnavailableError("only root can mount")
    if not Path("/dev/loop-control").exists():
        raise UnavailableError("there are no loop devices (/dev/loop-control)")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": _path()}, check=False)
    if done.returncode:
        raise UnavailableError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")


def _path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
