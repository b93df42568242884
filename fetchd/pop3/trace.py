"""What goes over the line, line by line, for a human to read, and with no secret in it, whatever a server repeats.

The protocol knows what is secret: the arguments of PASS, APOP and AUTH, the answers to AUTH's challenges, and the
challenges, by which a password could be guessed. So what is masked are lines and arguments that the protocol tells
apart, never octets on a socket, where a secret may be cut anywhere. Beyond that, a password or token that is known is
masked wherever it turns up, in clear text, base64, hexadecimal or percent-encoded: servers echo what they did not
understand.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote_from_bytes

from fetchd.errors import printable
from fetchd.model import Secret
from fetchd.pop3.commands import Command

SENT: Final = ">"
RECEIVED: Final = "<"
NOTED: Final = "="
"""What is neither: the line was opened, or went over to TLS."""

TraceTo = Callable[[str, str], object]
"""Takes a direction (``>`` sent, ``<`` received, ``=`` noted) and one printable line of some 200 characters at most.

It must not raise: what it raises ends the session."""

MASK: Final = "***"
MOST_LINES: Final = 100
"""The most lines of one list that are shown; of the others, only how many there were."""

_LOGIN: Final = frozenset({"PASS", "APOP", "AUTH"})
_STATUS: Final = re.compile(rb"(?:\+OK|-ERR)(?: |\Z)", re.IGNORECASE)
_FEWEST: Final = 3
"""The fewest octets of a secret whose encodings are masked wherever they stand: those of fewer stand everywhere."""


class Mask:
    """Puts ``***`` for secrets wherever they stand, as they are and in encodings that a server may repeat them in."""

    def __init__(self) -> None:
        self._patterns: set[bytes] = set()
        self._hidden: re.Pattern[bytes] | None = None

    def __call__(self, text: bytes) -> bytes:
        """Returns a text without the secrets."""
        return text if self._hidden is None else self._hidden.sub(MASK.encode(), text)

    def hide(self, secret: bytes) -> None:
        """Masks a secret from here on, in every form."""
        self._add(_patterns(secret))

    def hide_exactly(self, line: bytes) -> None:
        """Masks a line from here on, as it is."""
        self._add([re.escape(line)])

    def _add(self, patterns: Iterable[bytes]) -> None:
        more = set(patterns) - self._patterns
        if more:
            self._patterns |= more
            longest_first = sorted(self._patterns, key=len, reverse=True)
            self._hidden = re.compile(b"|".join(longest_first), re.IGNORECASE)


class Trace:
    """Writes one session's lines. A message is only ever an amount of octets.

    The user's name is masked where we send it, and wherever it turns up if it is an address: a trace ends up in a bug
    report, for all to read.

    Args:
        write: see :data:`TraceTo`.
        secrets: what is masked from the greeting on; the session adds what it logs in with.
    """

    def __init__(self, write: TraceTo, *secrets: Secret) -> None:
        self._write = write
        self._mask = Mask()
        self._lines = 0
        self._octets = 0
        for secret in secrets:
            self.hide(secret.reveal())

    def hide(self, secret: bytes) -> None:
        """Masks a secret from here on, in every form that a server may repeat it in."""
        self._mask.hide(secret)

    def note(self, text: str) -> None:
        """Writes what is no line of either side's."""
        self._write(NOTED, text)

    # ── what we say ──────────────────────────────────────────────────────────────────────────────────────────────

    def sent(self, commands: Iterable[Command]) -> None:
        """Writes commands."""
        for command in commands:
            match command.verb:
                case "USER":
                    shown = f"USER {MASK}"
                case "PASS":
                    self.hide(command.args)
                    shown = f"PASS {MASK}"
                case "APOP":
                    self.hide(command.args.rpartition(b" ")[2])
                    shown = f"APOP {MASK}"
                case "AUTH":
                    shown = self._auth(command.args)
                case _:
                    shown = self._shown(command.encode().rstrip(b"\r\n"))
            self._write(SENT, shown)

    def answered(self, line: bytes) -> None:
        """Writes that a challenge was answered, or the exchange cancelled (``*``)."""
        if line == b"*":
            self._write(SENT, "*")
            return
        self._hide_line(line)
        self._write(SENT, MASK)

    def _auth(self, args: bytes) -> str:
        name, _, initial = args.partition(b" ")
        self._hide_line(initial)
        return f"AUTH {printable(name)} {MASK}" if initial else f"AUTH {printable(name)}"

    # ── what the server says ─────────────────────────────────────────────────────────────────────────────────────

    def status(self, line: bytes, command: Command | None = None) -> None:
        """Writes a status line, or what stands for one; None is the greeting.

        What answers a login and is neither ``+OK`` nor ``-ERR`` may be a challenge gone wrong: nothing of it is shown.
        """
        self._lines = self._octets = 0
        is_shown = command is None or command.verb not in _LOGIN or _STATUS.match(line)
        self._write(RECEIVED, self._shown(line) if is_shown else MASK)

    def challenged(self) -> None:
        """Writes that the server asked back."""
        self._write(RECEIVED, f"+ {MASK}")

    def listed(self, lines: Sequence[bytes]) -> None:
        """Writes lines of a list."""
        for line in lines[: max(0, MOST_LINES - self._lines)]:
            self._write(RECEIVED, self._shown(line))
        self._lines += len(lines)

    def received(self, octets: int) -> None:
        """Counts octets of a message."""
        self._octets += octets

    def ended(self, *, is_message: bool) -> None:
        """Writes how much there was of a reply of many lines."""
        if is_message:
            self._write(RECEIVED, f"({self._octets} octets)")
        elif self._lines > MOST_LINES:
            self._write(RECEIVED, f"({self._lines - MOST_LINES} more lines)")
        self._write(RECEIVED, ".")

    # ── masking ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _shown(self, line: bytes) -> str:
        # Once as it came, for the cut at the limit may leave half of a secret; and once as it is shown.
        text = printable(self._mask(line))
        return self._mask(text.encode()).decode()

    def _hide_line(self, line: bytes) -> None:
        """Masks a line of AUTH should it be repeated; what was in it is of no use without the challenge."""
        if line.strip(b"="):
            self._mask.hide_exactly(line)


def trace_to(target: TraceTo | Trace | None) -> Trace | None:
    """Returns a trace that writes to a function."""
    return target if target is None or isinstance(target, Trace) else Trace(target)


def _patterns(secret: bytes) -> Iterator[bytes]:
    """Yields patterns for a secret, as it is and in the encodings that a server may give it back in."""
    if not secret:
        return
    yield re.escape(secret)
    yield re.escape(b64encode(secret))
    if len(secret) < _FEWEST:
        return
    yield re.escape(secret.hex().encode())
    yield re.escape(quote_from_bytes(secret, safe="").encode())
    yield re.escape(printable(secret).removesuffix("…").encode())
    for encode in (b64encode, urlsafe_b64encode):
        for shift in range(3):
            # Within the base64 of something longer, a secret begins at one of three places within a group of three
            # octets. What is certain are the letters that hold nothing but octets of its own.
            encoded = encode(bytes(shift) + secret)
            certain = encoded[(8 * shift + 5) // 6 : 8 * (shift + len(secret)) // 6]
            yield rb"[A-Z0-9+/_-]?" + re.escape(certain) + rb"[A-Z0-9+/_-]?=*"
