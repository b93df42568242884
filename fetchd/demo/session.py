"""The demo server's side of a POP3 session (RFC 1939, and CAPA of RFC 2449), without I/O: a line in, a reply out."""

import re
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from threading import Lock
from typing import Final

_CAPABILITIES: Final = (b"USER", b"UIDL", b"TOP", b"PIPELINING", b"RESP-CODES", b"IMPLEMENTATION fetchd-demo")
_LONE_LF: Final = re.compile(rb"(?<!\r)\n")
_DOT_FIRST: Final = re.compile(rb"^\.", re.MULTILINE)


class Maildrop:
    """One user's mail. ``lock`` is the exclusive-access lock of RFC 1939 §4."""

    def __init__(self, password: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        self.password = password.encode()
        self.messages = [(uid, _with_crlf(message)) for uid, message in messages]
        self.lock = Lock()


class _RefusedError(Exception):
    """Becomes ``-ERR`` and its text."""


class Session:
    """The state of one session: AUTHORIZATION while there is no maildrop, then TRANSACTION; QUIT does the UPDATE."""

    def __init__(self, drops: Mapping[bytes, Maildrop]) -> None:
        self.over = False
        self._drops = drops
        self._user = b""
        self._drop: Maildrop | None = None
        self._deleted: set[int] = set()
        always: dict[bytes, Callable[..., bytes]] = {b"CAPA": self._capa, b"QUIT": self._quit}
        self._authorization = always | {b"USER": self._name, b"PASS": self._login}
        self._transaction = always | {
            b"STAT": self._stat,
            b"LIST": self._list,
            b"UIDL": self._uidl,
            b"RETR": self._retr,
            b"TOP": self._top,
            b"DELE": self._dele,
            b"NOOP": self._noop,
            b"RSET": self._rset,
        }

    def answer(self, line: bytes) -> bytes:
        """Returns the whole reply to one command line, ready for the wire."""
        verb, _, rest = line.rstrip(b"\r\n").partition(b" ")
        commands = self._authorization if self._drop is None else self._transaction
        command = commands.get(verb.upper())
        if command is None:
            return b"-ERR no such command here\r\n"
        # Spaces are part of a password (RFC 1939 §7).
        arguments = [rest] if verb.upper() == b"PASS" else rest.split()
        try:
            call = signature(command).bind(*arguments)
        except TypeError as error:
            return b"-ERR %s\r\n" % str(error).encode()
        try:
            return command(*call.args)
        except _RefusedError as refusal:
            return b"-ERR %s\r\n" % str(refusal).encode()

    def leave(self) -> None:
        """Gives the maildrop back as it is: a line that drops without QUIT deletes nothing (RFC 1939 §6)."""
        if self._drop is not None:
            self._drop.lock.release()
            self._drop = None

    def _capa(self) -> bytes:
        return _lines(_CAPABILITIES)

    def _name(self, user: bytes) -> bytes:
        self._user = user
        return b"+OK\r\n"

    def _login(self, password: bytes) -> bytes:
        drop = self._drops.get(self._user)
        if drop is None or drop.password != password:
            raise _RefusedError("wrong user or password")
        if not drop.lock.acquire(blocking=False):
            raise _RefusedError("[IN-USE] another session has this maildrop")
        self._drop = drop
        return b"+OK\r\n"

    def _stat(self) -> bytes:
        sizes = [len(message) for _, _, message in self._listing()]
        return b"+OK %d %d\r\n" % (len(sizes), sum(sizes))

    def _list(self, wanted: bytes | None = None) -> bytes:
        return self._scan(wanted, [(number, b"%d" % len(message)) for number, _, message in self._listing()])

    def _uidl(self, wanted: bytes | None = None) -> bytes:
        return self._scan(wanted, [(number, uid) for number, uid, _ in self._listing()])

    def _retr(self, wanted: bytes) -> bytes:
        _, message = self._message(wanted)
        return b"+OK %d octets\r\n" % len(message) + _stuffed(message)

    def _top(self, wanted: bytes, lines: bytes) -> bytes:
        _, message = self._message(wanted)
        header, blank, body = message.partition(b"\r\n\r\n")
        first = body.split(b"\r\n")[: _decimal(lines)]
        return b"+OK\r\n" + _stuffed(_with_crlf(header + blank + b"\r\n".join(first)))

    def _dele(self, wanted: bytes) -> bytes:
        number, _ = self._message(wanted)
        self._deleted.add(number)
        return b"+OK\r\n"

    def _noop(self) -> bytes:
        return b"+OK\r\n"

    def _rset(self) -> bytes:
        self._deleted.clear()
        return b"+OK\r\n"

    def _quit(self) -> bytes:
        self.over = True
        if self._drop is not None:
            self._drop.messages = [(uid, message) for _, uid, message in self._listing()]
        self.leave()
        return b"+OK bye\r\n"

    def _listing(self) -> list[tuple[int, bytes, bytes]]:
        """Returns (number, unique-id, message) of what is not marked as deleted; numbers stay (RFC 1939 §5)."""
        messages = self._drop.messages if self._drop is not None else []
        return [(number, *entry) for number, entry in enumerate(messages, 1) if number not in self._deleted]

    def _message(self, wanted: bytes) -> tuple[int, bytes]:
        number = _decimal(wanted)
        for listed, _, message in self._listing():
            if listed == number:
                return number, message
        raise _RefusedError("no such message")

    def _scan(self, wanted: bytes | None, listing: list[tuple[int, bytes]]) -> bytes:
        if wanted is None:
            return _lines(b"%d %s" % entry for entry in listing)
        number, _ = self._message(wanted)
        return b"+OK %d %s\r\n" % (number, dict(listing)[number])


def _decimal(argument: bytes) -> int:
    if not argument.isdigit():
        raise _RefusedError("not a number")
    return int(argument)


def _with_crlf(message: bytes) -> bytes:
    wired = _LONE_LF.sub(b"\r\n", message)
    return wired if wired.endswith(b"\r\n") else wired + b"\r\n"


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"


def _stuffed(message: bytes) -> bytes:
    """Returns a multi-line response (RFC 1939 §3): a dot more before each first dot, then the terminator."""
    return _DOT_FIRST.sub(b"..", message) + b".\r\n"
