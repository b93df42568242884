"""Staging directories that were looked at closely: what has not changed since needs no second look.

A poll that finds nothing to do then costs the target one stat(2), and no descriptor.
"""

import os
from pathlib import Path

_Look = tuple[int, int, int]


class Sightings:
    """What staging directories were like when nothing of an account was left in them. For many threads.

    Kept from one session to the next, and lost with the process: what an earlier one left behind is looked for once.
    A name that comes or goes changes the directory's time; a file system that is not mounted, or another one, is
    another directory.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Path], _Look] = {}

    def is_as_seen(self, account: str, staging: Path) -> bool:
        """Returns whether a directory is still what it was, so that there is nothing in it to be settled."""
        seen = self._seen.get((account, staging))
        if seen is None:
            return False
        try:
            return _look(os.lstat(staging)) == seen
        except OSError:
            return False

    def saw_nothing(self, account: str, staging: Path, status: os.stat_result) -> None:
        """Notes that nothing of the account was found in a directory that had this status before."""
        self._seen[account, staging] = _look(status)

    def forget(self, account: str, staging: Path) -> None:
        """Notes that something is about to be put into it."""
        self._seen.pop((account, staging), None)


def _look(status: os.stat_result) -> _Look:
    return status.st_dev, status.st_ino, status.st_mtime_ns
