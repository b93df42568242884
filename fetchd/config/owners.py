"""``owner`` in ``deliver``: whom the machine knows under that name, and whether fetchd may deliver as that user."""

import grp
import os
import pwd

from fetchd.config.checks import Candidate
from fetchd.config.report import Report
from fetchd.config.sections import DeliverKeys
from fetchd.model import Owner


def find_owner(candidate: Candidate, report: Report) -> Owner | None:
    """Returns the owner of an account's target; None where none is given, or where it is no good and that was said."""
    deliver = candidate.keys.deliver
    if deliver is None or deliver.owner is None or not candidate.sound("deliver"):
        return None
    try:
        owner = look_up(deliver.owner)
        _require_possible(owner, deliver)
    except ValueError as error:
        report.error((*candidate.path("deliver"), "owner"), str(error))
        return None
    return owner


def look_up(text: str) -> Owner:
    """Returns the user that ``USER`` or ``USER:GROUP`` names, with the groups that a login would give.

    Raises:
        ValueError: there is no such user or group.
    """
    user, _, group = text.partition(":")
    entry = _user(user)
    if entry is not None:
        own = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
        return Owner(text, entry.pw_uid, _group(group) if group else entry.pw_gid, own)
    if not group:
        raise ValueError(f"user {user} has no entry in the user database, so write its group too: {user}:GROUP")
    gid = _group(group)
    return Owner(text, int(user), gid, (gid,))


def _user(text: str) -> pwd.struct_passwd | None:
    """Returns a user's entry; None for a number that nobody has."""
    try:
        return pwd.getpwnam(text)
    except KeyError:
        if not _is_number(text):
            raise ValueError(f'there is no user "{text}" on this machine') from None
    try:
        return pwd.getpwuid(int(text))
    except KeyError:
        return None


def _group(text: str) -> int:
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        if not _is_number(text):
            raise ValueError(f'there is no group "{text}" on this machine') from None
    return int(text)


def _is_number(text: str) -> bool:
    """Returns whether this is a user's or group's number; the last one means "none" to the kernel."""
    return text.isascii() and text.isdigit() and int(text) < 2**32 - 1


def _require_possible(owner: Owner, deliver: DeliverKeys) -> None:
    here = os.geteuid()
    if here not in (0, owner.uid):
        raise ValueError(
            f"fetchd runs as uid {here}, and only root can deliver as another user: run it as root, or as "
            f"{owner.name.partition(':')[0]}, or leave this out"
        )
    if owner.gid not in owner.groups and deliver.maildir is not None:
        raise ValueError(
            f"{owner.name}: that is not a group of the user's, and only an mbox may have such a one, as in a mail "
            "spool: leave the group out"
        )
    if ":" in owner.name and here == owner.uid:
        raise ValueError("fetchd runs as that user already, and changes no group then: leave the group out")
