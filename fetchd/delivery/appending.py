"""Octets at the end of an mbox: written so that what a crash leaves can be told from what others wrote.

Nobody else's octets are ever touched: the file is only cut where everything behind the cut is provably ours.
"""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from fetchd.delivery.directory import write_all
from fetchd.delivery.faults import translated
from fetchd.delivery.locking import is_file_at
from fetchd.delivery.quoting import separator
from fetchd.delivery.staging import CHUNK, DIGEST_OCTETS
from fetchd.errors import DeliveryError
from fetchd.model import Placement
from fetchd.values import value

Octets = Callable[[], Iterator[bytes]]
"""Yields the same octets, in pieces, each time it is called."""

_FROM: Final = b"From "
_SEPARATOR: Final = re.compile(rb"^From MAILER-DAEMON [^\n]{24}\n", re.MULTILINE)
_SEPARATOR_OCTETS: Final = len(separator(0))


@value
class Measure:
    """How many octets there are, and their BLAKE2b-128 digest."""

    length: int
    digest: bytes

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> "Measure":
        """Measures all pieces together."""
        length, digest = 0, blake2b(digest_size=DIGEST_OCTETS)
        for piece in pieces:
            length += len(piece)
            digest.update(piece)
        return cls(length, digest.digest())


@value
class Entry:
    """A message as it stands, or will stand, in an mbox: its separator line, its quoted body, a blank line."""

    name: str
    separator: bytes
    octets: Octets
    measure: Measure


class MboxFile:
    """An mbox under both locks. Every method raises ``DeliveryError``.

    What is written, and what is done by its name, is done in a context of ``rights``: whose quota it is.
    """

    __slots__ = ("_descriptor", "_path", "_rights")

    def __init__(
        self, path: Path, descriptor: int, *, rights: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._path = path
        self._descriptor = descriptor
        self._rights = rights

    @property
    def inode(self) -> int:
        """The file's inode number."""
        return self._status().st_ino

    @property
    def size(self) -> int:
        """The file's size in octets."""
        return self._status().st_size

    def separation(self) -> bytes:
        """Returns what has to stand before a message at the file's end, so that a blank line precedes it."""
        size = self.size
        end = self._read(max(size - 2, 0), 2)
        if size == 0 or end == b"\n\n":
            return b""
        return b"\n" if end.endswith(b"\n") else b"\n\n"

    def append(self, octets: Octets, placement: Placement) -> None:
        """Writes a batch where its placement says, and returns when it is on disk.

        After a failure the file is as it was. A failed fsync is not tried again.

        Raises:
            DeliveryError: also where another program wrote to, or replaced, the file in spite of the locks. What became
                of the batch is then for recovery to find out.
        """
        try:
            with translated("cannot append to mbox", self._path):
                for piece in octets():
                    self._write(piece)
                os.fsync(self._descriptor)
        except BaseException:
            with suppress(DeliveryError):
                self.cut_back(octets, placement.offset)
            raise
        intact = self.size == placement.offset + placement.length or self.has(placement)
        if not intact or not self._is_in_place():
            raise DeliveryError(
                f"mbox {self._path} was changed by another program while fetchd held its locks: find that program, "
                "for it loses mail; what fetchd was delivering is delivered again if it is not in the file"
            )

    def cut_back(self, octets: Octets, offset: int) -> bool:
        """Cuts the file at ``offset`` if what is behind is the beginning of these octets, durably.

        Returns:
            Whether the file now ends at ``offset``.
        """
        size = self.size
        if size < offset or offset + self.common_prefix(octets(), offset) != size:
            return False
        if size > offset:
            with translated("cannot cut back mbox", self._path):
                os.ftruncate(self._descriptor, offset)
                os.fsync(self._descriptor)
        return True

    def sync(self) -> None:
        """Returns when the file is on disk."""
        with translated("cannot flush mbox", self._path):
            os.fsync(self._descriptor)

    def has(self, placement: Placement) -> bool:
        """Returns whether a batch stands where it was to be placed, whole."""
        if self.inode != placement.inode or self.size < placement.offset + placement.length:
            return False
        pieces = self._pieces(placement.offset, placement.length)
        return Measure.of(pieces) == Measure(placement.length, placement.digest)

    def common_prefix(self, pieces: Iterable[bytes], offset: int) -> int:
        """Returns how many of these octets stand at ``offset``."""
        matched = 0
        for piece in pieces:
            there = self._read(offset + matched, len(piece))
            if there == piece:
                matched += len(piece)
                continue
            differing = (at for at, (ours, found) in enumerate(zip(piece, there, strict=False)) if ours != found)
            return matched + next(differing, len(there))
        return matched

    def find(self, wanted: Sequence[Entry], *, taken: Collection[int]) -> dict[str, int]:
        """Looks for messages anywhere in the file, as recovery must after a reader rewrote it.

        A message counts as found where exactly its octets stand, between a line's start and the next separator or the
        end. One place counts for one message only, since two may be equal.

        Args:
            wanted: the messages.
            taken: offsets that count for other messages already.

        Returns:
            name → offset, of what was found.
        """
        found: dict[str, int] = {}
        lines = {entry.separator for entry in wanted}
        free_from = 0
        for offset, line in self._separators():
            if line not in lines or offset < free_from or offset in taken:
                continue
            for entry in wanted:
                if entry.name not in found and entry.separator == line and self._stands(entry, offset):
                    found[entry.name] = offset
                    free_from = offset + entry.measure.length
                    break
        return found

    def _stands(self, entry: Entry, offset: int) -> bool:
        """Returns whether a message is at ``offset``, whole; its blank line may be missing at the file's end.

        What only begins with the message does not count: within a quoted body no line is a separator.
        """
        matched = self.common_prefix(entry.octets(), offset)
        behind = self._read(offset + matched, len(_FROM))
        if matched == entry.measure.length:
            return _FROM.startswith(behind)
        return matched == entry.measure.length - 1 and not behind

    def _separators(self) -> Iterator[tuple[int, bytes]]:
        """Yields offset and line of everything that looks like a separator of ours."""
        start = 0
        while True:
            window = self._read(start, CHUNK + _SEPARATOR_OCTETS)
            for match in _SEPARATOR.finditer(window):
                at_line_start = match.start() > 0 or start == 0
                if at_line_start and match.start() < CHUNK + 1:
                    yield start + match.start(), match[0]
            if len(window) < CHUNK + _SEPARATOR_OCTETS:
                return
            start += CHUNK

    def _pieces(self, offset: int, length: int) -> Iterator[bytes]:
        end = offset + length
        while offset < end:
            piece = self._read(offset, min(CHUNK, end - offset))
            if not piece:
                return
            yield piece
            offset += len(piece)

    def _read(self, offset: int, length: int) -> bytes:
        with translated("cannot read mbox", self._path):
            return os.pread(self._descriptor, length, offset)

    def _is_in_place(self) -> bool:
        with self._rights(), translated("cannot look at mbox", self._path):
            return is_file_at(self._path, self._descriptor)

    def _write(self, piece: bytes) -> None:
        with self._rights():
            write_all(self._descriptor, piece)

    def _status(self) -> os.stat_result:
        with translated("cannot read mbox", self._path):
            return os.fstat(self._descriptor)
