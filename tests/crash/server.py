"""An honest POP3 server (RFC 1939, CAPA and PIPELINING of RFC 2449) in a process of its own: it outlives its clients.

It deletes at QUIT and at no other time (§6), locks a maildrop for one session (§4), and writes down what was asked of
it. A maildrop is born when its user first logs in, with the letters of :mod:`tests.crash.letters`; so a new trial takes
a new user name and no restart. Any password will do; each opens a maildrop of its own, as if the user lived in several
worlds, and one that ends in ``-emptied`` opens one from which all was deleted.

``python -m tests.crash.server LOGS`` prints the ports of its two doors, ``PIPELINED LOCKSTEP``, and serves until its
standard input ends. Behind the lock-step door CAPA has no PIPELINING, and a client that sends a command before the last
one was answered is cut off, and written down.

Its log of a maildrop, ``LOGS/USER@PASSWORD``, has one line for each event, written before it is answered::

    LOGIN             RETR UID          DELE UID          PIPELINED LINE    what came too early, at the lock-step door
    QUIT UID UID …    the session ended, and these are deleted              GONE    the client left without QUIT
"""

import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from tests.crash.letters import Letter, letters

PASSWORD: Final = "any"
EMPTIED: Final = "-emptied"
"""Ends a password that opens a maildrop with nothing in it."""

_DOT_FIRST: Final = re.compile(rb"^\.", re.MULTILINE)
_PATIENCE: Final = 20.0
"""Seconds that a login waits for the session of a client that was killed: its end may not have been noticed yet."""


# ── as the tests see it ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Record:
    """What a user's maildrop went through, read from the server's log.

    Attributes:
        left: unique-ids still in the maildrop.
        retrieved: unique-id → how often its RETR was asked for.
        logins: sessions.
        gone: sessions that ended without QUIT.
        pipelined: commands that came too early at the lock-step door; there must be none.
    """

    left: tuple[str, ...]
    retrieved: Counter[str]
    logins: int
    gone: int
    pipelined: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CrashServer:
    """The running server."""

    pipelined_port: int
    lockstep_port: int
    logs: Path
    host: str = "127.0.0.1"

    def port(self, *, pipelined: bool) -> int:
        """Returns the port of one of the two doors."""
        return self.pipelined_port if pipelined else self.lockstep_port

    def record(self, user: str, password: str = PASSWORD) -> Record:
        """Returns what happened to a user's maildrop so far."""
        path = self.logs / f"{user}@{password}"
        lines = path.read_text().splitlines() if path.exists() else []
        events = [(verb, rest) for verb, _, rest in (line.partition(" ") for line in lines)]
        deleted = {uid for verb, rest in events if verb == "QUIT" for uid in rest.split()}
        return Record(
            left=tuple(letter.uid for letter in _at_first(user, password) if letter.uid not in deleted),
            retrieved=Counter(rest for verb, rest in events if verb == "RETR"),
            logins=sum(verb == "LOGIN" for verb, _ in events),
            gone=sum(verb == "GONE" for verb, _ in events),
            pipelined=tuple(rest for verb, rest in events if verb == "PIPELINED"),
        )


@contextmanager
def serving(logs: Path) -> Iterator[CrashServer]:
    """Runs the server; its logs go into ``logs``, which should lie where no fault is injected."""
    logs.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.crash.server", str(logs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("pipes were asked for")
        try:
            pipelined, lockstep = map(int, process.stdout.readline().split())
            yield CrashServer(pipelined, lockstep, logs)
        finally:
            process.stdin.close()
            process.wait(timeout=_PATIENCE)


def _at_first(user: str, password: str) -> list[Letter]:
    return [] if password.endswith(EMPTIED) else letters(user)


# ── within its process ───────────────────────────────────────────────────────────────────────────────────────────


class Maildrop:
    """One user's mail and log. Letters are made anew for each session: of thousands of trials they fill gigabytes."""

    def __init__(self, user: str, password: str, logs: Path) -> None:
        self._whose = user, password
        self._deleted: set[str] = set()
        self.lock = Lock()
        self._log = logs / f"{user}@{password}"

    def letters(self) -> list[Letter]:
        """Returns what is in it."""
        return [letter for letter in _at_first(*self._whose) if letter.uid not in self._deleted]

    def delete(self, uids: Iterable[str]) -> None:
        """Deletes letters, for good."""
        self._deleted.update(uids)

    def note(self, line: str) -> None:
        """Appends a line to the log."""
        with self._log.open("a") as log:
            log.write(line + "\n")


class Building:
    """All maildrops."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._lock = Lock()
        self._drops: dict[tuple[str, str], Maildrop] = {}

    def maildrop(self, user: str, password: str) -> Maildrop:
        """Returns a user's maildrop, which is made when it is asked for first."""
        with self._lock:
            key = user, password
            if key not in self._drops:
                self._drops[key] = Maildrop(user, password, self._logs)
            return self._drops[key]


