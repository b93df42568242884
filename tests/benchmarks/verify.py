"""Whether what was delivered is what was sent, byte for byte.

Tools put headers of their own in front of a message (Received, Delivered-To …). Every message of the corpus begins with
a header that no tool writes (:data:`corpus.MARK`): from there to the end its octets must have the digest of what was
sent, and in front of it may stand nothing but headers known to be added by such tools.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.corpus import MARK, digest

ADDED: Final = {b"received", b"delivered-to", b"return-path", b"x-getmail-retrieved-from-mailbox"}
_HEADER: Final = re.compile(rb"([!-9;-~]+):.*\n(?:[ \t].*\n)*")
_HEAD: Final = 8192


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a Maildir, in messages.

    Attributes:
        whole: different messages that are as they were sent.
        lost: messages that are not there, or not whole.
        duplicates: files beyond one a message.
        damaged: file names and what is wrong with them.
    """

    whole: int = 0
    lost: int = 0
    duplicates: int = 0
    damaged: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Everything once, and as it was sent."""
        return not (self.lost or self.duplicates or self.damaged)

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            self.whole + other.whole,
            self.lost + other.lost,
            self.duplicates + other.duplicates,
            self.damaged + other.damaged,
        )

    def __str__(self) -> str:
        if self.is_clean:
            return f"{self.whole} whole"
        return f"{self.whole} whole, {self.lost} lost, {self.duplicates} twice, damaged: {', '.join(self.damaged[:3])}"


def verify(maildir: Path, expected: Mapping[int, bytes]) -> Verdict:
    """Compares a Maildir with the digests of what was sent (see :meth:`corpus.Corpus.digests`)."""
    found: set[int] = set()
    files, damaged = 0, []
    for box in ("new", "cur"):
        for entry in os.scandir(maildir / box):
            files += 1
            number, wrong = _identify(Path(entry.path).read_bytes(), expected)
            if wrong:
                damaged.append(f"{entry.name}: {wrong}")
            else:
                found.add(number)
    return Verdict(len(found), len(expected) - len(found), files - len(found) - len(damaged), tuple(damaged))


def delivered(maildir: Path) -> int:
    """Returns how many messages a Maildir holds."""
    return sum(len(os.listdir(maildir / box)) for box in ("new", "cur"))


def _identify(data: bytes, expected: Mapping[int, bytes]) -> tuple[int, str]:
    start = 0 if data.startswith(MARK) else data.find(b"\n" + MARK, 0, _HEAD) + 1
    if not data.startswith(MARK, start):
        return -1, "not one of ours"
    head = data[:start]
    names = {match[1].lower() for match in _HEADER.finditer(head)}
    if _HEADER.sub(b"", head) or names - ADDED:
        return -1, f"something stands in front: {sorted(names - ADDED)} {_HEADER.sub(b'', head)[:60]!r}"
    number = int(data[start + len(MARK) :].partition(b"\n")[0])
    if digest(data[start:]) != expected.get(number):
        return -1, f"message {number} is not as it was sent"
    return number, ""
