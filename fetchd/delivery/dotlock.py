"""The dot lock ``PATH.lock``, and how a lock that is held is told from one that a killed fetchd left.

What a killed fetchd left would keep everybody out until a human comes. So its dot lock has a second name,
``PATH.lock.fetchd``, a hard link, for as long as it is held: whoever holds the fcntl lock on the mbox and finds both
names on one file knows that no fetchd holds the dot lock any more, whatever process ids, containers and power cuts made
of its content.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

STALE_AFTER: Final = 300.0
"""Seconds after which another program's dot lock counts as abandoned, unless the process named in it lives."""

_PID_LIMIT: Final = 32
"""Octets that are read of a lock: a process id is shorter."""
_NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class BusyError(Exception):
    """Somebody holds a lock, so try again. The text says who, as the end of a sentence."""


class DotLock:
    """``PATH.lock``. Only who holds the fcntl lock may acquire it: so there is one fetchd here at a time."""

    __slots__ = ("_held", "_lock", "_mark")

    def __init__(self, path: Path) -> None:
        self._lock = f"{path}.lock"
        self._mark = _mark_of(path)
        self._held: list[tuple[str, os.stat_result]] = []

    def acquire(self, now: float) -> None:
        """Takes the lock; where the directory is not ours to write in, there is none to take.

        Args:
            now: Unix seconds.

        Raises:
            BusyError: somebody holds it.
            OSError: it cannot be taken.
        """
        try:
            if self._is_marked():
                os.unlink(self._lock)
            _remove(self._mark)
            self._write_mark()
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise
            if os.path.lexists(self._lock):
                raise self._busy() from error
            return
        try:
            self._link(now)
            self._held = [(name, os.lstat(name)) for name in (self._lock, self._mark)]
        except BaseException:
            _remove(self._mark)
            raise

    def release(self) -> None:
        """Removes both names, if they are still ours; the mark goes last, so that a kill in between is seen through."""
        held, self._held = self._held, []
        for name, status in held:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.lstat(name), status):
                    os.unlink(name)

    def _write_mark(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._mark, flags, 0o644)
        try:
            os.write(descriptor, b"%d\n" % os.getpid())
        finally:
            os.close(descriptor)

    def _link(self, now: float) -> None:
        if self._link_once():
            return
        if self._is_stale(now):
            _remove(self._lock)
            if self._link_once():
                return
        raise self._busy()

    def _link_once(self) -> bool:
        """Makes the lock, with its content, in one step; returns whether there was none."""
        try:
            os.link(self._mark, self._lock, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
        else:
            return True
        try:
            os.close(os.open(self._lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        except FileExistsError:
            return False
        return True

    def _is_marked(self) -> bool:
        """Returns whether the dot lock was made by a fetchd: it and the mark are two names of one file."""
        try:
            return os.path.samestat(os.lstat(self._lock), os.lstat(self._mark))
        except FileNotFoundError:
            return False

    def _is_stale(self, now: float) -> bool:
        try:
            age = now - os.lstat(self._lock).st_mtime
        except FileNotFoundError:
            return True
        pid = self._pid()
        return age > STALE_AFTER and (pid is None or not _is_alive(pid))

    def _busy(self) -> BusyError:
        pid = self._pid()
        if pid is None:
            return BusyError(
                f"dot lock {self._lock} is there and names no process; if no mail program works, remove it"
            )
        state = "which lives" if _is_alive(pid) else "which is gone; if that ran on this host, remove it"
        return BusyError(f"dot lock {self._lock} is held by process {pid}, {state}")

    def _pid(self) -> int | None:
        """Returns the process id written in the lock. A lock that cannot be read, or is gone, names nobody."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            words = os.read(descriptor, _PID_LIMIT).split(maxsplit=1)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return (int(words[0]) or None) if words and words[0].isdigit() else None


def is_left_locked(path: Path) -> bool:
    """Returns whether a fetchd holds the dot lock, or held it when it was killed: taking and leaving it clears that."""
    return os.path.lexists(_mark_of(path))


def _mark_of(path: Path) -> str:
    return f"{path}.lock.fetchd"


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
