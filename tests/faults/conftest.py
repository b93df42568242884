"""A server that can misbehave, the bench around it, and TLS as servers do it."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.model import Tls, TlsMode
from tests.faults.bench import Bench
from tests.faults.server import FaultyServer
from tests.servers.pki import IssuedCertificate, TestAuthority

NAME = "pop.example.org"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """On loopback, honest until told otherwise."""
    with FaultyServer() as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, server: FaultyServer) -> Iterator[Bench]:
    """An account of that server."""
    with Bench(tmp_path, server) as made:
        yield made


@pytest.fixture(scope="session")
def good_context(authority: TestAuthority) -> ssl.SSLContext:
    """A server's, that calls itself pop.example.org."""
    return server_context(authority.issue(NAME))


@pytest.fixture
def implicit(authority: TestAuthority) -> Tls:
    """What an account needs for TLS with a server of the authority's."""
    return Tls(mode=TlsMode.IMPLICIT, ca_file=authority.ca_file, server_name=NAME)


@pytest.fixture
def starttls(authority: TestAuthority) -> Tls:
    """Likewise by STLS."""
    return Tls(mode=TlsMode.STARTTLS, ca_file=authority.ca_file, server_name=NAME)


SMALL = 4096
"""Octets of a socket's buffers, which the kernel doubles."""


@pytest.fixture
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A line on which little fits into the buffers, either way."""
    connected: list[int] = []
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def connect(sock: socket.socket, address, real=real):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            connected.append(1)
            return real(sock, address)

        monkeypatch.setattr(socket.socket, name, connect)
    with FaultyServer(buffers=SMALL) as server, Bench(tmp_path, server) as bench:
        server.capabilities.append("PIPELINING")
        server.read_octets = 16
        yield bench
        assert connected


def server_context(issued: IssuedCertificate) -> ssl.SSLContext:
    """Returns a server's context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert_file, issued.key_file)
    return context