class Session:
    """One connection, in a thread of its own."""

    def __init__(self, line: socket.socket, building: Building, *, pipelining: bool) -> None:
        self._line = line
        self._building = building
        self._pipelining = pipelining
        self._received = b""
        self._user = ""
        self._drop: Maildrop | None = None
        self._listed: dict[int, Letter] = {}
        self._deleted: set[int] = set()

    def run(self) -> None:
        """Serves the client until it quits or goes."""
        with self._line:
            with suppress(OSError):
                self._line.sendall(b"+OK crash server\r\n")
                while (command := self._next_command()) is not None:
                    reply = self._answer(command)
                    if not self._pipelining and self._came_too_early():
                        break
                    self._line.sendall(reply)
                    if command[0] == "QUIT":
                        return
            if self._drop is not None:
                self._drop.note("GONE")
                self._drop.lock.release()

    def _next_command(self) -> tuple[str, str] | None:
        while b"\r\n" not in self._received:
            octets = self._line.recv(65536)
            if not octets:
                return None
            self._received += octets
        line, _, self._received = self._received.partition(b"\r\n")
        verb, _, argument = line.decode().partition(" ")
        return verb.upper(), argument

    def _came_too_early(self) -> bool:
        early = self._received
        with suppress(BlockingIOError):
            early += self._line.recv(65536, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        if early and self._drop is not None:
            self._drop.note(f"PIPELINED {early!r}")
        return bool(early)

    def _answer(self, command: tuple[str, str]) -> bytes:
        verb, argument = command
        if verb == "CAPA":
            names = [b"USER", b"UIDL", b"RESP-CODES", *([b"PIPELINING"] if self._pipelining else [])]
            return _lines(names)
        if self._drop is None:
            return self._authorize(verb, argument)
        if verb in ("RETR", "DELE") or argument:
            return self._message(verb, argument)
        return self._ask(verb, self._drop)

    def _authorize(self, verb: str, argument: str) -> bytes:
        if verb == "USER":
            self._user = argument
        elif verb == "PASS":
            drop = self._building.maildrop(self._user, argument)
            if not drop.lock.acquire(timeout=_PATIENCE):
                return b"-ERR [IN-USE] another session has this maildrop\r\n"
            self._drop = drop
            self._listed = dict(enumerate(drop.letters(), 1))
            drop.note("LOGIN")
        elif verb != "QUIT":
            return b"-ERR log in first\r\n"
        return b"+OK\r\n"

    def _ask(self, verb: str, drop: Maildrop) -> bytes:
        listed = [(number, letter) for number, letter in self._listed.items() if number not in self._deleted]
        sizes = [(number, len(_wired(letter))) for number, letter in listed]
        match verb:
            case "STAT":
                return b"+OK %d %d\r\n" % (len(sizes), sum(size for _, size in sizes))
            case "LIST":
                return _lines([b"%d %d" % entry for entry in sizes])
            case "UIDL":
                return _lines([b"%d %s" % (number, letter.uid.encode()) for number, letter in listed])
            case "RSET":
                self._deleted.clear()
            case "QUIT":
                self._update(drop)
            case "NOOP":
                pass
            case _:
                return b"-ERR no such command\r\n"
        return b"+OK\r\n"

    def _message(self, verb: str, argument: str) -> bytes:
        number = int(argument) if argument.isdecimal() else 0
        if self._drop is None or number not in self._listed or number in self._deleted:
            return b"-ERR no such message\r\n"
        letter = self._listed[number]
        if verb in ("LIST", "UIDL"):
            answer = b"%d" % len(_wired(letter)) if verb == "LIST" else letter.uid.encode()
            return b"+OK %d %s\r\n" % (number, answer)
        if verb not in ("RETR", "DELE"):
            return b"-ERR no such command\r\n"
        self._drop.note(f"{verb} {letter.uid}")
        if verb == "DELE":
            self._deleted.add(number)
            return b"+OK\r\n"
        return b"+OK\r\n" + _DOT_FIRST.sub(b"..", _wired(letter)) + b".\r\n"

    def _update(self, drop: Maildrop) -> None:
        """The UPDATE state: what was marked is deleted, now and for good."""
        uids = [self._listed[number].uid for number in sorted(self._deleted)]
        drop.delete(uids)
        drop.note(" ".join(["QUIT", *uids]))
        drop.lock.release()
        self._drop = None


def _wired(letter: Letter) -> bytes:
    return letter.octets.replace(b"\n", b"\r\n")


def _lines(lines: list[bytes]) -> bytes:
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"


def _serve(door: socket.socket, building: Building, *, pipelining: bool) -> None:
    while True:
        line, _ = door.accept()
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Thread(target=Session(line, building, pipelining=pipelining).run, daemon=True).start()


def main(logs: Path) -> None:
    """Opens both doors, says where they are, and serves until standard input ends."""
    building = Building(logs)
    doors = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2)]
    for door, pipelining in zip(doors, (True, False), strict=True):
        Thread(target=_serve, args=(door, building), kwargs={"pipelining": pipelining}, daemon=True).start()
    print(*(door.getsockname()[1] for door in doors), flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # the threads wait in accept


if __name__ == "__main__":
    main(Path(sys.argv[1]))
