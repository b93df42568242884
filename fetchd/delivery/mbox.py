"""Into an mbox (mboxrd quoting), durably and exactly once.

The order of steps is that of DESIGN §4::

    STAGE/NAME,S=OCTETS → flush of the batch → (commit)
    → both locks → journal: appending → append → fsync → journal: appended → unlock
    → unlink in STAGE → fsync of the directory

What an append did before a crash is ``settlement.py``'s to find out. Reading is the standard library's.
"""

import mailbox
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fetchd.delivery.appending import MboxFile
from fetchd.delivery.directory import create_directories
from fetchd.delivery.dotlock import is_left_locked
from fetchd.delivery.faults import translated
from fetchd.delivery.locking import Patience, locked, require_mbox_file
from fetchd.delivery.ownership import require_own_file, require_unswayed
from fetchd.delivery.rights import Rights
from fetchd.delivery.settlement import Settlement
from fetchd.delivery.staging import PartFile, Staging
from fetchd.errors import DeliveryError, Retry
from fetchd.model import Committed, Owner, Staged
from fetchd.ports import Journal

LOCK_TIMEOUT: Final = 30.0
"""Seconds."""

_FROM: Final = b"From "


class Mbox(mailbox.mbox):
    """An mbox that one account's session delivers into: ``ports.Delivery``.

    Several programs, and several accounts, may deliver into one mbox at a time: the locks order them.
    """

    publishes_by_moving: Final = False

    def __init__(
        self,
        path: Path,
        account: str,
        *,
        staging: Path,
        create_parents: bool = False,
        owner: Owner | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = os.path.abspath(path)  # the library's attribute, as it sets it
        self._reading = False
        self._target = path
        self._create_parents = create_parents
        self._rights = Rights(owner)
        self._patience = Patience(lock_timeout, sleep, now)
        self._staging = Staging(staging, account)

    if not TYPE_CHECKING:  # or every misspelt attribute would pass the type checker

        def __getattr__(self, name: str) -> Any:
            """Puts off the library's constructor, which opens the file, to the first use of what it sets."""
            if self.__dict__.get("_reading", True) or name.startswith("__"):
                raise AttributeError(name)
            self._reopen()
            return getattr(self, name)

    def prepare(self, *, create: bool = True, waiting: bool = True) -> None:
        """Checks the mbox and opens its staging: see ``ports.Delivery``. The file itself is created when needed."""
        parent = self._target.parent
        with self._rights.taken(), translated("cannot use mbox", self._target):
            require_unswayed(parent, group=self._rights.foreign_group, is_spool=True)
            if create and self._create_parents:
                create_directories(parent)
            if not parent.is_dir():
                raise _no_directory(self._target, create=create)
            if require_mbox_file(self._target):
                self._require_mail()
        self._staging.open(create=create or not waiting)
        self._clear_left_lock()

    def ready(self) -> None:
        """Does nothing: :meth:`prepare` leaves nothing for later."""

    def leftovers(self) -> Sequence[str]:
        """Returns this account's complete files in staging."""
        return self._staging.leftovers()

    def stage(self, name: str) -> PartFile:
        """Opens a new file in staging."""
        return self._staging.stage(name)

    def flush(self) -> None:
        """The library's ``flush``, where the file was opened for reading."""
        if self._reading:
            super().flush()

    def flush_batch(self, batch: Sequence[Staged]) -> bool:
        """Returns when a batch is on disk in staging; what was published before is in any case."""
        self._staging.flush(batch)
        return True

    def publish(self, batch: Sequence[Committed], journal: Journal) -> None:
        """Appends a committed batch, durably.

        Raises:
            DeliveryError: also where a message is neither in staging nor known to be in the mbox.
        """
        self._settle(batch, journal)

    def seal(self) -> None:
        """Returns: what was appended is on disk."""

    def recover(self, batch: Sequence[Committed], journal: Journal) -> int:
        """Appends what an earlier run committed and did not append; what it appended in part is cut off first."""
        return self._settle(batch, journal)

    def adopt(self, name: str) -> Staged:
        """Returns a complete file in staging that the store knows nothing of."""
        return self._staging.adopt(name)

    def discard(self, names: Sequence[str] | int) -> None:
        """Removes complete files from staging. Given one key, an int: the library's ``discard``."""
        if isinstance(names, int | str):
            super().discard(names)  # type: ignore[arg-type] # typeshed says str; keys of an mbox are int
        elif names:
            self._staging.remove(names)

    def delivered(self, *, since: int = -1) -> Iterator[str]:  # noqa: ARG002 - Maildirs need it
        """Yields nothing: an mbox does not keep the names."""
        return iter(())

    def has_mail(self) -> bool:
        """Returns whether the file holds anything, whoever delivered it."""
        with self._rights.taken(), translated("cannot look at mbox", self._target):
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
        if undone or self._is_left_locked():
            with locked(self._target, self._patience, rights=self._rights.taken) as descriptor:
                file = MboxFile(self._target, descriptor, rights=self._rights.taken)
                appended = settlement.bring_in(undone, file)
            if self._reading:
                self._reopen()
        self._staging.remove(names)
        return appended

    def _clear_left_lock(self) -> None:
        """Removes a dot lock that a kill left, or that a power cut brought back: it would keep mail readers out.

        Where somebody holds a lock now it is not waited for: the next poll clears it.
        """
        if is_left_locked(self._target):
            at_once = replace(self._patience, timeout=0)
            with suppress(DeliveryError), locked(self._target, at_once, rights=self._rights.taken):
                pass

    def _is_left_locked(self) -> bool:
        with self._rights.taken(), translated("cannot look at the lock of mbox", self._target):
            return is_left_locked(self._target)

    def _require_mail(self) -> None:
        """Checks that the file can be read and written, and that it is an mbox.

        It may hold the torn beginning of our own first message. What blank lines there are before one do no harm.
        """
        descriptor = os.open(self._target, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            require_own_file(self._target, descriptor)
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


def _no_directory(mbox: Path, *, create: bool) -> DeliveryError:
    parent = mbox.parent
    remedy = f"{parent} is not a directory; create it, mount its file system, or set create_parents"
    if not create:
        remedy = (
            f"{parent} is not there, and mail was delivered into it before: mount its file system or put it back, and "
            f"fetching goes on by itself; or, to begin anew there, `mkdir -p {shlex.quote(str(parent))}`"
        )
    return DeliveryError(f"cannot use mbox {mbox}: {remedy}", retry=Retry.LATER)
