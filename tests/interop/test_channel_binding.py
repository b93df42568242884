"""SCRAM-…-PLUS (RFC 5802 §6) against servers that have it, through fetchd's own session; ``make interop`` runs this.

Of the three types of binding, each is held against a server that computes it for itself: ``tls-unique`` (TLS 1.2) and
``tls-exporter`` (TLS 1.3) against Dovecot 2.4, ``tls-unique`` against Cyrus SASL too, and ``tls-server-end-point``,
which neither of these takes, against PostgreSQL. ``tls-exporter`` is nothing that fetchd can do, since neither Python's
ssl nor scramp has it: its test brings it along.
"""

import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest
import scramp.core  # type: ignore[import-untyped]  # it comes without types

from fetchd.errors import AccountError, AuthenticationError, PolicyError
from fetchd.model import Secret, Tls, TlsMode
from fetchd.pop3.binding import ChannelBinding
from fetchd.pop3.scram import Scram
from fetchd.pop3.session import POP3Session
from fetchd.pop3.tls import TlsChannel, client_context
from tests.interop.server import HOST, Server
from tests.interop.servers.dovecot import Dovecot24
from tests.interop.servers.postgresql import PostgreSql
from tests.servers.pki import TestAuthority

pytestmark = pytest.mark.interop

PASSWORD = "open sesame"
SECONDS = 60.0
PLUS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"]
TLS_1_2 = ssl.TLSVersion.TLSv1_2
TLS_1_3 = ssl.TLSVersion.TLSv1_3


class BindingServer(Server, Protocol):
    """A server with TLS."""

    tls_port: int


@pytest.fixture(params=["dovecot_2_4", "cyrus"])
def binding_server(request: pytest.FixtureRequest) -> BindingServer:
    """Every POP3 server with -PLUS in turn."""
    found: BindingServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=[TlsMode.IMPLICIT, TlsMode.STARTTLS])
def mode(request: pytest.FixtureRequest) -> TlsMode:
    """Both ways into TLS."""
    found: TlsMode = request.param
    return found


class Client:
    """Makes fetchd's sessions with a server, over the TLS version that is asked for.

    Args:
        keys: where OpenSSL writes the session's secrets to.
    """

    def __init__(self, authority: TestAuthority, keys: Path) -> None:
        self._ca_file = authority.ca_file
        self.keys = keys

    def connect(
        self, server: BindingServer, version: ssl.TLSVersion, mode: TlsMode = TlsMode.IMPLICIT, *, port: int = 0
    ) -> POP3Session:
        settings = Tls(mode=mode, ca_file=self._ca_file)
        context = client_context(settings)
        context.minimum_version = context.maximum_version = version
        context.keylog_filename = str(self.keys)
        port = port or (server.tls_port if mode is TlsMode.IMPLICIT else server.port)
        session = POP3Session.connect(HOST, port, tls=settings, context=context, timeout=SECONDS)
        assert session.tls_version == {TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}[version]
        return session


@pytest.fixture
def client(authority: TestAuthority, tmp_path: Path) -> Client:
    return Client(authority, tmp_path / "keys")


def mechanisms(session: POP3Session) -> set[str]:
    """Returns what the server's CAPA has behind SASL."""
    return set(session.capabilities().parameters("SASL") or ())


def assert_open(session: POP3Session) -> None:
    assert session.stat() == (0, 0)


# ── TLS 1.2: tls-unique ──────────────────────────────────────────────────────────────────────────────────────────────


def test_on_tls_1_2_the_strongest_plus_is_offered_and_chosen(
    binding_server: BindingServer, user: str, client: Client, mode: TlsMode
) -> None:
    binding_server.add_user(user, PASSWORD)
    with client.connect(binding_server, TLS_1_2, mode) as session:
        assert mechanisms(session) >= set(PLUS)
        session.login(user, PASSWORD)
        assert session.mechanism == "SCRAM-SHA-256-PLUS"
        assert_open(session)


