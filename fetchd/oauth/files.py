"""The token files, ``tokens/ACCOUNT.json`` beside the store: 0600 in a directory of 0700, replaced in one durable step.

A refresh token that is rotated may be used once: whoever uses it a second time ends the login. So whoever renews holds
the account's lock, reads under it, and has made sure that what comes can be stored before asking for it. Each run of
fetchd (the daemon, ``--once``, ``login``) works by these rules.

As root, what is made belongs to the owner of the state directory, so that a service can use what ``sudo fetchd login``
got.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from fetchd.errors import Retry, SecretError
from fetchd.oauth.tokens import Tokens, from_json, to_json

LIMIT_OCTETS: Final = 128 * 2**10
"""The largest token file; two of the longest tokens fit."""
PATIENCE: Final = 60.0
"""Seconds to wait for another process that renews: a request takes half of it at most."""
_LOOK: Final = 0.05
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LockedTokens:
    """One account's token file, while nobody else may renew."""

    def __init__(self, name: str, directory: int, path: Path) -> None:
        self._final, self._staged = f"{name}.json", f".{name}.new"
        self._directory = directory
        self._path = path
        self._descriptor = -1

    def read(self) -> Tokens | None:
        """Returns the tokens; None where nobody has logged in.

        Raises:
            SecretError: the file cannot be read, or is none of ours.
        """
        with _translated(self._path):
            return _read(self._final, self._directory, self._path)

    def prepare(self) -> None:
        """Returns once there is room on disk for the tokens that are about to be asked for.

        Raises:
            SecretError: they could not be stored.
        """
        with _translated(self._path):
            self.discard()
            self._descriptor = os.open(self._staged, _NEW, 0o600, dir_fd=self._directory)
            _give(self._descriptor, self._path.parent.parent)
            with _unless_unsupported():
                os.posix_fallocate(self._descriptor, 0, LIMIT_OCTETS)

    def write(self, tokens: Tokens) -> None:
        """Replaces the file; durable on return.

        Raises:
            SecretError: it cannot be stored.
        """
        if self._descriptor < 0:
            self.prepare()
        with _translated(self._path):
            octets = to_json(tokens)
            written = 0
            while written < len(octets):
                written += os.pwrite(self._descriptor, octets[written:], written)
            os.ftruncate(self._descriptor, written)
            os.fsync(self._descriptor)
            os.rename(self._staged, self._final, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            os.close(self._descriptor)
            self._descriptor = -1
            os.fsync(self._directory)

    def discard(self) -> None:
        """Removes what was prepared, now or by a process that was killed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with suppress(FileNotFoundError):
            os.unlink(self._staged, dir_fd=self._directory)


class TokenFiles:
    """The directory of all token files; made when the first one is locked."""

    def __init__(self, directory: Path) -> None:
        self._path = directory

    @classmethod
    def beside(cls, state: Path) -> Self:
        """Returns the token files that go with a store, given as its file."""
        return cls(state.parent / "tokens")

    def path(self, account: str) -> Path:
        """Returns where an account's tokens are."""
        return self._path / f"{account}.json"

    def read(self, account: str) -> Tokens | None:
        """Returns an account's tokens; None where nobody has logged in.

        Raises:
            SecretError: the file cannot be read, or is none of ours.
        """
        path = self.path(account)
        with _translated(path):
            return _read(str(path), None, path)

    @contextmanager
    def locked(self, account: str, *, patience: float = PATIENCE) -> Iterator[LockedTokens]:
        """Holds an account's lock; another process that holds it is waited for.

        Raises:
            SecretError: it cannot be had.
        """
        path = self.path(account)
        with _translated(path):
            directory = self._open()
        try:
            with _translated(path):
                lock = _lock(f"{account}.lock", directory, self._path, patience)
            tokens = LockedTokens(account, directory, path)
            try:
                yield tokens
            finally:
                with suppress(OSError):
                    tokens.discard()
                os.close(lock)
        finally:
            os.close(directory)

    def _open(self) -> int:
        # The state directory itself, too: somebody may log in before fetchd runs for the first time.
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self._path, 0o700)
        directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _give(directory, self._path.parent)
            if stat.S_IMODE(os.fstat(directory).st_mode) != 0o700:  # noqa: PLR2004 - the mode that is meant
                os.fchmod(directory, 0o700)
        except OSError:
            os.close(directory)
            raise
        return directory


def _read(name: str, directory: int | None, path: Path) -> Tokens | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SecretError(f"token file {path}: not a regular file")
        octets = file.read(LIMIT_OCTETS + 1)
    try:
        return from_json(octets)
    except ValueError as error:
        raise SecretError(f"token file {path} {error}: run fetchd login {path.stem}", retry=Retry.SOON) from None


def _lock(name: str, directory: int, path: Path, patience: float) -> int:
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        _give(descriptor, path.parent)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SecretError(
                        f"another fetchd has held {path / name} for {patience:g} s: does it hang?", retry=Retry.SOON
                    ) from None
                time.sleep(_LOOK)
            else:
                return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _give(descriptor: int, to_owner_of: Path) -> None:
    if os.geteuid() == 0:
        owner, mine = to_owner_of.stat(), os.fstat(descriptor)
        if (owner.st_uid, owner.st_gid) != (mine.st_uid, mine.st_gid):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextmanager
def _unless_unsupported() -> Iterator[None]:
    """Goes on where a file system cannot set room aside; one that has none left is an error."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SecretError(f"token file {path}: {error.strerror}", retry=Retry.SOON) from error
