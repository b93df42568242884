"""The locks on an mbox: an fcntl record lock on the file and the dot lock ``PATH.lock``, both, in this order.

They are the locks of the standard library's ``mailbox`` and of Debian's mail programs (Debian Policy §11.6). The fcntl
lock is of the open-file-description kind (fcntl(2)): it conflicts with the plain kind that others take, but also
between the threads of one process, and it outlives another thread's close of the same file.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from fetchd.delivery.directory import sync_directory
from fetchd.delivery.dotlock import BusyError, DotLock
from fetchd.delivery.faults import translated
from fetchd.delivery.ownership import require_own_file
from fetchd.errors import DeliveryError, Retry
from fetchd.values import value

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5


@value
class Patience:
    """How long to wait for a lock, and by whose clock.

    Attributes:
        timeout: seconds of waiting, as asked of ``sleep``.
        sleep: waits so many seconds.
        now: returns Unix seconds; tells a lock's age.
    """

    timeout: float
    sleep: Callable[[float], object]
    now: Callable[[], float]


@contextmanager
def locked(
    path: Path, patience: Patience, *, rights: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[int]:
    """Holds both locks on an mbox, which is created, mode 0600, where there is none.

    Where the directory is not ours to write in, the fcntl lock has to do, as it does for the standard library.

    Args:
        path: the mbox.
        patience: how long to wait.
        rights: what is done by the mbox's name is done in such a context; what is done to the open file, outside.

    Yields:
        A descriptor for reading and appending. Nobody else opens it.

    Raises:
        DeliveryError: somebody else holds a lock, or the path is not that of a regular file.
    """
    with rights(), translated("cannot lock mbox", path):
        descriptor, dot_lock = _acquire(path, patience)
    try:
        yield descriptor
    finally:
        try:
            with rights(), translated("cannot unlock mbox", path):
                dot_lock.release()
        finally:
            _unlock(descriptor)


def require_mbox_file(path: Path) -> bool:
    """Returns whether the mbox exists.

    Raises:
        DeliveryError: what is there is no regular file. A symbolic link is not followed: in a spool directory that
            others may write to, it leads wherever they please.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO"}
        kind = kinds.get(stat.S_IFMT(mode), "a device or a socket")
        raise DeliveryError(f"mbox {path} is {kind}, not a file: correct the path", retry=Retry.LATER)
    return True


def _acquire(path: Path, patience: Patience) -> tuple[int, DotLock]:
    waited, pause = 0.0, _FIRST_PAUSE
    while True:
        try:
            return _try_both(path, patience.now())
        except BusyError as busy:
            if waited >= patience.timeout:
                raise DeliveryError(f"mbox {path} could not be locked in {patience.timeout:g} s: {busy}") from busy
        patience.sleep(pause)
        waited += pause
        pause = min(pause * 2, _LONGEST_PAUSE)


def _try_both(path: Path, now: float) -> tuple[int, DotLock]:
    descriptor = _open(path)
    try:
        require_own_file(path, descriptor)
        _lock_record(path, descriptor)
        dot_lock = DotLock(path)
        dot_lock.acquire(now)
    except BaseException:
        _unlock(descriptor)
        raise
    return descriptor, dot_lock


def is_file_at(path: Path, descriptor: int) -> bool:
    """Returns whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    require_mbox_file(path)
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BusyError("another program has just created it") from error
    try:
        sync_directory(path.parent)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _record(kind: int) -> bytes:
    """Returns a ``struct flock`` for the whole file; its pid has to be 0 for this kind of lock."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


def _lock_record(path: Path, descriptor: int) -> None:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _record(fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError) as error:
        raise BusyError("another program holds its fcntl lock (`lslocks` names it)") from error
    if not is_file_at(path, descriptor):  # a reader replaced it by another file before we had the lock
        raise BusyError("mail readers keep replacing it")


def _unlock(descriptor: int) -> None:
    """Unlocks and closes. A child between fork and exec would keep the lock if the file were only closed."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _record(fcntl.F_UNLCK))
    os.close(descriptor)
