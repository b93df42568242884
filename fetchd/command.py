"""A command that the configuration names: run without a shell, ended by a deadline with all that it started.

What it prints is taken up to a limit. How it ended is told as a value, in words that carry on a sentence: whoever ran
it knows what to call it, and whether its output may be shown.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import Enum
from typing import Final

from fetchd.values import value

_REAP_SECONDS: Final = 5.0
"""How long to wait for a process that was killed; one that is stuck in the kernel is left to it."""
_READ_OCTETS: Final = 65536


class Stderr(Enum):
    """What becomes of what a command says on standard error."""

    DROPPED = subprocess.DEVNULL
    """It may quote a secret, and would end up in the journal."""
    WITH_OUTPUT = subprocess.STDOUT


class Excess(Enum):
    """What to do about output beyond the limit."""

    DROP = "drop"
    """Read it and forget it, lest it stops the command."""
    REFUSE = "refuse"
    """End the command."""


@value
class Ended:
    """How a command ended.

    Attributes:
        failure: "" where it ended well, else what happened, as in ``failed with exit code 3``.
        code: its exit code, negative for a signal; None where it had to be ended.
        output: what it printed, up to the limit; not in the repr, since it may be a secret.
    """

    failure: str
    code: int | None
    output: bytes = field(repr=False)


class Command:
    """One run of a command, in a process group of its own so that all of it can be ended."""

    def __init__(self, argv: Sequence[str], *, environ: Mapping[str, str], stderr: Stderr) -> None:
        """Starts it, without any input.

        Raises:
            OSError: it cannot be started.
            ValueError: a word of it holds a NUL.
        """
        self._process = subprocess.Popen(  # noqa: S603 - the configuration's owner chose the command; no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr.value,
            env=dict(environ),
            start_new_session=True,
            bufsize=0,
        )

    def wait(self, seconds: float, *, limit: int, excess: Excess) -> Ended:
        """Returns how it ended; ends it, and whatever it has started, after so many seconds.

        Args:
            seconds: for all of it, whatever it prints meanwhile.
            limit: octets of its output that are kept.
            excess: what to do about more.

        Raises:
            OSError: its output cannot be read.
        """
        deadline = time.monotonic() + seconds
        try:
            octets, is_whole = self._drain(deadline, limit=limit, excess=excess)
            code = self._reaped(max(0.0, deadline - time.monotonic())) if is_whole else None
        finally:
            self._end()
        if len(octets) > limit:
            return Ended(f"printed more than {limit >> 10} KiB", None, octets[:limit])
        return Ended(_failure(code, seconds), code, octets)

    def kill(self) -> None:
        """Kills it with its children, unless it has ended; from any thread. :meth:`wait` notices."""
        # Not yet waited for, so its id, which is its group's too, cannot have gone to anyone else.
        if self._process.returncode is None:
            # A command that became another user (sudo) is not ours to kill.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _drain(self, deadline: float, *, limit: int, excess: Excess) -> tuple[bytes, bool]:
        """Returns its output, and whether that ended before the deadline; more than the limit where that is refused."""
        assert self._process.stdout is not None
        descriptor, octets = self._process.stdout.fileno(), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0 and selector.select(left):
                more = os.read(descriptor, _READ_OCTETS)
                if not more:
                    return bytes(octets), True
                octets += more if excess is Excess.REFUSE else more[: limit - len(octets)]
                if len(octets) > limit:
                    break
        return bytes(octets), False

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


def _failure(code: int | None, seconds: float) -> str:
    if code is None:
        return f"did not end within {seconds:g} s"
    if code < 0:
        return f"was ended by signal {-code}"
    return f"failed with exit code {code}" if code else ""
