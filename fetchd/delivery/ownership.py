"""Whose a mailbox is, and whether anybody but root could lead a fetchd that runs as root astray.

With a user's own rights (``rights.py``) whatever that user plants is that user's own affair. As root it is not: then
every directory on the way has to be one in which only root can change names, and so can every symbolic link. Nothing
has to be checked twice there, for nobody can change it in between.
"""

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from fetchd.delivery.faults import translated
from fetchd.errors import DeliveryError, Retry

_ROOT: Final = 0
_MOST_LINKS: Final = 40
"""Symbolic links that the kernel follows in one path (path_resolution(7))."""


def user_name(uid: int) -> str:
    """Returns a user's name; the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def require_unswayed(path: Path, *, group: int = _ROOT, is_spool: bool = False) -> None:
    """Checks that only root can change what ``path`` leads to; where fetchd does not run as root, that is no matter.

    What is missing is no fault, unless anybody may put something in its place.

    Args:
        path: absolute.
        group: the group with whose rights we work there: what is at stake is what else it may write to.
        is_spool: whether the last directory may be its group's to write to, as a mail spool is (root:mail, 2775).

    Raises:
        DeliveryError: others can.
    """
    if os.geteuid() != _ROOT and group == _ROOT:
        return
    with translated("cannot use", path):
        swayed = _swayed_by_others(path, is_spool=is_spool)
    if swayed is None:
        return
    owner = swayed.lstat().st_uid
    if os.geteuid() != _ROOT:
        problem, remedy = "with the rights of a group that is not its owner's", "leave the group out of `owner`"
    else:
        problem, remedy = "as root", f"say whose the mail is, as in `owner: {user_name(owner) if owner else 'alice'}`"
    whose = f"belongs to {user_name(owner)}" if owner not in _trusted() else "may be changed by others than root"
    raise DeliveryError(
        f"{swayed} {whose}, and fetchd would deliver to {path} {problem}: {remedy}, in the account's `deliver`",
        retry=Retry.LATER,
    )


def require_own_directories(maildir: Path, names: tuple[str, ...]) -> None:
    """Checks that a Maildir's directories belong to the user with whose rights we work, and are not everybody's.

    Raises:
        DeliveryError: they do not, or they are.
    """
    for name in names:
        path = maildir / name
        with translated("cannot look at", path):
            status = path.lstat()
        if status.st_uid != os.geteuid():
            raise _not_ours(path, status)
        if status.st_mode & stat.S_IWOTH:
            raise DeliveryError(f"everybody may write to {path}: `chmod o-w {path}`", retry=Retry.LATER)


def require_own_file(path: Path, descriptor: int) -> None:
    """Checks that an open mbox is a regular file and, where fetchd runs as root, the user's for whom it is written.

    Where it does not, an mbox may be another's that our group may write to, as in a mail spool.

    Raises:
        DeliveryError: it is not.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise DeliveryError(f"mbox {path} is not a file: correct the path", retry=Retry.LATER)
    if _ROOT in os.getresuid() and status.st_uid != os.geteuid():
        raise _not_ours(path, status)


def _not_ours(path: Path, status: os.stat_result) -> DeliveryError:
    whose, we = user_name(status.st_uid), user_name(os.geteuid())
    if os.geteuid() == _ROOT:
        remedy = f"say so with `owner: {whose}` in the account's `deliver`"
    elif _ROOT in os.getresuid():
        remedy = f"correct `owner`, or `chown {we} {path}`"
    else:
        remedy = f"run fetchd as {whose}, or `chown -R {we} {path}`"
    return DeliveryError(f"{path} belongs to {whose}, and fetchd delivers as {we}: {remedy}", retry=Retry.LATER)


def _trusted() -> frozenset[int]:
    """Returns root, and whoever owns ``/``, who can do as much; in a user namespace that may be somebody else."""
    return frozenset({_ROOT, os.stat("/").st_uid})


def _swayed_by_others(path: Path, *, is_spool: bool) -> Path | None:
    """Returns the first thing on the way to ``path``, or at its end, that others than root may change."""
    trusted = _trusted()
    here, todo, links = Path("/"), list(reversed(path.parts[1:])), 0
    while todo:
        name = todo.pop()
        if name == "..":
            here = here.parent
            continue
        one = here / name
        try:
            status = one.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return here if here.lstat().st_mode & stat.S_IWOTH else None
        if status.st_uid not in trusted:
            return one
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                return one
            target = one.readlink()
            here = Path("/") if target.is_absolute() else here
            todo += reversed([part for part in target.parts if part != "/"])
        else:
            if _is_shared(status, may_be_groups=is_spool and not todo):
                return one
            here = one
    return None


def _is_shared(status: os.stat_result, *, may_be_groups: bool) -> bool:
    """Returns whether others than root can rename, or remove, what root has in a directory."""
    if status.st_mode & stat.S_ISVTX:
        return False
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and status.st_gid != _ROOT and not may_be_groups