@pytest.mark.parametrize("way", [*PLUS, "SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_on_tls_1_2_the_wrong_password_is_refused_and_the_right_one_let_in(
    way: str, binding_server: BindingServer, user: str, client: Client, mode: TlsMode
) -> None:
    binding_server.add_user(user, PASSWORD)
    with client.connect(binding_server, TLS_1_2, mode) as session:
        with pytest.raises(AuthenticationError, match=rf"the login by {way} was refused"):
            session.login(user, "wrong", mechanism=way)
        session.login(user, PASSWORD, mechanism=way)
        assert session.mechanism == way
        assert_open(session)


class ManInTheMiddle:
    """Ends the TLS of whoever comes with a certificate of its own, and has another TLS connection to the server."""

    def __init__(self, authority: TestAuthority, target: int) -> None:
        self._shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._shown.load_cert_chain(*authority.issue(HOST))
        self._seen = ssl.create_default_context(cafile=str(authority.ca_file))
        for context in (self._shown, self._seen):
            context.minimum_version = context.maximum_version = TLS_1_2
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(SECONDS)
        self.port: int = self._listener.getsockname()[1]

    def relay(self) -> None:
        """Serves one connection."""
        with self._listener:
            accepted, _ = self._listener.accept()
        with accepted, socket.create_connection((HOST, self._target), SECONDS) as connected:
            accepted.settimeout(SECONDS)
            with (
                self._shown.wrap_socket(accepted, server_side=True) as client,
                self._seen.wrap_socket(connected, server_hostname=HOST) as server,
                suppress(OSError),
            ):
                # POP3 takes turns, beginning with the server's; no reply here is longer than a record.
                while said := server.recv(1 << 14):
                    client.sendall(said)
                    if not (asked := client.recv(1 << 14)):
                        break
                    server.sendall(asked)


@contextmanager
def man_in_the_middle(authority: TestAuthority, server: BindingServer) -> Iterator[int]:
    """Yields the port where one listens to one connection."""
    man = ManInTheMiddle(authority, server.tls_port)
    thread = threading.Thread(target=man.relay)
    thread.start()
    try:
        yield man.port
    finally:
        thread.join()


@pytest.mark.parametrize("way", PLUS)
def test_a_man_in_the_middle_with_a_good_certificate_is_found_out(
    way: str, binding_server: BindingServer, user: str, client: Client, authority: TestAuthority
) -> None:
    """RFC 5802 §6: it is what -PLUS is for, and shows that the server compares what it is told."""
    binding_server.add_user(user, PASSWORD)
    with man_in_the_middle(authority, binding_server) as port:
        session = client.connect(binding_server, TLS_1_2, port=port)
        with pytest.raises(AuthenticationError, match=rf"the login by {way} was refused"), session:
            session.login(user, PASSWORD, mechanism=way)
    with man_in_the_middle(authority, binding_server) as port:
        session = client.connect(binding_server, TLS_1_2, port=port)
        with session:
            session.login(user, PASSWORD, mechanism=way.removesuffix("-PLUS"))


# ── TLS 1.3 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_on_tls_1_3_scram_is_chosen_without_a_binding(
    binding_server: BindingServer, user: str, client: Client, mode: TlsMode
) -> None:
    """RFC 9266 wants tls-exporter, which Python does not have; and no server here takes tls-server-end-point."""
    binding_server.add_user(user, PASSWORD)
    with client.connect(binding_server, TLS_1_3, mode) as session:
        assert mechanisms(session) >= {"SCRAM-SHA-256", "SCRAM-SHA-1"}
        session.login(user, PASSWORD)
        assert session.mechanism == "SCRAM-SHA-256"
        assert_open(session)


