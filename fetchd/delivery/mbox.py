"""Into an mbox (mboxrd quoting), durably and exactly once.

The order of steps is that of DESIGN §4::

    STAGE/NAME.part → fsync → STAGE/NAME → fsync of the directory → (commit)
    → both locks → journal: appending → append → fsync → journal: appended → unlock
    → unlink in STAGE → fsync of the directory

What an append did before a crash is ``settlement.py``'s to find out. Reading is the standard library's.
"""

import mailbox
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fetchd.delivery.appending import MboxFile
from fetchd.delivery.directory import create_directories
from fetchd.delivery.dotlock import is_left_locked
from fetchd.delivery.faults import translated
from fetchd.delivery.locking import Patience, locked, require_mbox_file
from fetchd.delivery.settlement import Settlement
from fetchd.delivery.staging import PartFile, Staging
from fetchd.errors import DeliveryError, Retry
from fetchd.model import Committed, Staged
from fetchd.ports import Journal

LOCK_TIMEOUT: Final = 30.0
"""Seconds."""

_FROM: Final = b"From "


class Mbox(mailbox.mbox):
    """An mbox that one account's session delivers into: ``ports.Delivery``.

    Several programs, and several accounts, may deliver into one mbox at a time: the locks order them.
    """

    def __init__(
        self,
        path: Path,
        account: str,
        *,
        staging: Path,
        create_parents: bool = False,
        lock_timeout: float = LOCK_TIMEOUT,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = os.path.abspath(path)  # the library's attribute, as it sets it
        self._reading = False
        self._target = path
        self._create_parents = create_parents
        self._patience = Patience(lock_timeout, sleep, now)
        self._staging = Staging(staging, account)

    if not TYPE_CHECKING:  # or every misspelt attribute would pass the type checker

        def __getattr__(self, name: str) -> Any:
            """Puts off the library's constructor, which opens the file, to the first use of what it sets."""
            if self.__dict__.get("_reading", True) or name.startswith("__"):
                raise AttributeError(name)
            self._reopen()
            return getattr(self, name)

    def prepare(self, *, create: bool = True) -> None:
        """Checks the mbox and opens its staging: see ``ports.Delivery``. The file itself is created when needed."""
        parent = self._target.parent
        with translated("cannot use mbox", self._target):
            if create and self._create_parents:
                create_directories(parent)
            if not parent.is_dir():
                raise DeliveryError(
                    f"cannot use mbox {self._target}: {parent} is not a directory; create it, mount its file system, "
                    "or set create_parents",
                    retry=Retry.LATER,
                )
            if require_mbox_file(self._target):
                self._require_mail()
        self._staging.open(create=create)

    def leftovers(self) -> Sequence[str]:
        """Returns this account's complete files in staging."""
        return self._staging.leftovers()

    def stage(self, name: str) -> PartFile:
        """Opens a new file in staging."""
        return self._staging.stage(name)

    def flush(self, batch: Sequence[Staged] | None = None) -> None:
        """Returns when a batch is on disk in staging. Without one: the library's ``flush``."""
        if batch is not None:
            self._staging.flush(batch)
        elif self._reading:
            super().flush()

    def publish(self, batch: Sequence[Committed], journal: Journal) -> None:
        """Appends a committed batch, durably.

        Raises:
            DeliveryError: also where a message is neither in staging nor known to be in the mbox.
        """
        self._settle(batch, journal)

    def recover(self, batch: Sequence[Committed], journal: Journal) -> int:
        """Appends what an earlier run committed and did not append; what it appended in part is cut off first."""
        return self._settle(batch, journal)

    def adopt(self, name: str) -> Staged:
        """Returns size and digest of a complete file in staging."""
        return self._staging.adopt(name)

    def discard(self, names: Sequence[str] | int) -> None:
        """Removes complete files from staging. Given one key, an int: the library's ``discard``."""
        if isinstance(names, int | str):
            super().discard(names)  # type: ignore[arg-type] # typeshed says str; keys of an mbox are int
        elif names:
            self._staging.remove(names)

    def delivered(self) -> Iterator[str]:
        """Yields nothing: an mbox does not keep the names."""
        return iter(())

    def has_mail(self) -> bool:
        """Returns whether the file holds anything, whoever delivered it."""
        with translated("cannot look at mbox", self._target):
            try:
                return self._target.stat().st_size > 0
            except FileNotFoundError:
                return False

    def close(self) -> None:
        """Closes the descriptors; that of staging is closed with the object at the latest."""
        self._staging.close()
        if self._reading:
            super().close()

    def _settle(self, batch: Sequence[Committed], journal: Journal) -> int:
        """Brings a committed batch into the mbox, whatever of it is there already; returns how many were appended."""
        if not batch:
            return 0
        names = [committed.staged.name for committed in batch]
        settlement = Settlement(self._staging, journal)
        undone = settlement.undone(names)
        appended = 0
        if undone or is_left_locked(self._target):
            with locked(self._target, self._patience) as descriptor:
                appended = settlement.bring_in(undone, MboxFile(self._target, descriptor))
            if self._reading:
                self._reopen()
        self._staging.remove(names)
        return appended

    def _require_mail(self) -> None:
        """Checks that the file can be read and written, and that it is an mbox.

        It may hold the torn beginning of our own first message. What blank lines there are before one do no harm.
        """
        descriptor = os.open(self._target, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            start = os.pread(descriptor, 512, 0).lstrip(b"\n")[: len(_FROM)]
        finally:
            os.close(descriptor)
        if not _FROM.startswith(start):
            raise DeliveryError(f"{self._target} is not an mbox: it does not begin with a From line", retry=Retry.LATER)

    def _reopen(self) -> None:
        """Runs the library's constructor, which opens the file; again after appending, since it keeps offsets."""
        if self._reading:
            with suppress(OSError):
                super().close()
        self._reading = True
        try:
            super().__init__(self._path, create=False)
        except BaseException:
            self._reading = False
            raise
