"""PostgreSQL: no mail at all, but the one server of Debian's that wants SCRAM bound by ``tls-server-end-point``."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fetchd.pop3.binding import ChannelBinding, channel_binding
from fetchd.pop3.scram import Scram
from tests.interop.chroot import Chroot
from tests.interop.layers import Layers
from tests.interop.server import HOST, free_ports
from tests.servers.pki import TestAuthority

_SECONDS: Final = 60.0
_PROGRAMS: Final = "/usr/lib/postgresql/15/bin"
_DATA: Final = "/srv/data"
_SETTINGS: Final = """\
listen_addresses = '{host}'
port = {port}
ssl = on
ssl_cert_file = '/srv/cert.pem'
ssl_key_file = '/srv/key.pem'
fsync = off
"""
# https://www.postgresql.org/docs/15/protocol-message-formats.html
_SSL_REQUEST: Final = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_PROTOCOL: Final = (196608).to_bytes(4, "big")
_LET_IN: Final = 0
_SASL: Final = 10


class PostgreSql:
    """A database server, whose one user it knows by a SCRAM-SHA-256 secret.

    Args:
        user: may log in to the database ``postgres``.
        password: of this user.
    """

    def __init__(self, layers: Layers, authority: TestAuthority, *, user: str, password: str) -> None:
        self.chroot: Chroot = layers.chroot("postgresql-15")
        self._ca_file = authority.ca_file
        self._certificate = authority.issue(HOST)
        self._user = user
        self._password = password
        self.port = 0

    def start(self) -> None:
        """Returns once it listens."""
        self.chroot.start()
        try:
            (self.port,) = free_ports(1)
            self.chroot.write("/srv/password", self._password)
            self.chroot.write("/srv/cert.pem", self._certificate.cert_file.read_bytes())
            self.chroot.write("/srv/key.pem", self._certificate.key_file.read_bytes(), mode=0o600)
            self.chroot.run("chown", "-R", "postgres", "/srv")
            options = ("--auth=scram-sha-256", f"--username={self._user}", "--pwfile=/srv/password", "--no-sync")
            self._run("initdb", "-D", _DATA, *options)
            with (self.chroot.root / "srv" / "data" / "postgresql.conf").open("a") as file:
                file.write(_SETTINGS.format(host=HOST, port=self.port))
            self._run("pg_ctl", "-D", _DATA, "--wait", "-l", "/srv/log", "start")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it; may be called twice."""
        self.chroot.stop()

    def _run(self, program: str, *arguments: str) -> None:
        self.chroot.run("runuser", "-u", "postgres", "--", f"{_PROGRAMS}/{program}", *arguments)

    @contextmanager
    def connect(self, version: ssl.TLSVersion) -> Iterator["Line"]:
        """Gives a TLS connection that nobody has logged in on."""
        context = ssl.create_default_context(cafile=str(self._ca_file))
        context.minimum_version = context.maximum_version = version
        with socket.create_connection((HOST, self.port), _SECONDS) as plain:
            plain.sendall(_SSL_REQUEST)
            assert plain.recv(1) == b"S"
            with context.wrap_socket(plain, server_hostname=HOST) as secured:
                yield Line(secured, self._user)


class Line:
    """A client of PostgreSQL's that can log in."""

    def __init__(self, sock: ssl.SSLSocket, user: str) -> None:
        self._sock = sock
        self._user = user

    @property
    def binding(self) -> ChannelBinding | None:
        """What fetchd makes of the server's certificate."""
        certificate = self._sock.getpeercert(binary_form=True)
        return channel_binding(self._sock.version() or "", unique=None, certificate=certificate)

    def log_in(self, scram: Scram) -> str:
        """Returns what the server has against it; "" where it lets the user in."""
        start = _PROTOCOL + b"user\0%b\0database\0postgres\0\0" % self._user.encode()
        self._sock.sendall((len(start) + 4).to_bytes(4, "big") + start)
        kind, content = self._read()
        assert (kind, content[:4]) == (b"R", _SASL.to_bytes(4, "big"))
        assert scram.name.encode() in content[4:].split(b"\0")
        initial = scram.initial()
        self._answer(scram.name.encode() + b"\0" + len(initial).to_bytes(4, "big") + initial)
        while True:
            kind, content = self._read()
            if kind == b"E":
                return content.replace(b"\0", b" ").decode()
            assert kind == b"R"
            if int.from_bytes(content[:4], "big") == _LET_IN:
                return ""
            answer = scram.answer(content[4:])
            if answer:
                self._answer(answer)

    def _answer(self, content: bytes) -> None:
        self._sock.sendall(b"p" + (len(content) + 4).to_bytes(4, "big") + content)

    def _read(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        return head[:1], self._exactly(int.from_bytes(head[1:], "big") - 4)

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self._sock.recv(count - len(found))
            assert more, "PostgreSQL hung up"
            found += more
        return found
