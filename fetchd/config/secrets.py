"""Reading a secret where the configuration says it is: fills ``ports.Secrets``.

A secret is read anew each time. Nothing here can hang (a file is opened without blocking and must be a regular one, a
command has a deadline), nothing takes more than :data:`LIMIT_OCTETS`, and no error or cause of one holds the secret or
what a command printed.
"""

import os
import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fetchd.command import Command, Ended, Excess, Stderr
from fetchd.config.units import quoted
from fetchd.errors import SecretError
from fetchd.model import (
    Secret,
    SecretCommand,
    SecretCredential,
    SecretEnv,
    SecretFile,
    SecretKeyring,
    SecretSource,
    SecretValue,
)

LIMIT_OCTETS: Final = 64 * 2**10
"""The largest secret, in octets. An OAuth token is a few thousand."""
COMMAND_TIMEOUT: Final = 30.0
"""Seconds a command may take."""


class SecretReader:
    """Reads secrets.

    Args:
        environ: the process's environment: for ``env:``, ``credential:`` and for commands to run in.
        timeout: seconds a command, or the keyring, may take.
    """

    def __init__(self, environ: Mapping[str, str], *, timeout: float = COMMAND_TIMEOUT) -> None:
        self._environ = environ
        self._timeout = timeout
        self._closed = False
        self._running: set[Command] = set()  # adding, discarding and copying are one step each to other threads

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
            case SecretKeyring(service, user):
                where = f"keyring entry {quoted(service)} of {quoted(user)}"
                return where, self._keyring(service, user, where)

    def _output(self, argv: tuple[str, ...], where: str) -> bytes:
        ended = self._ended(argv, where)
        if ended.failure:
            raise SecretError(f"{where} {ended.failure}")
        return ended.output

    def _keyring(self, service: str, user: str, where: str) -> bytes:
        from fetchd.config import keyring_entry  # noqa: PLC0415 - only where there is such a password

        # -P: no module of ours in the program's directory stands in for one of Python's.
        ended = self._ended((sys.executable, "-P", keyring_entry.__file__, service, user), where)
        told: dict[int | None, str] = {
            keyring_entry.Outcome.NO_ENTRY: f"is not there: {shlex.join(('keyring', 'set', service, user))} makes it",
            keyring_entry.Outcome.NO_LIBRARY: "cannot be read: install fetchd[keyring]",
            keyring_entry.Outcome.NO_KEYRING: "cannot be read: no keyring runs here, as is usual for a service: "
            "write password: {file: …}, or name a backend in $PYTHON_KEYRING_BACKEND",
            keyring_entry.Outcome.LOCKED: "cannot be read: the keyring is locked: unlock it",
            keyring_entry.Outcome.FAILED: f"cannot be read: {shlex.join(('keyring', 'get', service, user))} says why",
        }
        if ended.failure:
            raise SecretError(f"{where} {told.get(ended.code, ended.failure)}")
        return ended.output

    def _ended(self, argv: tuple[str, ...], where: str) -> Ended:
        if self._closed:
            raise SecretError(f"{where} is not run: fetchd is ending")
        command = _started(argv, where, environ=self._environ)
        self._running.add(command)
        try:
            if self._closed:  # since it was started, perhaps before it was in the set
                command.kill()
            return command.wait(self._timeout, limit=LIMIT_OCTETS, excess=Excess.REFUSE)
        except OSError as error:
            raise SecretError(f"{where}: its output cannot be read: {error.strerror}") from error
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


def _started(argv: tuple[str, ...], where: str, *, environ: Mapping[str, str]) -> Command:
    try:
        return Command(argv, environ=environ, stderr=Stderr.DROPPED)
    except OSError as error:
        raise SecretError(f"{where} cannot be run: {error.strerror}") from error
    except ValueError:
        raise SecretError(f"{where} cannot be run: its words hold a NUL") from None
