"""One fetchd at a time for an account in a Maildir: two with stores of their own would discard each other's mail.

A POSIX record lock belongs to the process: sessions of one daemon never meet it, and it goes with the process.
"""

import errno
import fcntl
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from fetchd.delivery.directory import Directory
from fetchd.delivery.faults import delivery_error
from fetchd.errors import DeliveryError, Retry

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Claim:
    """A locked file; the lock is let go with the object at the latest."""

    def __init__(self, directory: Directory, account: str) -> None:
        """Claims the account.

        Args:
            directory: the Maildir's tmp/; what sweeps that of old files finds this one young.
            account: its digest, as in the names of its messages.

        Raises:
            DeliveryError: another process has it, or the file cannot be made.
        """
        name = f".fetchd-{account}.lock"
        self._path = directory.path / name
        try:
            self._descriptor = os.open(name, _FLAGS, 0o600, dir_fd=directory.descriptor)
        except OSError as error:
            raise delivery_error("cannot open", self._path, error) from error
        self.close = weakref.finalize(self, os.close, self._descriptor)
        with suppress(OSError):
            os.utime(self._descriptor)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self.close()
                raise self._refused(error, directory.path.parent) from error

    def sync(self) -> None:
        """Flushes the file, which tells whether its file system still works where fsync of a directory does not.

        XFS says that all is well for a directory after it has shut down.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise delivery_error("cannot flush", self._path, error) from error

    def _refused(self, error: OSError, maildir: Path) -> DeliveryError:
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            return delivery_error("cannot lock", self._path, error)
        return DeliveryError(
            f"another fetchd delivers into {maildir} for an account of the same name: end it, or give one of the two "
            "accounts another name",
            retry=Retry.LATER,
        )
