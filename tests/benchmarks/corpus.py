"""The mail of the benchmarks: the same in every run, made on the fly, told apart and verified by its first header."""

import base64
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

KB: Final = 1000
MB: Final = 1000 * KB
MARK: Final = b"X-Benchmark: "
"""The first header of every message, followed by the message's number: what stands before it a tool has added."""

_POOL: Final = 2 * MB


def digest(data: bytes) -> bytes:
    """Returns what tells a message from any other."""
    return hashlib.blake2b(data, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Corpus:
    """Messages by number. Two corpora with one name and the same sizes hold the same mail.

    Attributes:
        name: what kind of mail it is.
        sizes: octets of each message, with LF line ends, to within a line.
        is_text: lines of words; otherwise lines of Base64.
    """

    name: str
    sizes: Sequence[int]
    is_text: bool = True

    def __len__(self) -> int:
        return len(self.sizes)

    def first(self, count: int) -> "Corpus":
        """Returns the corpus of its first messages."""
        return Corpus(self.name, self.sizes[:count], self.is_text)

    def message(self, number: int) -> bytes:
        """Returns message ``number``, from 0, with LF line ends."""
        head = (
            b"%s%06d\nFrom: Bob Example <bob@example.net>\nTo: alice@example.org\n"
            b"Date: Tue, 24 Nov 2026 08:50:00 +0000\nSubject: %s mail, message %d\nMessage-ID: <%s.%d@example.net>\n"
            b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        ) % (MARK, number, self.name.encode(), number, self.name.encode(), number)
        pool = _text() if self.is_text else _base64()
        start = pool.index(b"\n", random.Random(number).randrange(_POOL // 2)) + 1
        body = pool[start : start + self.sizes[number]]
        while len(body) < self.sizes[number]:
            body += pool[: self.sizes[number] - len(body)]
        return head + body[: self.sizes[number] - len(head)].rstrip(b"\r\n") + b"\n"

    def messages(self) -> Iterator[bytes]:
        """Yields all messages."""
        return (self.message(number) for number in range(len(self)))

    def digests(self) -> dict[int, bytes]:
        """Returns what the copies must be: number → digest."""
        return _digests(self.name, tuple(self.sizes), self.is_text)


@cache
def _digests(name: str, sizes: tuple[int, ...], is_text: bool) -> dict[int, bytes]:
    return {number: digest(message) for number, message in enumerate(Corpus(name, sizes, is_text).messages())}


def small(count: int, name: str = "small") -> Corpus:
    """Returns messages of 2 to 10 KB, 6 KB on average."""
    dice = random.Random(1)
    return Corpus(name, [dice.randrange(2 * KB, 10 * KB) for _ in range(count)])


def tiny(count: int) -> Corpus:
    """Returns messages of 500 to 1,500 octets, of which a server can hold many."""
    dice = random.Random(5)
    return Corpus("tiny", [dice.randrange(500, 1500) for _ in range(count)])


def mixed(count: int) -> Corpus:
    """Returns messages of log-normal sizes around 25 KB, of at most 5 MB."""
    dice = random.Random(2)
    return Corpus("mixed", [int(min(max(1 * KB, dice.lognormvariate(10.1, 1.6)), 5 * MB)) for _ in range(count)])


def large(count: int, size: int = 25 * MB) -> Corpus:
    """Returns messages that are one large attachment each."""
    return Corpus("large", [size] * count, is_text=False)


@cache
def _text() -> bytes:
    """Prose with what makes byte paths think: dots at the start of lines, From lines, empty lines, UTF-8."""
    dice = random.Random(3)
    words = ["".join(dice.choices("etaoinshrdlucmfwyp", k=dice.randrange(1, 11))) for _ in range(2000)] + [
        "Grüße",
        "你好",
    ]
    line: Callable[[], str] = lambda: " ".join(dice.choices(words, k=dice.randrange(6, 13)))  # noqa: E731 - read once
    special = ["", "", "", ".", "..", ".hidden", "From here on", "> quoted"]
    lines = [dice.choice(special) if dice.random() < 0.08 else line() for _ in range(_POOL // 50)]
    return ("\n".join(lines) + "\n").encode()


@cache
def _base64() -> bytes:
    octets = random.Random(4).randbytes(_POOL)
    return b"\n".join(base64.b64encode(octets[at : at + 57]) for at in range(0, len(octets), 57)) + b"\n"
