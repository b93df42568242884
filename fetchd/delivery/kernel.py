"""Linux system calls that the standard library does not have, through the C library; each with a way round it.

``ctypes`` is loaded with the first call: a poll that finds nothing new needs none of them.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ctypes

_RENAME_NOREPLACE: Final = 1
_SYNC_FILE_RANGE_WRITE: Final = 2
NO_SUCH_CALL: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
"""How a call fails that this kernel, or this file system, does not know."""

_TRUSTED: Final = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994})
"""File systems (``statfs(2)``) whose syncfs flushes everything, names too: ext2–4, XFS, btrfs, F2FS; and tmpfs, which
has no disk. Not overlayfs, network file systems and FUSE: their syncfs may do nothing, or keep errors to itself."""

_REPORTS_ERRORS: Final = (5, 8)
"""The first Linux whose syncfs returns the errors of writing back (``syncfs(2)``)."""

_STATFS_OCTETS: Final = 256
"""More than any architecture's ``struct statfs`` has; its first field is ``f_type``."""


def rename_new(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Renames a file to a name that must be free.

    Raises:
        FileExistsError: it is not free; nothing has changed.
        FileNotFoundError: there is no such file.
        OSError: it cannot.
    """
    rename = _renameat2()
    if rename is not None:
        old = os.fsencode(source)
        new = old if target is source else os.fsencode(target)
        code = rename(src_dir_fd, old, dst_dir_fd, new, _RENAME_NOREPLACE)
        if code not in NO_SUCH_CALL:
            if code:
                raise OSError(code, os.strerror(code), target)
            return
    # No file system takes NOREPLACE but does rename: names carry a nonce, so nobody is between these two either.
    with suppress(FileNotFoundError):
        os.stat(target, dir_fd=dst_dir_fd, follow_symlinks=False)
        os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def can_flush_file_system(descriptor: int) -> bool:
    """Returns whether :func:`flush_file_system` keeps its word for the file system of this file."""
    if _kernel_version() < _REPORTS_ERRORS or _syncfs() is None:
        return False
    return _file_system(descriptor) in _TRUSTED


def flush_file_system(descriptor: int) -> None:
    """Returns when all of the file system that this descriptor is on is on disk (``syncfs(2)``).

    Errors of writing back are told once to each descriptor that was open when they came about, without saying which
    file they hit.

    Raises:
        OSError: something is not on disk.
    """
    call = _syncfs()
    code = errno.ENOSYS if call is None else call(descriptor)
    if code:
        raise OSError(code, os.strerror(code))


def start_writing(descriptor: int, offset: int, octets: int) -> None:
    """Asks the kernel to begin writing a part of a file to disk, and does not wait. A wish: it never fails."""
    call = _sync_file_range()
    if call is not None:
        call(descriptor, offset, octets, _SYNC_FILE_RANGE_WRITE)


@cache
def _kernel_version() -> tuple[int, int]:
    major, _, rest = os.uname().release.partition(".")
    minor = "".join(char if char.isdigit() else " " for char in rest).split()
    return (int(major), int(minor[0])) if major.isdigit() and minor else (0, 0)


@cache
def _library() -> "ctypes.CDLL":
    import ctypes  # noqa: PLC0415 - see the module's docstring

    return ctypes.CDLL(None, use_errno=True)


def _function(name: str, *types: str) -> Callable[..., int] | None:
    """Returns a function of the C library as one that returns an error number, 0 for success; None if it has none."""
    import ctypes  # noqa: PLC0415 - see the module's docstring

    function: Any = getattr(_library(), name, None)
    if function is None:
        return None
    function.argtypes = [getattr(ctypes, kind) for kind in types]
    function.restype = ctypes.c_int
    get_errno = ctypes.get_errno

    def call(*arguments: object) -> int:
        return get_errno() if function(*arguments) else 0

    return call


@cache
def _renameat2() -> Callable[..., int] | None:
    return _function("renameat2", "c_int", "c_char_p", "c_int", "c_char_p", "c_uint")


@cache
def _syncfs() -> Callable[..., int] | None:
    return _function("syncfs", "c_int")


@cache
def _sync_file_range() -> Callable[..., int] | None:
    return _function("sync_file_range", "c_int", "c_int64", "c_int64", "c_uint")


def _file_system(descriptor: int) -> int:
    import ctypes  # noqa: PLC0415 - see the module's docstring

    status = ctypes.create_string_buffer(_STATFS_OCTETS)
    call = _function("fstatfs", "c_int", "c_void_p")
    if call is None or call(descriptor, status):
        return 0
    return ctypes.c_ulong.from_buffer(status).value & 0xFFFFFFFF
