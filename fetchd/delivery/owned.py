"""A delivery of which every step is done with the rights of the mailbox's owner, where fetchd runs as root.

For a Maildir, whose staging is in it. An mbox's staging is fetchd's own: there only the way to the file is the owner's.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from fetchd.delivery.rights import Rights
from fetchd.errors import DeliveryError
from fetchd.model import Committed, Staged
from fetchd.ports import Delivery, Journal, StagedFile


class OwnedDelivery:
    """``ports.Delivery`` around another one, which knows nothing of it."""

    def __init__(self, delivery: Delivery, rights: Rights) -> None:
        self._delivery = delivery
        self._rights = rights

    @property
    def publishes_by_moving(self) -> bool:
        """Whether publishing moves the staged file itself."""
        return self._delivery.publishes_by_moving

    def prepare(self, *, create: bool = True, waiting: bool = True) -> None:
        """Checks and opens the target, and creates what may be."""
        with self._rights.taken():
            self._delivery.prepare(create=create, waiting=waiting)

    def ready(self) -> None:
        """Returns when the target is checked and open."""
        with self._rights.taken():
            self._delivery.ready()

    def leftovers(self) -> Sequence[str]:
        """Returns the names of this account's complete files in staging."""
        with self._rights.taken():
            return self._delivery.leftovers()

    def stage(self, name: str) -> StagedFile:
        """Opens a new file, which is the owner's."""
        with self._rights.taken():
            return _OwnedFile(self._delivery.stage(name), self._rights)

    def flush_batch(self, batch: Sequence[Staged]) -> bool:
        """Returns when these finished files are on disk."""
        with self._rights.taken():
            return self._delivery.flush_batch(batch)

    def seal(self) -> None:
        """Returns when all that was published is on disk."""
        with self._rights.taken():
            self._delivery.seal()

    def publish(self, batch: Sequence[Committed], journal: Journal) -> None:
        """Makes a committed batch visible. The journal is not written with these rights: a Maildir needs none."""
        with self._rights.taken():
            self._delivery.publish(batch, journal)

    def recover(self, batch: Sequence[Committed], journal: Journal) -> int:
        """Publishes what an earlier run committed."""
        with self._rights.taken():
            return self._delivery.recover(batch, journal)

    def adopt(self, name: str) -> Staged:
        """Returns a complete file in staging that the store knows nothing of."""
        with self._rights.taken():
            return self._delivery.adopt(name)

    def discard(self, names: Sequence[str]) -> None:
        """Removes complete files from staging."""
        with self._rights.taken():
            self._delivery.discard(names)

    def delivered(self, *, since: int = -1) -> Iterator[str]:
        """All at once: a generator would go on when the rights are laid down."""
        with self._rights.taken():
            return iter(list(self._delivery.delivered(since=since)))

    def has_mail(self) -> bool:
        """Returns whether the target holds any mail."""
        with self._rights.taken():
            return self._delivery.has_mail()


class _OwnedFile:
    """``ports.StagedFile``: what is written counts against the owner's quota, too."""

    __slots__ = ("_file", "_rights")

    def __init__(self, file: StagedFile, rights: Rights) -> None:
        self._file = file
        self._rights = rights

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with self._rights.taken():
            self._file.write(data)

    def finish(self) -> Staged:
        with self._rights.taken():
            return self._file.finish()

    def abandon(self) -> None:
        """Never raises, as it promises: without the rights the file stays, for the next ``prepare`` to remove."""
        with suppress(DeliveryError), self._rights.taken():
            self._file.abandon()
