"""A thousand messages that a mail fetcher must not spoil, the same in every run."""

import random
from collections.abc import Iterator

KB = 1024
MB = 1024 * KB


def mixed_messages(count: int, *, large: bool = True) -> Iterator[bytes]:
    """Yields messages with LF line ends, all different, with all that has ever gone wrong."""
    dice = random.Random(20261124)
    for number in range(count):
        head = (
            b"From: bob@example.net\nTo: alice@example.org\nSubject: message %d\nMessage-ID: <%d@example.net>\n\n"
            % (
                number,
                number,
            )
        )
        yield head + _body(number, dice, large=large)


def _body(number: int, dice: random.Random, *, large: bool) -> bytes:
    special = _SPECIAL.get(number)
    if special is not None:
        return special
    if large and number in _LARGE:
        line = dice.randbytes(57).hex().encode() + b"\n"
        return line * (_LARGE[number] // len(line))
    size = int(dice.lognormvariate(8.5, 1.0))
    text = bytes(dice.choices(_ALPHABET, k=max(1 * KB, min(size, 200 * KB))))
    return text + dice.choice([b"\n", b"", b"\n\n"])


_ALPHABET = b"abcdefghijklmnopqrstuvwxyz      \n\n.>" + bytes([0xE4, 0xF6, 0xFC])
_LARGE = {500: 30 * MB, 600: 5 * MB}
_SPECIAL = {
    1: b"NUL bytes: \0\0 a\0b\n\0\n",
    2: b"bare CR: a\rb\r c\n\rd\n",
    3: bytes(range(128, 256)) + b"\n" + "Grüße, 你好\n".encode(),
    4: b"x" * (10 * MB) + b"\n",
    5: b".\n..\n...\n.x\n. \n.\n",
    6: b"From the start\n>From quoted\n>>From twice\nFrom \n From\n",
    7: b"no line end",
    8: b".",
    9: b"\n\n\n",
    10: b"From ",
    11: b"\r\r\n lone CRs before the line end\r\r\n",
    12: b"",
}
