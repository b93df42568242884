"""Files that ``fetchd init`` makes: whole or not at all, never over another file, readable by whom they are for.

A file is written under another name beside its place, flushed, and then linked to its name, which fails where that is
taken; or, for a file that is to be replaced, renamed over it.
"""

import os
import pwd
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fetchd.config.loader import examine
from fetchd.config.paths import system_config
from fetchd.errors import ConfigError, FetchdError, UsageError
from fetchd.model import Settings

SECRETS: Final = "secrets"
"""The directory, beside the configuration, for the passwords' files."""
SERVICE_USER: Final = "fetchd"
"""Whom the shipped systemd units run fetchd as."""


class CannotWriteError(FetchdError):
    """A file or directory cannot be made as it has to be."""


class UnsureError(CannotWriteError):
    """A file is in its place, whole, and may not be there any more after a power failure."""


def service_of(path: Path) -> pwd.struct_passwd | None:
    """Returns whom a configuration is for where root writes the service's: that user must be able to read it."""
    if os.geteuid() != 0 or path.absolute().parent != system_config().parent:
        return None
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None


def make_directory(path: Path, service: pwd.struct_passwd | None) -> None:
    """Makes the configuration's directory, and those above it, where they are missing: for its owner alone.

    The service's is root's, and its group may read it.

    Raises:
        CannotWriteError: it cannot be made; or it is there, and the service may not look into it.
    """
    missing = [one for one in (path, *path.parents) if not os.path.lexists(one)]
    with _translated(path):
        for one in reversed(missing):
            one.mkdir(mode=0o700)
            if service is not None and one == path:
                os.chown(one, 0, service.pw_gid)
                one.chmod(0o750)  # whatever the umask is
        if service is not None and not _may_search(path.stat(), service):
            raise CannotWriteError(
                f"{path}: the service's user {service.pw_name} may not look into it: "
                f"chgrp {service.pw_name} {path}; chmod g+rx {path}"
            )


def make_state_directory(path: Path, service: pwd.struct_passwd) -> None:
    """Makes the service's state directory (0700) where it is missing: systemd would do so only as the service starts.

    Raises:
        CannotWriteError: it cannot be made.
    """
    with _translated(path), suppress(FileExistsError):
        path.mkdir(mode=0o700)
        os.chown(path, service.pw_uid, service.pw_gid)


def _may_search(info: os.stat_result, user: pwd.struct_passwd) -> bool:
    """Whether a user's own rights, or those of its group, lead into a directory; of more groups nothing is known."""
    if info.st_uid == user.pw_uid:
        return bool(info.st_mode & stat.S_IXUSR)
    return bool(info.st_mode & (stat.S_IXGRP if info.st_gid == user.pw_gid else stat.S_IXOTH))


def place_password(beside: Path, name: str, password: bytes, service: pwd.struct_passwd | None) -> Path:
    """Writes a password into a new file of its own (0600) in a directory (0700) beside the configuration.

    Args:
        beside: the configuration's directory.
        name: what the file is to be called; where that is taken, ``name-2`` and so on.
        password: without a line end.
        service: whose the file becomes; None for whoever runs this.

    Returns:
        The file, whole and on disk.

    Raises:
        CannotWriteError: it cannot be made, or others could read it there.
    """
    directory = beside / SECRETS
    with _translated(directory):
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            if service is not None:
                os.chown(directory, service.pw_uid, service.pw_gid)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _require_private(os.fstat(fd), directory, service)
            owner = None if service is None else (service.pw_uid, service.pw_gid)
            with _written(fd, password + b"\n", mode=0o600, owner=owner) as staged:
                taken = _link_free(fd, staged, name)
            os.fsync(fd)
        finally:
            os.close(fd)
    return directory / taken


