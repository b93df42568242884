"""The ways to a server, and the Unix socket among them."""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.errors import NetworkError, TlsError, UsageError
from fetchd.model import Proxy, ProxyKind, Tls, parse_proxy
from fetchd.pop3 import POP3Session
from fetchd.pop3.transport import SocketTransport
from tests.pop3.conftest import NAME, MakeServerContext
from tests.pop3.scripts import GREETING, LOGIN, QUIT
from tests.servers.scripted import ScriptedServer, StartTls


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a Unix socket may be: such a path has 107 octets at most."""
    with tempfile.TemporaryDirectory(prefix="fetchd-", dir="/tmp") as directory:
        yield Path(directory) / "pop3"


def test_unix_socket_takes_a_session(path: Path) -> None:
    """Nobody can listen in, so a password may go over it; messages name its path."""
    with ScriptedServer([*LOGIN, *QUIT], path=path), POP3Session.connect(f"unix:{path}") as session:
        session.login("user", "secret", mechanism="USER")
        assert session._conversation.transport.peer == f"unix:{path}"


def test_tls_over_a_unix_socket_needs_a_name(path: Path, server_context: MakeServerContext, implicit: Tls) -> None:
    """A path is in no certificate; but server_name may say what is."""
    with ScriptedServer([StartTls(server_context(NAME)), GREETING], [], path=path) as server:
        POP3Session.connect(f"unix:{path}", tls=implicit).close()
        with pytest.raises(TlsError, match=f"^unix:{path}: .*cannot be verified.*server_name"):
            POP3Session.connect(f"unix:{path}", tls=Tls(ca_file=implicit.ca_file))
    assert server.received == b""


def test_fingerprint_needs_no_name(path: Path, server_context: MakeServerContext, implicit: Tls) -> None:
    """This very certificate, whatever it names."""
    script = [StartTls(server_context(NAME))]
    with ScriptedServer(script, path=path), pytest.raises(TlsError, match="SHA-256 fingerprint"):
        POP3Session.connect(f"unix:{path}", tls=Tls(fingerprint=b"x" * 32))


@pytest.mark.parametrize("name", ["nobody", "x" * 200, "a\0b"])
def test_unix_socket_that_is_not_there(name: str, path: Path) -> None:
    """The message says where it would be, and why not."""
    with pytest.raises(NetworkError, match=f"^unix:{path.parent}/.*: cannot connect: .+"):
        POP3Session.connect(f"unix:{path.parent / name}")


def test_unix_socket_that_nobody_listens_on(path: Path) -> None:
    """FAULTS 53."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(path))
        with pytest.raises(NetworkError, match="cannot connect: Connection refused"):
            POP3Session.connect(f"unix:{path}")


def test_unix_socket_has_one_way_to_it() -> None:
    """A proxy or an address would be ignored; better not."""
    with pytest.raises(UsageError, match="neither through a proxy nor from an address"):
        POP3Session.connect("unix:/x", source_address="127.0.0.1")
    with pytest.raises(UsageError, match="neither through a proxy nor from an address"):
        POP3Session.connect("unix:/x", proxy=parse_proxy("socks5://127.0.0.1:1"))


def test_session_passes_its_wishes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the transport; a proxy may be a URL."""
    asked: dict[str, object] = {}

    def connect(_host: str, _port: int, **wishes: object) -> None:
        asked.update(wishes)
        raise NetworkError("as far as this test goes")

    monkeypatch.setattr(SocketTransport, "connect", connect)
    wishes = {"timeout": 7.0, "session_timeout": 70.0, "minimum_rate": 5, "source_address": "192.0.2.1"}
    with pytest.raises(NetworkError):
        POP3Session.connect("pop.x", proxy="socks5://127.0.0.1:1080", **wishes)
    assert {name: asked[name] for name in wishes} == wishes
    assert asked["proxy"] == Proxy(ProxyKind.SOCKS5, "127.0.0.1", 1080)
    with pytest.raises(ValueError, match="expected socks5"):
        POP3Session.connect("pop.x", proxy="gopher://127.0.0.1:1080")
