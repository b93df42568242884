"""Into a Maildir (https://cr.yp.to/proto/maildir.html), durably and exactly once.

Layout, folders and reading are the standard library's; only the way in is ours, whose steps stand in DESIGN §4::

    tmp/.fetchd-stage/NAME.part → fsync → tmp/.fetchd-stage/NAME → fsync of the directory → (commit)
    → rename to new/NAME → fsync of new/ and of the staging directory

Staging lies within tmp/: on the same file system, in no reader's sight (a dot directory in the Maildir itself would be
a folder to Maildir++ readers), and not reached by what sweeps tmp/ of old files.
"""

import mailbox
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from fetchd.delivery.directory import Directory
from fetchd.delivery.faults import translated
from fetchd.delivery.layout import ensure_maildir, require_one_file_system
from fetchd.delivery.staging import PartFile, Staging
from fetchd.errors import DeliveryError
from fetchd.model import Committed, Staged
from fetchd.names import account_digest, parse_name
from fetchd.ports import Journal

STAGE: Final = ".fetchd-stage"

_TMP_AGE: Final = 36 * 3600
"""Seconds after which a file in tmp/ is taken for abandoned."""


class Maildir(mailbox.Maildir):
    """A Maildir that one account's session delivers into: ``ports.Delivery``.

    Before :meth:`prepare` the Maildir need not exist; the library's own methods work only where it does.
    """

    def __init__(self, path: Path, account: str, *, create_parents: bool = False) -> None:
        with suppress(mailbox.NoSuchMailboxError):
            super().__init__(path, create=False)
        self._root = path
        self._create_parents = create_parents
        self._account = account_digest(account)
        self._staging = Staging(path / "tmp" / STAGE, account)
        self._opened_new: Directory | None = None

    def prepare(self, *, create: bool = True) -> None:
        """Checks the Maildir and opens its staging: see ``ports.Delivery``."""
        self.close()
        ensure_maildir(self._root, create=create, create_parents=self._create_parents)
        self._staging.open(create=create)
        self._opened_new = Directory.open(self._root / "new")
        require_one_file_system(self._root, self._staging.directory, self._new)
        super().__init__(self._root, create=False)

    def leftovers(self) -> Sequence[str]:
        """Returns this account's complete files in staging."""
        return self._staging.leftovers()

    def stage(self, name: str) -> PartFile:
        """Opens a new file in staging."""
        return self._staging.stage(name)

    def flush(self, batch: Sequence[Staged] | None = None) -> None:
        """Returns when a batch is on disk in staging. Without one: the library's ``flush``."""
        if batch is None:
            super().flush()
        else:
            self._staging.flush(batch)

    def publish(self, batch: Sequence[Committed], journal: Journal) -> None:  # noqa: ARG002 - mboxes need it
        """Moves a committed batch into new/, durably.

        Raises:
            DeliveryError: also where a message is neither in staging nor in new/ or cur/ any more.
        """
        absent = self._publish(batch)
        if absent:
            there = set(self._names())
            lost = [name for name in absent if name not in there]
            if lost:
                raise DeliveryError(
                    f"staged file vanished: {self._staging.path / lost[0]} (and {len(lost) - 1} more); "
                    "nobody but fetchd may work in that directory"
                )

    def recover(self, batch: Sequence[Committed], journal: Journal) -> int:  # noqa: ARG002 - mboxes need it
        """Publishes what is still in staging. What is not was published: a reader may have moved or deleted it since.

        The directories are flushed in any case: the earlier run may have ended between the rename and the fsync.
        """
        return len(batch) - len(self._publish(batch))

    def adopt(self, name: str) -> Staged:
        """Returns size and digest of a complete file in staging."""
        return self._staging.adopt(name)

    def discard(self, names: Sequence[str]) -> None:
        """Removes complete files from staging. Given one key, a string: the library's ``discard``."""
        if isinstance(names, str):
            super().discard(names)
        elif names:
            self._staging.remove(names)

    def delivered(self) -> Iterator[str]:
        """Yields the names of this account's messages in new/ and cur/, as they were when staged."""
        for name in self._names():
            parsed = parse_name(name)
            if parsed is not None and parsed.account == self._account:
                yield name

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
        self._staging.close()
        if self._opened_new is not None:
            self._opened_new.close()
            self._opened_new = None

    @property
    def _new(self) -> Directory:
        if self._opened_new is None:
            raise ValueError("prepare() comes first")
        return self._opened_new

    def _publish(self, batch: Sequence[Committed]) -> list[str]:
        """Renames what is staged, flushes, and returns the names that were not staged."""
        if not batch:
            return []
        names = [committed.staged.name for committed in batch]
        absent = [name for name in names if not self._rename(name)]
        self._new.sync()
        self._staging.directory.sync()
        return absent

    def _rename(self, name: str) -> bool:
        """Renames one file into new/; returns False where it is not staged.

        Nobody else uses the name, which carries a nonce; that it is free is checked all the same, for rename(2) would
        overwrite a message without a word.
        """
        if self._new.holds(name):
            if not self._staging.holds(name):
                return False
            raise DeliveryError(f"{self._new.path / name} exists already, and is staged too: remove the older one")
        source, target = self._staging.directory.descriptor, self._new.descriptor
        with translated("cannot publish", self._new.path / name):
            try:
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
            except FileNotFoundError:
                return False
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
                yield name.split(self.colon, 1)[0].split(",", 1)[0]
