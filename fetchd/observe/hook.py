"""A command that an event starts: without a shell, ended by a deadline, its output bounded."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

OUTPUT_LIMIT: Final = 1000
"""Octets of a command's output that are kept; the rest is read and dropped, lest it stops the command."""
_REAP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        error: "" where it ended well, else what went wrong.
        output: the beginning of what it printed, standard error included.
    """

    error: str
    output: str


class Hook:
    """One run of a command, in a process group of its own so that all of it can be ended."""

    def __init__(self, argv: Sequence[str], *, environ: Mapping[str, str]) -> None:
        """Starts it.

        Raises:
            OSError: it cannot be started.
            ValueError: a word of it holds a NUL.
        """
        self._process = subprocess.Popen(  # noqa: S603 - the configuration's owner chose the command; no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
            bufsize=0,
        )

    def wait(self, seconds: float) -> Ended:
        """Returns how it ended; ends it, and whatever it has started, after so many seconds."""
        deadline = time.monotonic() + seconds
        try:
            octets, is_whole = self._drain(deadline)
            code = self._reaped(max(0.0, deadline - time.monotonic())) if is_whole else None
        finally:
            self._end()
        return Ended(_error(code, seconds), octets.decode("utf-8", "backslashreplace").strip())

    def kill(self) -> None:
        """Kills it with its children, unless it has ended; from any thread."""
        # Not yet waited for, so its id, which is its group's too, cannot have gone to anyone else.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _drain(self, deadline: float) -> tuple[bytes, bool]:
        """Returns the beginning of its output, and whether its output ended before the deadline."""
        assert self._process.stdout is not None
        descriptor, octets = self._process.stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0 and selector.select(left):
                more = os.read(descriptor, 65536)
                if not more:
                    return octets, True
                octets += more[: OUTPUT_LIMIT - len(octets)]
        return octets, False

    def _reaped(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _end(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._process.returncode is None:
            self.kill()
            self._reaped(_REAP_SECONDS)


def _error(code: int | None, seconds: float) -> str:
    if code is None:
        return f"did not end within {seconds:g} s"
    if code < 0:
        return f"was ended by signal {-code}"
    return f"failed with exit code {code}" if code else ""
