"""What no fetcher can beat: a client that drains the server, and files that are only written. Standard library alone.

``python limits.py drain HOST PORT CA_FILE PASSWORD USER…``, the same with ``list``, and
``python limits.py write MAILDIR SOURCE GROUP``; where CA_FILE is "", the line is plain.
"""

import ctypes
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

WINDOW = 2048
READ = 1 << 18
END = b"\r\n.\r\n"


class Line:
    """A connection, and the octets that came in and were not looked at yet."""

    def __init__(self, host: str, port: int, ca_file: str) -> None:
        self._socket = socket.create_connection((host, port))
        if ca_file:
            self._socket = ssl.create_default_context(cafile=ca_file).wrap_socket(self._socket, server_hostname=host)
        self._rest = b""
        self._buffer = bytearray(READ)
        self._view = memoryview(self._buffer)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        while b"\r\n" not in self._rest:
            self._rest += self._socket.recv(READ)
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    def listed(self) -> list[bytes]:
        while END not in self._rest:
            self._rest += self._socket.recv(READ)
        lines, _, self._rest = self._rest.partition(END)
        return lines.split(b"\r\n")[1:]

    def log_in(self, user: str, password: str) -> None:
        self.line()
        for command in (f"USER {user}", f"PASS {password}"):
            self.send(command.encode() + b"\r\n")
            assert self.line().startswith(b"+OK")

    def listing(self, command: str) -> list[bytes]:
        self.send(command.encode() + b"\r\n")
        return self.listed()

    def close(self) -> None:
        self._socket.close()

    def swallow(self, replies: int) -> int:
        """Reads until at least one of ``replies`` has ended; returns how many have."""
        while True:
            octets = self._socket.recv_into(self._buffer)
            if not octets:
                raise EOFError("the server left")
            seam = self._rest[-4:] + bytes(self._view[: min(4, octets)])
            ended = self._buffer.count(END, 0, octets) + seam.count(END)
            self._rest = (self._rest[-4:] + bytes(self._view[max(0, octets - 4) : octets]))[-4:]
            if ended:
                return min(ended, replies)


def drain(line: Line) -> None:
    """Retrieves every message of a maildrop and throws it away."""
    count = len(line.listing("UIDL"))
    line.listing("LIST")
    asked = done = 0
    while done < count:
        if asked < count and asked - done <= WINDOW // 2:
            upto = min(count, done + WINDOW)
            line.send(b"".join(b"RETR %d\r\n" % number for number in range(asked + 1, upto + 1)))
            asked = upto
        done += line.swallow(count - done)


def each(job: Callable[[Line], None], host: str, port: str, ca_file: str, password: str, *users: str) -> None:
    """Does something in a session of each user, in all of them at once."""

    def session(user: str) -> None:
        line = Line(host, int(port), ca_file)
        line.log_in(user, password)
        job(line)
        line.send(b"QUIT\r\n")
        line.close()

    if len(users) == 1:
        session(*users)
        return
    threads = [threading.Thread(target=session, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write(maildir: str, source: str, group: str) -> None:
    """Writes a directory's files into a Maildir, with a flush after every ``group`` of them; 1: an fsync for each."""
    target = Path(maildir)
    syncfs = ctypes.CDLL(None).syncfs
    handle = os.open(target, os.O_RDONLY)
    is_each = group == "1"
    for number, entry in enumerate(sorted(os.scandir(source), key=lambda entry: entry.name), 1):
        data = Path(entry.path).read_bytes()
        staged = os.open(f"{maildir}/tmp/{entry.name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(staged, data)
        if is_each:
            os.fsync(staged)
        os.close(staged)
        os.rename(f"{maildir}/tmp/{entry.name}", f"{maildir}/new/{entry.name}")
        if not is_each and number % int(group) == 0:
            syncfs(handle)
    syncfs(handle)
    os.close(handle)


def survey(line: Line) -> None:
    """Asks what there is, and retrieves nothing."""
    line.listing("UIDL")
    line.listing("LIST")


if __name__ == "__main__":
    {"drain": partial(each, drain), "list": partial(each, survey), "write": write}[sys.argv[1]](*sys.argv[2:])
