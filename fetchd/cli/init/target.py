"""``fetchd init``: where the mail goes."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fetchd.cli.init.interview import Interview
from fetchd.config import fields
from fetchd.config.owners import look_up
from fetchd.config.paths import Anchor
from fetchd.errors import UsageError

_USUAL: Final = ("~/Maildir", "~/.maildir", "~/.mail", "~/mail")
_MBOX: Final = "mbox:"

Deliver = Mapping[str, str | bool]
"""What is written under ``deliver``."""


def choose_target(maildir: str, mbox: str, owner: str, *, home: Path | None, interview: Interview) -> Deliver:
    """Returns where the mail goes, as it was said, or asked for.

    Args:
        maildir: what was said; "" where nothing was.
        mbox: the same.
        owner: the same.
        home: what ``~/`` stands for.
        interview: who can be asked.

    Raises:
        UsageError: something that was said is no good, or nothing was, and nobody can be asked.
    """
    anchor = Anchor(Path.cwd(), home)
    if maildir or mbox:
        option, text = ("--maildir", maildir) if maildir else ("--mbox", f"{_MBOX}{mbox}")
        try:
            kind, written = _target(text, anchor, may_be_file=False)
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from error
    else:
        if interview.terminal:
            interview.say(f"Where should the mail go? A Maildir; or {_MBOX}/var/mail/{_login_name()} for an mbox file.")
        kind, written = interview.text(
            "Deliver into",
            lambda answer: _target(answer, anchor, may_be_file=True),
            proposed=_proposed(anchor, interview),
            option="--maildir or --mbox",
        )
    place = anchor.resolve(written)
    deliver: dict[str, str | bool] = {kind: written}
    if not place.parent.exists():
        deliver["create_parents"] = True
    whose = owner or _owner_of(place)
    if whose:
        _require_user(whose)
        deliver["owner"] = whose
        if not owner:
            interview.say(f"  {place} is {whose}'s: mail is delivered there with {whose}'s rights.")
    return deliver


def _target(text: str, anchor: Anchor, *, may_be_file: bool) -> tuple[str, str]:
    """Returns ``maildir`` or ``mbox``, and the path as it is to be written."""
    kind = "mbox" if text.startswith(_MBOX) else "maildir"
    path = fields.file_path(text.removeprefix(_MBOX))
    place = anchor.resolve(path)
    if kind == "maildir" and place.is_file():
        if not may_be_file:
            raise ValueError(f"{place} is a file: an mbox, for --mbox?")
        kind = "mbox"
    if kind == "mbox" and place.is_dir():
        raise ValueError(f"{place} is a directory: an mbox is one file")
    # A relative path in the configuration starts at the configuration, and the one that was typed does not.
    return kind, path if path.startswith("~/") else os.path.normpath(place)


def _proposed(anchor: Anchor, interview: Interview) -> str | None:
    """Returns the Maildir that is there already, else the usual one."""
    if anchor.home is None:
        return None
    for text in _USUAL:
        place = anchor.resolve(text)
        if all((place / name).is_dir() for name in ("cur", "new", "tmp")):
            interview.say(f"  {text} is there already: mail is added to it, and nothing in it is touched.")
            return text
    return _USUAL[0]


def _owner_of(place: Path) -> str:
    """Returns whose territory a path is in, where root would deliver there; "" where that is nobody else's."""
    if os.geteuid() != 0:
        return ""
    existing = next(one for one in (place, *place.parents) if one.exists())
    try:
        owner = existing.stat().st_uid
        return pwd.getpwuid(owner).pw_name if owner != 0 else ""
    except (KeyError, OSError):
        return ""


def _require_user(owner: str) -> None:
    try:
        look_up(fields.owner(owner))
    except ValueError as error:
        raise UsageError(f"--owner: {error}") from error


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "alice"
