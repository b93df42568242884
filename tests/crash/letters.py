"""The mail of a trial: a pure function of the user's name, so that server and judge need not speak to each other.

A user is called ``NAME.COUNT``; the maildrop holds that many letters, which differ in size and in what may spoil them.
"""

from dataclasses import dataclass
from typing import Final

TOKEN: Final = b"X-Token: "
"""Begins the header line that no other letter of any user has."""

_ODD: Final = b"From the start\n>From quoted\n>>From twice\n.\n..\n.From\n\nFrom \nthe end\n"
_LINE: Final = b"0123456789 abcdefghijklmnopqrstuvwxyz \xe4\xf6\xfc ZYXWVUTSRQPONMLKJIHGFEDCBA\n"
_LONG: Final = 300_000
"""Octets: more than fetchd writes at once, so that a write may be the last one, or not."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message: its unique-id, its token, and its octets with LF line ends, as they have to be delivered."""

    uid: str
    token: bytes
    octets: bytes


def user_name(name: str, count: int) -> str:
    """Returns the name of a user who has ``count`` letters; ``name`` has no dot in it."""
    return f"{name}.{count}"


def letters(user: str) -> list[Letter]:
    """Returns what is in a user's maildrop at first."""
    return [_letter(user, number) for number in range(1, int(user.rpartition(".")[2]) + 1)]


def _letter(user: str, number: int) -> Letter:
    token = f"{user}/{number}".encode()
    head = b"From: bob@example.net\nSubject: letter %d\n%s%s\n\n" % (number, TOKEN, token)
    body = {1: _ODD, 2: _LINE * 300, 0: _LINE * (_LONG // len(_LINE))}[number % 3]
    return Letter(f"{user}-uid{number}", token, head + body)
