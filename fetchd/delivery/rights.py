"""A user's rights, taken for a while by one thread of a fetchd that runs as root (credentials(7)).

What a user could plant in a mailbox (a symbolic link, a hard link, a FIFO, before or while we work in it) leads us
astray only as far as the user could have gone alone: the kernel looks at each step with the user's rights, so that
there is nothing to check and nothing to win a race against. What we create is the user's from the beginning, and counts
against the user's quota.

To Linux these rights are a thread's own; the C library changes them for all threads at once, which is why the system
calls are made without it. Root stays the saved user id, so that the user can neither signal nor trace us, and so that
we can come back. A thread that begins while rights are taken inherits them: so none may.
"""

import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from fetchd.errors import DeliveryError, Retry
from fetchd.model import Owner

_ROOT: Final = 0
_UNCHANGED: Final = -1


class _Numbers(NamedTuple):
    """An architecture's numbers of the three system calls."""

    setgroups: int
    setresuid: int
    setresgid: int


_NUMBERS: Final = MappingProxyType(
    {
        "x86_64": _Numbers(116, 117, 119),
        "aarch64": _Numbers(159, 147, 149),
        "riscv64": _Numbers(159, 147, 149),
    }
)
"""Where a pointer has 8 octets (asm/unistd.h)."""
_NUMBERS_32: Final = _Numbers(206, 208, 210)
"""i386 and arm, whose calls of that name with 32-bit ids end in 32."""


class Rights:
    """The rights of one user. Without one, or for root itself, taking them changes nothing."""

    __slots__ = ("_owner",)

    def __init__(self, owner: Owner | None) -> None:
        self._owner = None if owner is None or owner.uid == os.geteuid() else owner

    @property
    def owner(self) -> Owner | None:
        """The user whose rights there are to take; None where they are those that fetchd has."""
        return self._owner

    @property
    def foreign_group(self) -> int:
        """The group that the user gets here without being in it, such as ``mail``; 0 where there is none."""
        return 0 if self._owner is None or self._owner.gid in self._owner.groups else self._owner.gid

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Gives this thread the user's rights, and nothing of root's, until the block is left.

        Raises:
            DeliveryError: fetchd may not do that.
        """
        if self._owner is None:
            yield
            return
        root = (os.geteuid(), os.getegid(), os.getgroups())
        _require_possible(self._owner)
        try:
            try:
                _become(self._owner.uid, self._owner.gid, self._owner.groups)
            except OSError as error:
                raise _refused(self._owner, error.strerror or str(error)) from error
            yield
        finally:
            _become(*root)


def _require_possible(owner: Owner) -> None:
    if os.geteuid() != _ROOT:
        raise _refused(owner, f"fetchd runs as uid {os.geteuid()}, and only root can do that")
    if _numbers() is None:
        raise _refused(owner, f"fetchd does not know the system calls of {os.uname().machine}")


def _become(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Gives this thread other rights: the groups' first where it is root, else last. What is so already is left."""
    number = _numbers()
    assert number is not None, "asked before"
    if uid == _ROOT != os.geteuid():
        _call(number.setresuid, _UNCHANGED, uid, _UNCHANGED)
    if os.getgroups() != list(groups):
        _call(number.setgroups, len(groups), struct.pack(f"={len(groups)}I", *groups))
    if os.getegid() != gid:
        _call(number.setresgid, _UNCHANGED, gid, _UNCHANGED)
    if os.geteuid() != uid:
        _call(number.setresuid, _UNCHANGED, uid, _UNCHANGED)
    if (os.geteuid(), os.getegid()) != (uid, gid):
        raise PermissionError(errno.EPERM, "they are not what was asked for")


def _call(number: int, first: int, second: int | bytes, third: int = 0) -> None:
    error = _syscall()(number, first, second, third)
    if error:
        raise OSError(error, os.strerror(error))


@cache
def _numbers() -> _Numbers | None:
    """Returns this machine's numbers; None where they are not known, for a wrong one would be some other call."""
    is_64_bit = sys.maxsize > 2**32
    return _NUMBERS.get(os.uname().machine) if is_64_bit else _NUMBERS_32


@cache
def _syscall() -> Callable[[int, int, int | bytes, int], int]:
    """Returns syscall(2) as a function that returns an error number, 0 for success."""
    import ctypes  # noqa: PLC0415 - only where somebody's rights are taken

    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    number = ctypes.c_long
    get_errno = ctypes.get_errno

    def made(which: int, first: int, second: int | bytes, third: int) -> int:
        passed = second if isinstance(second, bytes) else number(second)
        return get_errno() if call(number(which), number(first), passed, number(third)) else 0

    return made


def _refused(owner: Owner, why: str) -> DeliveryError:
    return DeliveryError(
        f"cannot take the rights of `owner: {owner.name}`: {why}; fetchd needs CAP_SETUID and CAP_SETGID, "
        "and a filter of system calls that lets it use them (systemd: SystemCallFilter=@setuid)",
        retry=Retry.LATER,
    )
