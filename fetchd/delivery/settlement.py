"""A committed batch's way into an mbox: whatever of it is there already, each message is there once in the end.

What an append did before a crash is found out by comparing the file with what was being written: the journal says
where, and the octets are a pure function of the staged files (FAULTS §4.4)::

    all there                                        done
    a proper prefix, and nothing behind it           cut off, and appended again
    anything else: others wrote to the file since    each message is looked for; what is not found is appended
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from fetchd.delivery.appending import Entry, MboxFile, Measure, Octets
from fetchd.delivery.quoting import as_mbox, separator
from fetchd.delivery.staging import Staging
from fetchd.errors import DeliveryError
from fetchd.model import Placement
from fetchd.names import parse_name
from fetchd.ports import Journal


class Settlement:
    """Works on what the journal says of one account. Every method raises ``DeliveryError`` or ``StoreError``."""

    __slots__ = ("_journal", "_latest", "_staging")

    def __init__(self, staging: Staging, journal: Journal) -> None:
        self._staging = staging
        self._journal = journal
        self._latest = _latest(journal)

    def undone(self, names: Sequence[str]) -> list[str]:
        """Returns those of the names whose messages are not known to be in the mbox."""
        return [name for name in names if name not in self._latest or not self._latest[name].done]

    def bring_in(self, names: Sequence[str], file: MboxFile) -> int:
        """Sees to it that these messages, all undone, are in the mbox; returns how many had to be appended."""
        missing = self._missing(names, file)
        if missing:
            self._append(missing, file)
        return len(missing)

    def _missing(self, names: Sequence[str], file: MboxFile) -> list[str]:
        """Returns the names of the messages that are not in the mbox; those that are become known to be."""
        missing = {name for name in names if name not in self._latest}
        undecided: list[str] = []
        for placement, its_names in self._by_placement(names).items():
            if file.has(placement):
                file.sync()  # the earlier run may have ended between the write and the fsync
                self._journal.appended(placement)
            elif self._is_cut_back(placement, its_names, file):
                missing.update(its_names)
            else:
                undecided += its_names
        if undecided:
            missing |= set(undecided) - self._find(undecided, file)
        return [name for name in names if name in missing]

    def _is_cut_back(self, placement: Placement, names: Sequence[str], file: MboxFile) -> bool:
        """Cuts off what an append left half-done; returns whether nothing of it is in the file any more.

        Only where all its messages are still undone: one that is known to be in the file is not cut off.
        """
        if file.inode != placement.inode or len(names) < len(placement.names):
            return False
        return file.cut_back(self._octets_of(placement), placement.offset)

    def _find(self, names: Sequence[str], file: MboxFile) -> set[str]:
        """Finds messages in a file that others have changed; each that is found gets a placement of its own."""
        entries = [self._entry(name) for name in names]
        found = self._still_in_place(names, file)
        wanted = [entry for entry in entries if entry.name not in found]
        found |= file.find(wanted, taken=found.values())
        if found:
            file.sync()
        for entry in entries:
            if entry.name in found:
                measure = entry.measure
                placement = Placement(file.inode, found[entry.name], measure.length, measure.digest, (entry.name,))
                self._journal.appending(placement)
                self._journal.appended(placement)
        return set(found)

    def _still_in_place(self, names: Sequence[str], file: MboxFile) -> dict[str, int]:
        """Returns the offsets of messages of a half-done batch that are whole, and behind which others wrote."""
        found = {}
        for placement in self._by_placement(names):
            if file.inode != placement.inode:
                continue
            matched = file.common_prefix(self._octets_of(placement)(), placement.offset)
            entries = [self._entry(name) for name in placement.names]
            at = placement.length - sum(entry.measure.length for entry in entries)
            for entry in entries:
                if entry.name in names and at + entry.measure.length <= matched:
                    found[entry.name] = placement.offset + at
                at += entry.measure.length
        return found

    def _append(self, names: Sequence[str], file: MboxFile) -> None:
        """Appends messages: first the journal, then the octets, then the journal again."""
        octets = self._octets(names, before=file.separation())
        measure = Measure.of(octets())
        placement = Placement(file.inode, file.size, measure.length, measure.digest, tuple(names))
        self._journal.appending(placement)
        file.append(octets, placement)
        self._journal.appended(placement)

    def _by_placement(self, names: Sequence[str]) -> dict[Placement, list[str]]:
        placed: dict[Placement, list[str]] = {}
        for name in names:
            if name in self._latest:
                placed.setdefault(self._latest[name], []).append(name)
        return placed

    def _octets_of(self, placement: Placement) -> Octets:
        """Returns what was being written. Of the file, only the line ends before the first message depended on it."""
        separation = placement.length - sum(self._entry(name).measure.length for name in placement.names)
        return self._octets(placement.names, before=b"\n" * separation)

    def _octets(self, names: Sequence[str], *, before: bytes) -> Octets:
        return lambda: chain((before,), *(self._message(name) for name in names))

    def _entry(self, name: str) -> Entry:
        return Entry(name, separator(_seconds(name)), lambda: self._message(name), Measure.of(self._message(name)))

    def _message(self, name: str) -> Iterator[bytes]:
        if not self._staging.holds(name):
            raise DeliveryError(
                f"staged file vanished: {self._staging.path / name}; put it back, or an empty file of that name to "
                "give the message up; nobody but fetchd may work in that directory"
            )
        return as_mbox(self._staging.chunks(name), seconds=_seconds(name))


def _latest(journal: Journal) -> dict[str, Placement]:
    """Returns for each name the placement that counts: one that is done, and else the last.

    None was made before those before it had been settled as above. An append that is made again in the same place has
    a placement equal to the first, so the order alone would not do.
    """
    latest: dict[str, Placement] = {}
    for placement in journal.placements():
        for name in placement.names:
            if name not in latest or not latest[name].done:
                latest[name] = placement
    return latest


def _seconds(name: str) -> int:
    parsed = parse_name(name)
    return 0 if parsed is None else parsed.seconds
