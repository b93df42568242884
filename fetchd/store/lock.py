"""One fetchd a store: two daemons on one store would fetch every message twice (FAULTS G 108)."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final, Self

from fetchd.errors import StoreError

_PID_LIMIT: Final = 32
"""Octets that are read of a lock file: a process id is shorter."""


class StoreLock:
    """An exclusive ``flock`` on ``PATH.lock``, which holds the owner's process id as text.

    The kernel lets go of it when its process ends, however it ends; the file stays, since removing a lock file lets
    two processes lock two files of the same name.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Locks the store at ``path``, which need not exist yet; its directory must.

        Raises:
            StoreError: another process holds the lock.
            OSError: the lock file cannot be opened, or its file system has no locks.
        """
        name = f"{path}.lock"
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise StoreError(
                f"another fetchd{owner} works on {path}: stop it first, or give this one its own `state:`"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", name) from error
        with contextlib.suppress(OSError):  # on a full disk: the lock is what guards, its text only informs
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Lets go of the lock; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _owner(descriptor: int) -> str:
    """Returns `` (pid N)``, or "" where the owner has not written its process id."""
    text = os.pread(descriptor, _PID_LIMIT, 0).strip()
    return f" (pid {text.decode()})" if text.isdigit() else ""
