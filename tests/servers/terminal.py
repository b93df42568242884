"""A program on a terminal of its own: what it says is waited for, what a person would type is typed."""

import codecs
import os
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for something that should take one."""


class TerminalProgram:
    """Runs a program whose controlling terminal is a pseudo-terminal; leaving the context ends it."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        self.text = ""
        """All that the terminal has shown, with its line ends as ``\\n``."""
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end in the middle of a letter
        self._master, slave = os.openpty()
        try:
            self._process = subprocess.Popen(
                # Whoever runs the tests under nohup, or in the background, has signals ignored in all that they start.
                ["env", "--default-signal", "setsid", "--ctty", *command],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={**env, "TERM": "dumb"},
                cwd=cwd,
            )
        finally:
            os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def expect(self, text: str) -> None:
        """Waits until a text is shown, behind what was expected before."""
        deadline = time.monotonic() + PATIENCE
        while (at := self.text.find(text, self._seen)) < 0:
            assert self._read(deadline), f"{text!r} never came:\n{self.text}"
        self._seen = at + len(text)

    def type(self, text: str) -> None:
        """Types a line."""
        os.write(self._master, text.encode() + b"\n")

    def answer(self, question: str, text: str) -> None:
        """Waits for a question, and types the answer."""
        self.expect(question)
        self.type(text)

    def interrupt(self) -> None:
        """Types Ctrl-C, a SIGINT for what runs on the terminal, until something comes of it, as a person would.

        CPython looks for signals, then blocks in read(2): one that comes in between is noticed with the next key.
        """
        heard = False
        while not heard and self._process.poll() is None:
            os.write(self._master, b"\x03")
            heard = self._reacts()

    def end_of_input(self) -> None:
        """Types Ctrl-D."""
        os.write(self._master, b"\x04")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal until the program has ended, which it may miss once for the reason that Ctrl-C may."""
        for _ in range(round(PATIENCE)):
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)
                return

    def end(self) -> int:
        """Waits for the program's end; returns its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self._process.wait(timeout=PATIENCE)

    def _reacts(self) -> bool:
        """Returns whether more comes than what the terminal itself shows of Ctrl-C, within a second."""
        before, deadline = len(self.text), time.monotonic() + 1
        while self._read(deadline):
            if self.text[before:].replace("^C", "").strip():
                return True
        return False

    def _read(self, deadline: float) -> bool:
        """Reads what comes next; returns False where nothing comes any more."""
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self._master], [], [], left)[0]:
            return False
        try:
            more = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.text = (self.text + self._decoder.decode(more)).replace("\r\n", "\n")
        return bool(more)
