"""Into a Maildir (https://cr.yp.to/proto/maildir.html), durably and exactly once.

Layout, folders and reading are the standard library's; only the way in is ours, whose steps stand in DESIGN §4::

    tmp/.fetchd-stage/NAME,S=OCTETS → flush of the batch → (commit)
    → rename to new/NAME,S=OCTETS → flush of the next batch, or fsync of new/ and of the staging directory

Staging lies within tmp/: on the same file system, in no reader's sight (a dot directory in the Maildir itself would be
a folder to Maildir++ readers), and not reached by what sweeps tmp/ of old files.
"""

import mailbox
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from fetchd.delivery import kernel
from fetchd.delivery.claim import Claim
from fetchd.delivery.directory import Directory
from fetchd.delivery.faults import delivery_error, translated
from fetchd.delivery.folders import mail_directories
from fetchd.delivery.layout import (
    STAGING,
    SUBDIRECTORIES,
    ensure_maildir,
    require_known_maildir,
    require_one_file_system,
)
from fetchd.delivery.ownership import require_own_directories, require_unswayed
from fetchd.delivery.sightings import Sightings
from fetchd.delivery.staging import PartFile, Staging
from fetchd.errors import DeliveryError
from fetchd.model import Committed, Staged
from fetchd.names import account_digest, parse_name, stem
from fetchd.ports import Journal

STAGE: Final = STAGING

_TMP_AGE: Final = 36 * 3600
"""Seconds after which a file in tmp/ is taken for abandoned."""


