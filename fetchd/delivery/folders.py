"""The directories of a Maildir in which there may be mail, its subfolders' too, however a mail server lays them out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fetchd.delivery.faults import translated

_MAIL: Final = ("new", "cur")
_DEEPEST: Final = 16
"""Folders within folders that are looked into."""


def mail_directories(maildir: Path, *, depth: int = _DEEPEST) -> Iterator[Path]:
    """Yields every new/ and cur/: Maildir++ has its folders beside them as ``.Archive.2026``, others as a tree.

    Symbolic links are not followed.

    Raises:
        DeliveryError: a directory cannot be listed.
    """
    with translated("cannot list", maildir):
        try:
            with os.scandir(maildir) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return
    yield from (maildir / name for name in _MAIL if name in names)
    for name in names if depth else ():
        if name not in (*_MAIL, "tmp"):
            yield from mail_directories(maildir / name, depth=depth - 1)
