"""The operating system's errors as :class:`DeliveryError`: translated here and nowhere else in the room.

A message says in one line what failed, where, why, and what to do about it.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fetchd.errors import DeliveryError

_NOT_ALLOWED: Final = "fetchd runs as uid {uid}, which is not allowed to do that (see its owner and mode)"

_ADVICE: Final = MappingProxyType(
    {
        errno.ENOSPC: "the disk is full or out of inodes: free some space, and delivery goes on by itself",
        errno.EDQUOT: "the disk quota of uid {uid} is used up: free space or raise it, and delivery goes on by itself",
        errno.EFBIG: "the file would grow larger than its file system or `ulimit -f` allows",
        errno.EACCES: _NOT_ALLOWED,
        errno.EPERM: _NOT_ALLOWED,
        errno.EROFS: "its file system is mounted read-only (`dmesg` tells whether the kernel did that after an error)",
        errno.EIO: "the disk reports an error (see `dmesg`); what was not delivered is fetched again",
        errno.EMFILE: "fetchd has too many files open: raise LimitNOFILE (`ulimit -n`) or lower `workers`",
        errno.ENFILE: "the system has too many files open: raise `fs.file-max`",
        errno.ENOENT: "it does not exist",
        errno.ENOTDIR: "a part of this path is not a directory",
        errno.ELOOP: "it is a symbolic link, and fetchd follows none there",
        errno.ENAMETOOLONG: "the name is longer than its file system allows: give this host a shorter name",
        errno.ESTALE: "the network file system has lost it: mount it anew",
    }
)


def delivery_error(doing: str, path: Path | str, error: OSError) -> DeliveryError:
    """Returns the error for what went wrong while ``doing`` something to ``path``: ``cannot write to``, for example."""
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error)).format(uid=os.geteuid())
    return DeliveryError(f"{doing} {path}: {advice}")


@contextmanager
def translated(doing: str, path: Path | str) -> Iterator[None]:
    """Raises an OSError from inside as :class:`DeliveryError`; what already is one passes through."""
    try:
        yield
    except OSError as error:
        raise delivery_error(doing, path, error) from error