def exporter(keys: Path) -> bytes:
    """Returns the ``tls-exporter`` data (RFC 9266 §4.1) of the last session in a file of OpenSSL's.

    RFC 8446 §7.5; the hash is SHA-384 where the secret is as long, and else SHA-256.
    """
    secrets = [line.split()[2] for line in keys.read_text().splitlines() if line.startswith("EXPORTER_SECRET ")]
    secret = bytes.fromhex(secrets[-1])
    name = {32: "sha256", 48: "sha384"}[len(secret)]
    nothing = hashlib.new(name).digest()
    derived = _expand_label(secret, b"EXPORTER-Channel-Binding", nothing, length=len(secret), name=name)
    return _expand_label(derived, b"exporter", nothing, length=32, name=name)


def _expand_label(secret: bytes, label: bytes, context: bytes, *, length: int, name: str) -> bytes:
    """HKDF-Expand-Label (RFC 8446 §7.1), for no more than one block."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    return hmac.digest(secret, info + b"\1", name)[:length]


@pytest.mark.parametrize("way", PLUS)
def test_on_tls_1_3_plus_is_right_but_for_the_exporter_that_the_libraries_lack(
    way: str, dovecot_2_4: Dovecot24, user: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the data that OpenSSL's log of the session's secrets gives, and a scramp that does not mind their type."""
    monkeypatch.setattr(scramp.core.CbName, "SUPPORTED_TYPES", {"tls-exporter"}, raising=False)
    monkeypatch.setattr(scramp.core.CbName, "UNSUPPORTED_TYPES", set(), raising=False)
    dovecot_2_4.add_user(user, PASSWORD)
    with client.connect(dovecot_2_4, TLS_1_3) as session:
        binding = ChannelBinding("tls-exporter", exporter(client.keys))  # type: ignore[arg-type] # not fetchd's
        monkeypatch.setattr(TlsChannel, "binding", binding)
        with pytest.raises(AuthenticationError, match=rf"the login by {way} was refused"):
            session.login(user, "wrong", mechanism=way)
        session.login(user, PASSWORD, mechanism=way)
        assert session.mechanism == way
        assert_open(session)


@pytest.mark.parametrize("way", PLUS)
def test_on_tls_1_3_nobody_takes_the_name_of_the_certificate(
    way: str, binding_server: BindingServer, user: str, client: Client
) -> None:
    """Which is why tls-server-end-point is for those only who ask for it: Dovecot 2.4.1's login process panics."""
    binding_server.add_user(user, PASSWORD)
    session = client.connect(binding_server, TLS_1_3)
    with pytest.raises(AccountError), session:
        session.login(user, PASSWORD, mechanism=way)


# ── without TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_tls_no_plus_is_chosen(binding_server: BindingServer, user: str) -> None:
    binding_server.add_user(user, PASSWORD)
    with POP3Session.connect(HOST, binding_server.port, timeout=SECONDS) as session:
        for way in PLUS:
            with pytest.raises(PolicyError, match=f"{way} cannot be used"):
                session.login(user, PASSWORD, mechanism=way)
        session.login(user, PASSWORD)
        assert session.mechanism == "SCRAM-SHA-256"
        assert_open(session)


# ── tls-server-end-point, and no POP3 ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_the_name_of_the_servers_certificate_is_what_postgresql_makes_of_it(
    version: ssl.TLSVersion, postgresql: PostgreSql
) -> None:
    """RFC 5929 §4.1; and both passwords are told apart, as is another certificate."""
    with postgresql.connect(version) as line:
        scram = Scram("SCRAM-SHA-256-PLUS", b"joe", password=Secret(PASSWORD.encode()), binding=line.binding)
        assert line.log_in(scram) == ""
        scram.succeeded()
    with postgresql.connect(version) as line:
        wrong = Scram("SCRAM-SHA-256-PLUS", b"joe", password=Secret(b"wrong"), binding=line.binding)
        assert "password authentication failed" in line.log_in(wrong)
    with postgresql.connect(version) as line:
        other = ChannelBinding("tls-server-end-point", hashlib.sha256(b"another").digest())
        bound = Scram("SCRAM-SHA-256-PLUS", b"joe", password=Secret(PASSWORD.encode()), binding=other)
        assert "SCRAM channel binding check failed" in line.log_in(bound)