def place_secret(path: Path, secret: bytes) -> None:
    """Writes a secret into a new file of its own (0600); where that is there already with the same, makes it private.

    Args:
        path: the file; its directory is there, and may be anybody's to look into.
        secret: without a line end.

    Raises:
        UsageError: the file holds something else.
        CannotWriteError: it cannot be made.
    """
    octets = secret + b"\n"
    with _translated(path):
        fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _written(fd, octets, mode=0o600, owner=None) as staged:
                os.link(staged, path.name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
            os.fsync(fd)
        except FileExistsError:
            if path.is_symlink() or not path.is_file() or path.read_bytes() != octets:
                raise UsageError(
                    f"{path} is there already and holds something else: move it away, or name another directory"
                ) from None
            path.chmod(0o600)
        finally:
            os.close(fd)


def place_new(path: Path, text: str, *, environ: Mapping[str, str], service: pwd.struct_passwd | None) -> Settings:
    """Writes a configuration where none is, once the loader has accepted it: 0600, or root:fetchd 0640 for a service.

    Raises:
        ConfigError: the loader finds something wrong with it.
        UsageError: there is such a file meanwhile.
        CannotWriteError: it cannot be written.
        UnsureError: it is written, but maybe not for good.
    """
    mode, owner = (0o600, None) if service is None else (0o640, (0, service.pw_gid))

    def link(fd: int, staged: str) -> None:
        try:
            os.link(staged, path.name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileExistsError:
            raise UsageError(taken(path)) from None

    return _place(path, text, environ=environ, mode=mode, owner=owner, publish=link)


def place_over(path: Path, text: str, seen: os.stat_result, *, environ: Mapping[str, str]) -> Settings:
    """Replaces a configuration by one that the loader has accepted, with the same owner and mode.

    Args:
        path: the file; where it is a symbolic link, what that leads to is replaced.
        text: the new one.
        seen: the file's state when its text was read.
        environ: for the loader.

    Raises:
        ConfigError: the loader finds something wrong with the new one.
        UsageError: somebody has changed the file meanwhile.
        CannotWriteError: it cannot be written.
        UnsureError: it is written, but maybe not for good.
    """
    with _translated(path):
        real = path.resolve(strict=True)

    def rename(fd: int, staged: str) -> None:
        now = os.stat(real.name, dir_fd=fd)
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (seen.st_ino, seen.st_size, seen.st_mtime_ns):
            raise UsageError(f"{path} was changed meanwhile, and is left alone: try again")
        os.rename(staged, real.name, src_dir_fd=fd, dst_dir_fd=fd)

    mode, owner = stat.S_IMODE(seen.st_mode), (seen.st_uid, seen.st_gid)
    return _place(real, text, environ=environ, mode=mode, owner=owner, publish=rename)


def read(path: Path) -> tuple[str, os.stat_result]:
    """Returns a sound configuration's text, its line ends as they are, and the file's state, for :func:`place_over`.

    Raises:
        CannotWriteError: it cannot be read.
    """
    with _translated(path), path.open("rb") as file:
        return file.read().decode(), os.fstat(file.fileno())


def taken(path: Path) -> str:
    """Returns what to say where a configuration exists."""
    return f"{path} exists, and is never overwritten: add --add for one more account in it, or name another file"


def remove(path: Path) -> None:
    """Removes a file that this run has made, as far as that goes."""
    with suppress(OSError):
        path.unlink()


def _place(
    path: Path,
    text: str,
    *,
    environ: Mapping[str, str],
    mode: int,
    owner: tuple[int, int] | None,
    publish: Callable[[int, str], None],
) -> Settings:
    with _translated(path):
        fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _written(fd, text.encode(), mode=mode, owner=owner) as staged:
                settings = _accepted(path.parent / staged, path, environ)
                publish(fd, staged)
            _settle(fd, path)
        finally:
            os.close(fd)
    return settings


def _settle(directory: int, path: Path) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        text = f"{path}: written, and the disk may not keep it: {error.strerror or error}"
        raise UnsureError(text) from error


def _accepted(staged: Path, path: Path, environ: Mapping[str, str]) -> Settings:
    examined = examine(staged, environ=environ)
    if examined.settings is None:
        raise ConfigError(*(problem.replace(str(staged), str(path)) for problem in examined.problems))
    return examined.settings


@contextmanager
def _written(fd: int, octets: bytes, *, mode: int, owner: tuple[int, int] | None) -> Iterator[str]:
    """Gives the name of a new file in a directory, its octets on disk; it goes unless it was renamed."""
    name = f".fetchd-{secrets.token_hex(8)}"
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
    try:
        try:
            if owner is not None:
                _give(file, owner)
            os.fchmod(file, mode)
            with open(file, "wb", closefd=False) as stream:
                stream.write(octets)
            os.fsync(file)
        finally:
            os.close(file)
        yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)


def _give(file: int, owner: tuple[int, int]) -> None:
    info = os.fstat(file)
    if (info.st_uid, info.st_gid) != owner:
        os.fchown(file, *owner)


def _link_free(fd: int, staged: str, name: str) -> str:
    """Links a file to the first free one of ``name``, ``name-2`` …; returns which."""
    number = 1
    while True:
        free = name if number == 1 else f"{name}-{number}"
        try:
            os.link(staged, free, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileExistsError:
            number += 1
        else:
            return free


def _require_private(info: os.stat_result, directory: Path, service: pwd.struct_passwd | None) -> None:
    if info.st_uid not in {os.geteuid(), os.geteuid() if service is None else service.pw_uid}:
        raise CannotWriteError(
            f"{directory} belongs to another user: a password is not put there; name --password-file"
        )
    if info.st_mode & 0o077:
        mode = stat.S_IMODE(info.st_mode)
        raise CannotWriteError(f"{directory}: others can look into it (mode {mode:04o}): chmod 700 {directory}")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWriteError(f"{path}: cannot be written: {error.strerror or error}") from error
