"""Reading a secret where the configuration says it is: fills ``ports.Secrets``.

A secret is read anew each time. Nothing here can hang (a file is opened without blocking and must be a regular one, a
command has a deadline), nothing takes more than :data:`LIMIT_OCTETS`, and no error or cause of one holds the secret or
what a command printed.
"""

import contextlib
import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fetchd.config.units import quoted
from fetchd.errors import SecretError
from fetchd.model import (
    Secret,
    SecretCommand,
    SecretCredential,
    SecretEnv,
    SecretFile,
    SecretSource,
    SecretValue,
)

LIMIT_OCTETS: Final = 64 * 2**10
"""The largest secret, in octets. An OAuth token is a few thousand."""
COMMAND_TIMEOUT: Final = 30.0
"""Seconds a command may take."""
_REAP_TIMEOUT: Final = 5.0
"""Seconds to wait for a process that was killed; one that is stuck in the kernel is left to it."""


class SecretReader:
    """Reads secrets.

    Args:
        environ: the process's environment: for ``env:``, ``credential:`` and for commands to run in.
        timeout: seconds a command may take.
    """

    def __init__(self, environ: Mapping[str, str], *, timeout: float = COMMAND_TIMEOUT) -> None:
        self._environ = environ
        self._timeout = timeout
        self._closed = False
        self._running: set[_Command] = set()  # adding, discarding and copying are one step each to other threads

    def close(self) -> None:
        """Ends the commands that run, whichever thread waits for them, and lets no other begin.

        A command that hangs would outlive a fetchd that ends without waiting for its workers.
        """
        self._closed = True
        for command in self._running.copy():
            command.kill()

    def reveal(self, source: SecretSource) -> Secret:
        """Returns the secret.

        Raises:
            SecretError: it cannot be had, is empty, or holds CR, LF or NUL, which no POP3 command can carry; or it is a
                command's, after :meth:`close`.
        """
        where, octets = self._read(source)
        if not octets:
            raise SecretError(f"{where} is empty")
        for octet, name in ((b"\r", "a line break"), (b"\n", "a line break"), (b"\0", "a NUL")):
            if octet in octets:
                raise SecretError(f"{where} holds {name}, which no POP3 command can carry")
        return Secret(octets)

    def _read(self, source: SecretSource) -> tuple[str, bytes]:
        """Returns what to call the source in a message, and its octets."""
        match source:
            case SecretValue(value):
                return "the password in the configuration", value.reveal()
            case SecretFile(path):
                where = f"password file {path}"
                return where, _without_line_end(_file(path, where))
            case SecretEnv(variable):
                return f"environment variable {variable}", self._variable(variable)
            case SecretCredential(name):
                where = f"systemd credential {quoted(name)}"
                return where, _without_line_end(_file(self._credential(name), where))
            case SecretCommand(argv):
                where = f"password command {quoted(os.path.basename(argv[0]))}"
                return where, _without_line_end(self._output(argv, where))

    def _output(self, argv: tuple[str, ...], where: str) -> bytes:
        if self._closed:
            raise SecretError(f"{where} is not run: fetchd is ending")
        command = _Command(argv, where, environ=self._environ)
        self._running.add(command)
        try:
            if self._closed:  # since it was started, perhaps before it was in the set
                command.kill()
            return command.output(self._timeout)
        finally:
            self._running.discard(command)

    def _variable(self, name: str) -> bytes:
        value = self._environ.get(name)
        if value is None:
            raise SecretError(f"environment variable {name} is not set")
        return os.fsencode(value)

    def _credential(self, name: str) -> Path:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise SecretError(
                f"systemd credential {quoted(name)}: $CREDENTIALS_DIRECTORY is not set; add LoadCredential="
            )
        if "/" in name or name in {"", ".", ".."}:
            raise SecretError(f"systemd credential {quoted(name)}: that is a path, not a name")
        return Path(directory, name)


def _without_line_end(octets: bytes) -> bytes:
    return octets.removesuffix(b"\n").removesuffix(b"\r") if octets.endswith(b"\n") else octets


def _file(path: Path, where: str) -> bytes:
    try:
        # Opening a FIFO would wait for a writer, and a device might do anything.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SecretError(f"{where}: not a regular file")
            octets = b""
            while len(octets) <= LIMIT_OCTETS and (more := os.read(fd, LIMIT_OCTETS + 1 - len(octets))):
                octets += more
        finally:
            os.close(fd)
    except OSError as error:
        raise SecretError(f"{where}: {error.strerror}") from error
    if len(octets) > LIMIT_OCTETS:
        raise SecretError(f"{where}: larger than {LIMIT_OCTETS >> 10} KiB")
    return octets


class _Command:
    """One run of a command, in a process group of its own so that all of it can be ended."""

    def __init__(self, argv: tuple[str, ...], where: str, *, environ: Mapping[str, str]) -> None:
        self._where = where
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the configuration's owner chose the command; no shell
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                # What a command says on stderr may quote the secret, and would end up in the journal.
                stderr=subprocess.DEVNULL,
                env=dict(environ),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise SecretError(f"{where} cannot be run: {error.strerror}") from error
        except ValueError:
            raise SecretError(f"{where} cannot be run: its words hold a NUL") from None

    def output(self, timeout: float) -> bytes:
        """Returns what the command prints, once it has ended well. Waits ``timeout`` seconds, then ends it."""
        deadline = time.monotonic() + timeout
        try:
            octets = self._drain(deadline)
            code = self._wait(max(0.0, deadline - time.monotonic())) if octets is not None else None
        except OSError as error:
            raise SecretError(f"{self._where}: its output cannot be read: {error.strerror}") from error
        finally:
            self._end()
        if octets is None or code is None:
            raise SecretError(f"{self._where} did not end within {timeout:g} s")
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
            raise SecretError(f"{self._where} {how}")
        return octets

    def _drain(self, deadline: float) -> bytes | None:
        """Returns all output, or None where the deadline comes first."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        octets = b""
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    return None
                more = os.read(fd, LIMIT_OCTETS)
                if not more:
                    return octets
                octets += more
                if len(octets) > LIMIT_OCTETS:
                    raise SecretError(f"{self._where} printed more than {LIMIT_OCTETS >> 10} KiB")

    def _wait(self, timeout: float) -> int | None:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kills it with its children, unless it has ended; from any thread. :meth:`output` notices."""
        # Not yet waited for, so its id, which is its group's too, cannot have gone to anyone else.
        if self._process.returncode is None:
            # A command that became another user (sudo) is not ours to kill.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _end(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._process.returncode is None:
            self.kill()
            self._wait(_REAP_TIMEOUT)
