"""A Maildir's directories: checked, and where that is allowed created.

An empty directory is not taken for a Maildir to be: it may be the mount point of one that is not mounted (FAULTS G 99),
and mail delivered there would be gone from sight the moment it is.
"""

import errno
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from fetchd.delivery.directory import Directory, create_directories, sync_directory
from fetchd.delivery.faults import translated
from fetchd.errors import DeliveryError, Retry

SUBDIRECTORIES: Final = ("new", "cur", "tmp")
"""In the order created: what has new/ or cur/ counts as a Maildir, so that a crash in between is made good."""

_NOT_MAIL: Final = frozenset({"lost+found"})
_TRIAL: Final = ".fetchd-trial"
"""Never exists."""


def ensure_maildir(path: Path, *, create: bool, create_parents: bool) -> None:
    """Returns when ``path`` is a Maildir, and on disk.

    Args:
        path: the Maildir; it may be a symbolic link, the directories in it may not.
        create: whether it, or what is missing in it, may be created.
        create_parents: whether the directories above it may be created too, and an empty directory made a Maildir.

    Raises:
        DeliveryError: it is not one and may not be made one.
    """
    with translated("cannot use Maildir", path):
        if not os.path.lexists(path):
            _require(create, f"Maildir {path} is missing, and mail waits in it to be published: mount its file system")
            _create(path, create_parents=create_parents)
        _require(path.is_dir(), f"Maildir {path} is not a directory: move it away or deliver elsewhere")
        missing = [name for name in SUBDIRECTORIES if not _is_directory(path / name)]
        if missing:
            _require(create, f"Maildir {path} has no {missing[0]}/, and mail waits in it: mount its file system")
            _require_maildir_to_be(path, missing, create_parents=create_parents)
            for name in missing:
                (path / name).mkdir(mode=0o700, exist_ok=True)
            sync_directory(path)


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
