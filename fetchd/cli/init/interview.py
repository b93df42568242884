"""Questions on a terminal, and what stands in for an answer where there is none."""

import getpass
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn, TypeVar

import click

from fetchd.errors import UsageError

_Value = TypeVar("_Value")
Read = Callable[[str], _Value]
"""Takes an answer as it was typed; raises ValueError, with what to say, where it is none."""

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
LONGEST_PASSWORD: Final = 64 * 1024
"""Octets that are read of a password on standard input."""


class Terminated(BaseException):
    """A signal came that ends a program. Attributes: number: the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interview:
    """Asks what nobody has said yet.

    Args:
        terminal: whether there is somebody to ask.
        accept: take what is proposed without a question, where something is proposed (``--yes``).
    """

    def __init__(self, *, terminal: bool, accept: bool) -> None:
        self.terminal = terminal
        self._accept = accept

    def say(self, text: str = "") -> None:
        """Prints a line."""
        click.echo(text)

    def text(self, question: str, read: "Read[_Value]", *, proposed: str | None = None, option: str = "") -> _Value:
        """Returns an answer, asked for until it is one.

        Args:
            question: without a colon.
            read: makes a value of the answer.
            proposed: what an empty answer means; None where one has to be given.
            option: what says the same without a terminal.

        Raises:
            UsageError: there is nobody to ask, and nothing is proposed, or what is proposed is no good.
        """
        if not self.terminal or (self._accept and proposed is not None):
            if proposed is None:
                raise UsageError(f'nobody can be asked "{question}" here: give {option}')
            try:
                return read(proposed)
            except ValueError as error:
                raise UsageError(f"{option}: {error}") from error
        while True:
            answer = click.prompt(question, default=proposed, type=str)
            try:
                return read(answer)
            except ValueError as error:
                self.say(f"  {error}")

    def choice(self, question: str, options: Sequence[str], *, proposed: int = 1) -> int:
        """Returns the number, from 1, of one of the options, which are shown."""
        for number, option in enumerate(options, 1):
            self.say(f"  {number}  {option}")
        return self.text(question, lambda answer: _number(answer, len(options)), proposed=str(proposed))

    def sure(self, question: str, *, proposed: bool) -> bool:
        """Returns yes or no; what is proposed where nobody is asked."""
        if not self.terminal or self._accept:
            return proposed
        return self._yes(f"{question} [{'Y/n' if proposed else 'y/N'}]", proposed=proposed)

    def _yes(self, question: str, *, proposed: bool) -> bool:
        while True:
            answer = click.prompt(question, default="y" if proposed else "n", show_default=False, type=str)
            if answer.strip().lower() in {"y", "yes", "n", "no"}:
                return bool(answer.strip().lower().startswith("y"))
            self.say("  y or n is expected")

    def password(self, question: str) -> bytes:
        """Returns what is typed without being shown."""
        while True:
            try:
                with warnings.catch_warnings():
                    # Where the echo cannot be turned off, getpass would warn and go on.
                    warnings.simplefilter("error", getpass.GetPassWarning)
                    typed = getpass.getpass(f"{question}: ")
                return password(typed.encode())
            except EOFError as error:
                raise click.Abort from error
            except getpass.GetPassWarning as error:
                raise UsageError("this terminal would show the password: give --password-file FILE") from error
            except UnicodeError as error:
                raise UsageError(
                    "the password is not text as this terminal has it: give --password-file FILE"
                ) from error
            except ValueError as error:
                self.say(f"  {error}")


def password(octets: bytes) -> bytes:
    """Returns a password.

    Raises:
        ValueError: POP3 cannot carry it, or it is empty.
    """
    if not octets:
        raise ValueError("the password is empty")
    if any(octet in octets for octet in b"\r\n\0"):
        raise ValueError("the password holds a line break or a NUL, which POP3 cannot carry")
    return octets


def password_from_stdin() -> bytes:
    """Returns what standard input holds, without one line end behind it.

    Raises:
        UsageError: that is no password.
    """
    if sys.stdin.isatty():
        raise UsageError("--password-stdin: a terminal would show it: pipe it in, or leave the option out to be asked")
    octets = sys.stdin.buffer.read(LONGEST_PASSWORD + 1)
    if len(octets) > LONGEST_PASSWORD:
        raise UsageError(f"--password-stdin: more than {LONGEST_PASSWORD >> 10} KiB: that is no password")
    try:
        return password(octets.removesuffix(b"\n").removesuffix(b"\r"))
    except ValueError as error:
        raise UsageError(f"--password-stdin: {error}") from error


def _number(answer: str, most: int) -> int:
    if not (answer.isascii() and answer.isdigit() and len(answer) < len(str(most)) + 1 and 1 <= int(answer) <= most):
        raise ValueError(f"a number from 1 to {most} is expected")
    return int(answer)


def is_terminal() -> bool:
    """Returns whether somebody sits at both ends of this process."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def leaving_cleanly() -> Iterator[None]:
    """Has SIGTERM and SIGHUP unwind what is under way, as Ctrl-C does: the terminal's echo comes back, files go."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Has Ctrl-C, SIGTERM and SIGHUP wait until this is over: files that belong together come together."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


def edit_lines() -> None:
    """Gives the answers a line editor (arrow keys), where Python has one; what is typed is not kept in a history."""
    with suppress(ImportError):
        import readline  # noqa: PLC0415 - for a terminal alone

        readline.set_auto_history(False)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated(number)
