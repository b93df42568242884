"""A Maildir's directories: checked, and where that is allowed created.

An empty directory is not taken for a Maildir to be: it may be the mount point of one that is not mounted (FAULTS G 99),
and mail delivered there would be gone from sight the moment it is. For the same reason nothing is created in a Maildir
that was delivered into before. Such a one has our staging directory in it. That tells it from another Maildir in its
place, such as one that an IMAP server made below a mount point, and needs no device or inode numbers, which change with
a reboot, a container or a restored backup.
"""

import errno
import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from fetchd.delivery.directory import Directory, create_directories, sync_directory
from fetchd.delivery.faults import translated
from fetchd.errors import DeliveryError, Retry

SUBDIRECTORIES: Final = ("new", "cur", "tmp")
"""In the order created: what has new/ or cur/ counts as a Maildir, so that a crash in between is made good."""
STAGING: Final = ".fetchd-stage"
"""The staging directory's name, within tmp/."""

_NOT_MAIL: Final = frozenset({"lost+found"})
_TRIAL: Final = ".fetchd-trial"
"""Never exists."""


def ensure_maildir(path: Path, *, create_parents: bool) -> None:
    """Returns when ``path`` is a Maildir, and on disk.

    Args:
        path: the Maildir; it may be a symbolic link, the directories in it may not.
        create_parents: whether the directories above it may be created too, and an empty directory made a Maildir.

    Raises:
        DeliveryError: it is not one and may not be made one.
    """
    with translated("cannot use Maildir", path):
        if not os.path.lexists(path):
            _create(path, create_parents=create_parents)
        _require(path.is_dir(), f"Maildir {path} is not a directory: move it away or deliver elsewhere")
        missing = [name for name in SUBDIRECTORIES if not _is_directory(path / name)]
        if missing:
            _require_maildir_to_be(path, missing, create_parents=create_parents)
            for name in missing:
                (path / name).mkdir(mode=0o700, exist_ok=True)
            sync_directory(path)


def require_known_maildir(path: Path, *, waiting: bool) -> None:
    """Returns if ``path`` is the Maildir that mail was delivered into before; creates nothing.

    Args:
        path: the Maildir.
        waiting: whether mail waits in its staging to be published.

    Raises:
        DeliveryError: it is not there, or it is another one.
    """
    with translated("cannot use Maildir", path):
        _require(path.is_dir() or not path.exists(), f"Maildir {path} is not a directory: move that away")
        parts = (path, *(path / name for name in SUBDIRECTORIES), path / "tmp" / STAGING)
        missing = next((part for part in parts if not _is_there(part, path)), None)
    if missing is None:
        return
    what = "is missing" if missing == path else f"has no {missing.relative_to(path)}/"
    why = "mail waits in it to be published" if waiting else "mail was delivered into it before"
    anew = " ".join(shlex.quote(str(path / name)) for name in ("new", "cur", f"tmp/{STAGING}"))
    price = "which gives the waiting mail up" if waiting else "as its owner"
    raise DeliveryError(
        f"Maildir {path} {what}, and {why}: mount its file system or put it back, and fetching goes on by itself; "
        f"or, to begin anew there, `mkdir -p {anew}`, {price}",
        retry=Retry.LATER,
    )


def require_one_file_system(maildir: Path, staging: Directory, new: Directory) -> None:
    """Checks that a file can be renamed from staging into new/: publishing hangs on that being atomic.

    Raises:
        DeliveryError: it cannot.
    """
    same = staging.status().st_dev == new.status().st_dev
    with translated("cannot try a rename in", maildir), suppress(FileNotFoundError):
        try:
            # There is no such file, so that nothing happens; but the kernel compares the mounts before it looks.
            os.rename(_TRIAL, _TRIAL, src_dir_fd=staging.descriptor, dst_dir_fd=new.descriptor)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            same = False
    _require(
        same,
        f"Maildir {maildir} spreads over two file systems, {staging.path} and {new.path}: unmount one, since a message "
        "is published by renaming it from the first to the second",
    )


def _create(path: Path, *, create_parents: bool) -> None:
    """Builds the Maildir beside its place and renames it there: a crash leaves no empty directory of its name."""
    import shutil  # noqa: PLC0415 - both load half of the library, once in a Maildir's life
    import tempfile  # noqa: PLC0415 - likewise

    if create_parents:
        create_directories(path.parent)
    _require(
        path.parent.is_dir(),
        f"cannot create Maildir {path}: {path.parent} is not a directory; create it, mount its file system, "
        "or set create_parents",
    )
    built = Path(tempfile.mkdtemp(prefix=f"{path.name}.fetchd-", dir=path.parent))
    try:
        for name in SUBDIRECTORIES:
            (built / name).mkdir(mode=0o700)
        sync_directory(built)
        built.rename(path)
    except OSError as error:
        shutil.rmtree(built, ignore_errors=True)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another account's session was faster
            raise
    sync_directory(path.parent)


def _is_there(part: Path, maildir: Path) -> bool:
    """Returns whether a part of a Maildir is there: the Maildir may be a symbolic link, what is in it may not."""
    return part.is_dir() if part == maildir else _is_directory(part)


def _is_directory(path: Path) -> bool:
    """Returns whether it is one, False where there is nothing.

    Raises:
        DeliveryError: something else is there. A symbolic link may lead anywhere.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    what = "a symbolic link" if stat.S_ISLNK(mode) else "not a directory"
    _require(stat.S_ISDIR(mode), f"{path} is {what}, and a Maildir needs a directory there: replace it by one")
    return True


def _require_maildir_to_be(path: Path, missing: list[str], *, create_parents: bool) -> None:
    if "new" not in missing or "cur" not in missing:
        return
    others = set(os.listdir(path)) - _NOT_MAIL
    _require(not others, f"{path} is not a Maildir: it holds other things and neither new/ nor cur/; correct the path")
    _require(
        create_parents or path.is_mount(),
        f"{path} is an empty directory: mount its file system if that is missing, otherwise remove the directory, "
        "and fetchd creates a Maildir; or set create_parents",
    )


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DeliveryError(otherwise, retry=Retry.LATER)