class Maildir(mailbox.Maildir):
    """A Maildir that one account's session delivers into: ``ports.Delivery``.

    Before :meth:`prepare` the Maildir need not exist; the library's own methods work only where it does.
    """

    publishes_by_moving: Final = True

    def __init__(
        self, path: Path, account: str, *, create_parents: bool = False, sightings: Sightings | None = None
    ) -> None:
        if sightings is None:
            with suppress(mailbox.NoSuchMailboxError):
                super().__init__(path, create=False)
        self._root = path
        self._create_parents = create_parents
        self._account = account_digest(account)
        self._staging = Staging(path / "tmp" / STAGE, account)
        self._opened_new: Directory | None = None
        self._is_unsealed = False
        self._claim: Claim | None = None
        self._sightings = sightings or Sightings()
        self._is_glance = False
        self._is_staging = False

    def prepare(self, *, create: bool = True, waiting: bool = True) -> None:
        """Checks the Maildir and opens its staging: see ``ports.Delivery``.

        Where nothing of the account's is in its staging directory, that waits for :meth:`ready`.
        """
        self.close()
        self._is_glance = not (waiting or create) and self._is_settled()
        if not self._is_glance:
            self._open(create=create, waiting=waiting)

    def _is_settled(self) -> bool:
        """Returns whether nothing of the account's is staged, in a Maildir that looks as it should from outside."""
        path = self._staging.path
        if self._sightings.is_as_seen(self._account, path):
            return True
        require_unswayed(self._root)
        try:
            before = os.lstat(path)
            others = [os.lstat(f"{self._root}/{name}") for name in SUBDIRECTORIES]
            is_settled = (
                all(_is_own_directory(status, before.st_dev) for status in (before, *others))
                and self._staging.holds_nothing()
            )
        except OSError:
            return False  # opening it says what is wrong
        if is_settled:
            self._sightings.saw_nothing(self._account, path, before)
        return is_settled

    def ready(self) -> None:
        """Returns when the Maildir is checked closely, and its staging open."""
        if self._is_glance:
            self._is_glance = False
            self._open(create=False, waiting=False)  # it was there

    def _open(self, *, create: bool, waiting: bool) -> None:
        require_unswayed(self._root)
        if create:
            ensure_maildir(self._root, create_parents=self._create_parents)
        else:
            require_known_maildir(self._root, waiting=waiting)
        require_own_directories(self._root, SUBDIRECTORIES)
        self._claim = Claim(Directory.open(self._root / "tmp"), self._account)
        self._staging.open(create=create)
        self._opened_new = Directory.open(self._root / "new")
        require_one_file_system(self._root, self._staging.directory, self._new)
        try:
            super().__init__(self._root, create=False)
        except mailbox.NoSuchMailboxError as error:
            raise DeliveryError(f"Maildir {self._root} vanished while fetchd looked at it") from error

    def leftovers(self) -> Sequence[str]:
        """Returns this account's complete files in staging."""
        if self._is_glance:
            return []
        before = self._staging.directory.status()
        names = self._staging.leftovers()
        if not names:
            self._sightings.saw_nothing(self._account, self._staging.path, before)
        return names

    def stage(self, name: str) -> PartFile:
        """Opens a new file in staging."""
        if not self._is_staging:
            self.ready()
            self._sightings.forget(self._account, self._staging.path)
            self._is_staging = True
        return self._staging.stage(name)

    def flush_batch(self, batch: Sequence[Staged]) -> bool:
        """Returns when a batch is on disk in staging, and whether all of the file system is."""
        all_is = self._staging.flush(batch)
        self._is_unsealed = self._is_unsealed and not all_is
        return all_is

    def seal(self) -> None:
        """Returns when what was published is on disk."""
        if self._is_unsealed:
            self._sync()

    def publish(self, batch: Sequence[Committed], journal: Journal) -> None:  # noqa: ARG002 - mboxes need it
        """Moves a committed batch into new/.

        Raises:
            DeliveryError: also where a message is neither in staging nor in new/ or cur/ any more.
        """
        absent = self._publish(batch)
        if absent:
            there = set(self._names())
            lost = [name for name in absent if stem(name) not in there]
            if lost:
                raise DeliveryError(
                    f"staged file vanished: {self._staging.path / lost[0]} (and {len(lost) - 1} more); "
                    "nobody but fetchd may work in that directory"
                )

    def recover(self, batch: Sequence[Committed], journal: Journal) -> int:  # noqa: ARG002 - mboxes need it
        """Publishes what is still in staging. What is not was published: a reader may have moved or deleted it since.

        The directories are flushed in any case: the earlier run may have ended between the rename and the fsync.
        """
        moved = len(batch) - len(self._publish(batch))
        if batch:
            self._sync()
        return moved

    def _sync(self) -> None:
        """Flushes both directories; then a file, which tells of a file system that is gone where these do not."""
        self._new.sync()
        self._staging.directory.sync()
        if self._claim is not None:
            self._claim.sync()
        self._is_unsealed = False

    def adopt(self, name: str) -> Staged:
        """Returns a complete file in staging that the store knows nothing of."""
        return self._staging.adopt(name)

    def discard(self, names: Sequence[str]) -> None:
        """Removes complete files from staging. Given one key, a string: the library's ``discard``."""
        if isinstance(names, str):
            super().discard(names)
        elif names:
            self._staging.remove(names)

    def delivered(self, *, since: int = -1) -> Iterator[str]:
        """Yields the names of this account's messages, as they were when staged; those in subfolders, too.

        A directory that nothing was moved into since then is not read.
        """
        for directory in mail_directories(self._root):
            with translated("cannot list", directory):
                try:
                    names = os.listdir(directory) if os.stat(directory).st_mtime >= since else []
                except FileNotFoundError:
                    continue
            for name in names:
                parsed = parse_name(name)
                if parsed is not None and parsed.account == self._account and parsed.seconds > since:
                    yield stem(name)

    def has_mail(self) -> bool:
        """Returns whether there is a message in new/ or cur/, whoever delivered it."""
        return any(not name.startswith(".") for name in self._names())

    def clean(self) -> None:
        """Removes old files from tmp/, as the library's ``clean`` does; that one trips over an old directory there."""
        now = time.time()
        with os.scandir(self._root / "tmp") as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False) and now - entry.stat().st_atime > _TMP_AGE:
                    os.remove(entry.path)

    def close(self) -> None:
        """Closes the descriptors; they are closed with the object at the latest."""
        self._is_staging = False
        self._staging.close()
        if self._claim is not None:
            self._claim.close()
            self._claim = None
        if self._opened_new is not None:
            self._opened_new.close()
            self._opened_new = None

    @property
    def _new(self) -> Directory:
        if self._opened_new is None:
            raise ValueError("prepare() comes first")
        return self._opened_new

    def _publish(self, batch: Sequence[Committed]) -> list[str]:
        """Renames what is staged, and returns the names that were not staged."""
        self._is_unsealed = self._is_unsealed or bool(batch)
        names = [committed.staged.name for committed in batch]
        return [name for name in names if not self._rename(name)]

    def _rename(self, name: str) -> bool:
        """Renames one file into new/; returns False where it is not staged.

        Nobody else uses the name, which carries a nonce; it must be free all the same, for rename(2) would overwrite a
        message without a word.
        """
        source, target = self._staging.directory.descriptor, self._new.descriptor
        try:
            kernel.rename_new(name, name, src_dir_fd=source, dst_dir_fd=target)
        except FileNotFoundError:
            return False
        except FileExistsError as error:
            if not self._staging.holds(name):
                return False
            raise DeliveryError(
                f"{self._new.path / name} exists already, and is staged too: remove the older one"
            ) from error
        except OSError as error:
            raise delivery_error("cannot publish", self._new.path / name, error) from error
        return True

    def _names(self) -> Iterator[str]:
        """Yields the names in new/ and cur/ without what readers append to them (``,S=…``, ``:2,…``)."""
        for subdirectory in ("new", "cur"):
            path = self._root / subdirectory
            with translated("cannot list", path):
                try:
                    names = os.listdir(path)
                except FileNotFoundError:
                    continue
            for name in names:
                yield stem(name)


def _is_own_directory(status: os.stat_result, device: int) -> bool:
    """Returns whether opening it has no reason to complain: see ``ownership.py`` and ``layout.py``."""
    is_ours = status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH
    return stat.S_ISDIR(status.st_mode) and is_ours and status.st_dev == device
