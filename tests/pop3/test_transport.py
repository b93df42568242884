"""Real sockets: deadlines, TLS, and errors that say what happened."""

import contextlib
import errno
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fetchd.errors import NetworkError, Retry, TlsError
from fetchd.model import Tls, TlsMode
from fetchd.pop3.transport import SocketTransport
from tests.pop3.conftest import NAME, MakeServerContext
from tests.pop3.timing import ManualClock, SlowSocket
from tests.servers.pki import TestAuthority
from tests.servers.scripted import Close, Expect, Goodbye, Reset, ScriptedServer, Send, Silence, StartTls

MOST = 65536


Pair = tuple[SocketTransport, socket.socket, ManualClock]


@pytest.fixture
def pair() -> Iterator[Callable[..., Pair]]:
    """Makes a transport, the server's end of its line, and its clock."""
    made: list[Pair] = []

    def make(**arguments: float) -> Pair:
        ours, theirs = socket.socketpair()
        clock = ManualClock()
        made.append((SocketTransport(ours, peer="pop.x:110", clock=clock, **arguments), theirs, clock))
        return made[-1]

    yield make
    for transport, theirs, _ in made:
        transport.close()
        theirs.close()


def connect(server: ScriptedServer, **arguments: float) -> SocketTransport:
    return SocketTransport.connect(server.host, server.port, **arguments)


def read_all(transport: SocketTransport, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        data += transport.recv(MOST)
    return data


# ── plain lines ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_octets_go_both_ways_until_the_end() -> None:
    """b"" is the end of the stream."""
    with ScriptedServer([Send(b"+OK\r\n"), Expect(b"NOOP"), Close()]) as server:
        transport = connect(server)
        assert read_all(transport, 5) == b"+OK\r\n"
        transport.send(b"NOOP\r\n")
        assert transport.recv(MOST) == b""
        transport.close()


def test_silence_ends_in_a_timeout(pair: Callable[..., Pair]) -> None:
    """FAULTS 1, 64: no read waits for ever."""
    transport, _, _ = pair(timeout=0.02)
    with pytest.raises(NetworkError, match=r"^pop\.x:110: receiving took longer than 0\.02 s$") as caught:
        transport.recv(MOST)
    assert caught.value.retry is Retry.SOON


def test_drops_end_with_the_session(pair: Callable[..., Pair]) -> None:
    """FAULTS 2, 62: an octet every 29 seconds keeps no session alive beyond its deadline."""
    transport, server, clock = pair(timeout=60.0, session_timeout=90.0)
    for _ in range(3):
        server.send(b"x")
        clock.now += 29
        assert transport.recv(MOST) == b"x"
    server.send(b"x")
    clock.now += 29
    with pytest.raises(NetworkError, match="the session took longer than 90 s"):
        transport.recv(MOST)
    with pytest.raises(NetworkError, match="the session took longer than 90 s"):
        transport.send(b"NOOP\r\n")


def test_read_waits_no_longer_than_the_session_lasts(pair: Callable[..., Pair]) -> None:
    """A timeout of a minute does not add a minute to the session."""
    transport, _, clock = pair(timeout=60.0, session_timeout=100.0)
    clock.now += 99.98
    with pytest.raises(NetworkError, match="the session took longer than 100 s, while receiving"):
        transport.recv(MOST)


def test_peer_that_does_not_read_ends_in_a_timeout(pair: Callable[..., Pair]) -> None:
    """FAULTS 63: no write waits for ever."""
    transport, _, _ = pair(timeout=0.02)
    with pytest.raises(NetworkError, match="sending took longer than"):
        transport.send(b"x" * 10_000_000)


def test_timeout_can_be_changed(pair: Callable[..., Pair]) -> None:
    """POCO's setTimeout."""
    transport, _, _ = pair(timeout=3600.0)
    transport.timeout = 0.02
    with pytest.raises(NetworkError, match=r"longer than 0\.02 s"):
        transport.recv(MOST)


def test_reset_is_a_network_error() -> None:
    """FAULTS 23."""
    with ScriptedServer([Send(b"+OK\r\n"), Expect(b"NOOP"), Reset()]) as server:
        transport = connect(server)
        read_all(transport, 5)
        transport.send(b"NOOP\r\n")
        with pytest.raises(
            NetworkError, match=rf"^127\.0\.0\.1:{server.port}: receiving failed: Connection reset by peer"
        ):
            transport.recv(MOST)
        transport.close()


def test_sending_to_a_closed_line_is_a_network_error(pair: Callable[..., Pair]) -> None:
    """FAULTS 53."""
    transport, server, _ = pair()
    server.close()
    with pytest.raises(NetworkError, match="sending failed: Broken pipe"):
        transport.send(b"NOOP\r\n")


def test_looking_does_not_wait(pair: Callable[..., Pair]) -> None:
    """Nothing, something, the end."""
    transport, server, _ = pair(timeout=3600.0)
    assert transport.recv_ready(MOST) is None
    server.send(b"-ERR idle\r\n")
    assert transport.recv_ready(MOST) == b"-ERR idle\r\n"
    assert transport.recv_ready(MOST) is None
    server.close()
    assert transport.recv_ready(MOST) == b""


def test_waiting_goes_on_after_looking(pair: Callable[..., Pair]) -> None:
    """The socket has its timeout back."""
    transport, _, _ = pair(timeout=0.02)
    assert transport.recv_ready(MOST) is None
    with pytest.raises(NetworkError, match="took longer"):
        transport.recv(MOST)


def test_closing_twice_is_closing_once(pair: Callable[..., Pair]) -> None:
    """And whatever follows is a network error, not a bug."""
    transport, server, _ = pair()
    transport.close()
    transport.close()
    assert server.recv(1) == b""
    with pytest.raises(NetworkError):
        transport.recv(MOST)
    with pytest.raises(NetworkError):
        transport.send(b"x")


class SocketAt:
    """As much of a socket as tells where its peer is."""

    def __init__(self, address: str, family: socket.AddressFamily = socket.AF_INET6) -> None:
        self.family = family
        self._address = address

    def getpeername(self) -> tuple[str, int]:
        """Address and port."""
        return self._address, 110

    def setsockopt(self, *_: int) -> None:
        """Does nothing."""


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("fe80::1%eth0", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_local(address: str, local: bool) -> None:
    """Only there nobody else can listen in."""
    assert SocketTransport(SocketAt(address)).is_local is local


def test_unix_socket_is_local_and_a_lost_peer_is_not(pair: Callable[..., Pair]) -> None:
    """Not knowing is not being sure."""
    assert pair()[0].is_local
    with socket.socket() as unconnected:
        assert not SocketTransport(unconnected).is_local


def test_peer_is_named_by_host_and_port() -> None:
    """By the socket's own idea of it, where nobody said how."""
    assert SocketTransport(SocketAt("2001:db8::1")).peer == "[2001:db8::1]:110"
    assert SocketTransport(SocketAt("192.0.2.1"), "pop.x").peer == "pop.x:110"


def test_idle_line_is_kept_alive() -> None:
    """FAULTS 64: and found to be dead within a minute."""
    with ScriptedServer([Silence()]) as server:
        transport = connect(server)
        get = transport._sock.getsockopt
        assert get(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        probes = get(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * get(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert get(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) + probes <= 60
        transport.close()


def test_line_that_keepalive_finds_dead_is_no_timeout_of_ours() -> None:
    """FAULTS 64: the system's ETIMEDOUT is a TimeoutError, too."""
    clock = ManualClock()

    class Dead(SlowSocket):
        def recv(self, _most: int) -> bytes:
            raise OSError(errno.ETIMEDOUT, "Connection timed out")

    transport = SocketTransport(Dead(clock, []), peer="pop.x:110", clock=clock)
    with pytest.raises(NetworkError, match=r"^pop\.x:110: receiving failed: Connection timed out$"):
        transport.recv(MOST)


def test_pace_is_measured_while_waiting() -> None:
    """FAULTS 62: not while nobody reads."""
    clock = ManualClock()
    sock = SlowSocket(clock, [(30.0, b"x"), (0.0, b"x"), (30.0, b"x"), (30.0, b"x")])
    transport = SocketTransport(sock, peer="pop.x:110", clock=clock, minimum_rate=7)
    for _ in range(3):
        transport.recv(MOST)
        clock.now += 3600
    with pytest.raises(
        NetworkError, match=r"receiving is too slow: 3 octets in 60 s are less than 7 octets a second$"
    ) as caught:
        transport.recv(MOST)
    assert caught.value.retry is Retry.SOON


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tls_line_carries_octets_both_ways(server_context: MakeServerContext, implicit: Tls) -> None:
    """And says which TLS it is."""
    body = b"x" * 1_000_000
    script = [StartTls(server_context()), Send(b"+OK\r\n"), Expect(b"NOOP"), Send(body), Goodbye()]
    with ScriptedServer(script) as server:
        transport = connect(server)
        assert transport.tls_version == ""
        transport.start_tls(implicit)
        assert transport.tls_version == "TLSv1.3"
        assert read_all(transport, 5) == b"+OK\r\n"
        assert transport.recv_ready(MOST) is None
        transport.send(b"NOOP\r\n")
        assert read_all(transport, len(body)) == body
        assert transport.recv(MOST) == b""
        assert transport.recv(MOST) == b""
        transport.close()


def test_reading_takes_what_has_arrived_up_to_what_was_asked_for(
    server_context: MakeServerContext, implicit: Tls
) -> None:
    """Many records in one call, and memory stays bounded: one record more at most."""
    script = [StartTls(server_context()), *[Send(b"x" * 4000)] * 100, Expect(b"DONE")]
    with ScriptedServer(script) as server:
        transport = connect(server)
        transport.start_tls(implicit)
        sizes: list[int] = []
        while sum(sizes) < 400_000:
            sizes.append(len(transport.recv(20_000)))
        transport.send(b"DONE\r\n")
        transport.close()
    assert max(sizes) > 4000
    assert max(sizes) <= 20_000 + 16_384


def test_client_says_goodbye_in_tls(server_context: MakeServerContext, implicit: Tls) -> None:
    """A server that is strict about close_notify sees one: an SSLError would fail the script."""
    strict = server_context()
    strict.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    with ScriptedServer([StartTls(strict, strict=True), Send(b"x")]) as server:
        transport = connect(server)
        transport.start_tls(implicit)
        read_all(transport, 1)
        transport.close()


def test_server_is_told_the_name(server_context: MakeServerContext, implicit: Tls) -> None:
    """FAULTS 77: SNI."""
    asked: list[str | None] = []
    context = server_context()
    context.sni_callback = lambda _sock, name, _context: asked.append(name)
    with ScriptedServer([StartTls(context)]) as server:
        transport = connect(server)
        transport.start_tls(implicit)
        transport.close()
    assert asked == [NAME]


@pytest.mark.parametrize("name", ["127.0.0.1", "*.example.org"])
def test_address_and_wildcard_are_verified_too(
    name: str, server_context: MakeServerContext, authority: TestAuthority
) -> None:
    """FAULTS 74: an IP address among the names, and a wildcard for one label."""
    settings = Tls(ca_file=authority.ca_file, server_name=NAME if "*" in name else None)
    with ScriptedServer([StartTls(server_context(name))]) as server:
        transport = connect(server)
        transport.start_tls(settings)
        transport.close()


def refused(settings: Tls, context: ssl.SSLContext) -> str:
    """Returns why a server is refused, and makes sure that not an octet reached it."""
    with ScriptedServer([StartTls(context, fails=r"alert|EOF")]) as server:
        transport = connect(server)
        with pytest.raises(TlsError) as caught:
            transport.start_tls(settings)
        assert transport.tls_version == ""
        transport.close()
    assert server.received == b""
    assert caught.value.retry is Retry.LATER
    assert str(caught.value).startswith(f"127.0.0.1:{server.port}: ")
    return str(caught.value)


def test_wrong_name_is_refused(server_context: MakeServerContext, implicit: Tls) -> None:
    """FAULTS 74: the message names the host that was checked."""
    said = refused(implicit, server_context("other.example.org"))
    assert "not accepted for pop.example.org: Hostname mismatch" in said
    assert "not accepted for 127.0.0.1: IP address mismatch" in refused(
        replace(implicit, server_name=None), server_context()
    )


def test_wildcard_covers_one_label_only(server_context: MakeServerContext, implicit: Tls) -> None:
    """FAULTS 74."""
    assert "Hostname mismatch" in refused(implicit, server_context("*.org"))


def test_expired_certificate_is_refused(server_context: MakeServerContext, implicit: Tls) -> None:
    """FAULTS 74."""
    assert "certificate has expired" in refused(implicit, server_context(NAME, expired=True))


def test_unknown_authority_is_refused(server_context: MakeServerContext, implicit: Tls, tmp_path: Path) -> None:
    """FAULTS 74: and the system's authorities do not know it either."""
    other = TestAuthority(tmp_path)
    assert "unable to get local issuer" in refused(replace(implicit, ca_file=other.ca_file), server_context())
    assert "local issuer" in refused(replace(implicit, ca_file=None), server_context())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(server_context: MakeServerContext, implicit: Tls) -> None:
    """FAULTS 75."""
    context = server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with ScriptedServer([StartTls(context, fails=r"version|protocol|alert")]) as server:
        transport = connect(server)
        with pytest.raises(TlsError, match=r"no TLS connection: .*(version|protocol)"):
            transport.start_tls(implicit)
        transport.close()


def fingerprint_of(context: ssl.SSLContext, settings: Tls) -> bytes:
    """Returns a server's fingerprint, as a browser would show it."""
    with ScriptedServer([StartTls(context)]) as server:
        raw = socket.create_connection((server.host, server.port))
        seen = ssl.create_default_context(cafile=settings.ca_file).wrap_socket(raw, server_hostname=NAME)
        certificate = seen.getpeercert(binary_form=True)
        seen.close()
    assert certificate is not None
    return hashlib.sha256(certificate).digest()


def test_looking_finds_what_an_ssl_socket_holds(server_context: MakeServerContext, implicit: Tls) -> None:
    """An ``SSLSocket`` takes a whole record from the kernel, which then knows nothing of what is left of it."""
    with ScriptedServer([StartTls(server_context()), Send(b"early")]) as server:
        raw = socket.create_connection((server.host, server.port))
        context = ssl.create_default_context(cafile=implicit.ca_file)
        transport = SocketTransport(context.wrap_socket(raw, server_hostname=NAME), NAME)
        assert transport.recv(1) == b"e"
        assert transport.recv_ready(MOST) == b"arly"
        transport.close()


def test_fingerprint_pins_the_certificate_whatever_its_name(server_context: MakeServerContext, implicit: Tls) -> None:
    """FACTS §1a: no chain, no name, no date is asked for; this very certificate is."""
    context = server_context()
    pinned = Tls(fingerprint=fingerprint_of(context, implicit), server_name="whatever.example")
    with ScriptedServer([StartTls(context), Send(b"x")]) as server:
        transport = connect(server)
        transport.start_tls(pinned)
        read_all(transport, 1)
        transport.close()


def test_fingerprint_refuses_every_other_certificate(server_context: MakeServerContext, implicit: Tls) -> None:
    """One that the authority issued, with the right name, too; the message has both fingerprints."""
    pinned = replace(implicit, fingerprint=b"\xab" * 32)
    context = server_context()
    found = fingerprint_of(context, implicit)
    with ScriptedServer([StartTls(context)]) as server:
        transport = connect(server)
        with pytest.raises(TlsError, match=rf"{found.hex(':')}, pinned is ab:ab:"):
            transport.start_tls(pinned)
        assert transport.tls_version == ""
        transport.close()


def test_client_certificate_is_shown(
    server_context: MakeServerContext, implicit: Tls, authority: TestAuthority
) -> None:
    """FACTS §3.24."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    mine = authority.issue("me.example.org")
    with ScriptedServer([StartTls(context), Send(b"+OK\r\n")]) as server:
        transport = connect(server)
        transport.start_tls(replace(implicit, client_cert=mine.cert_file, client_key=mine.key_file))
        assert read_all(transport, 5) == b"+OK\r\n"
        transport.close()


def test_missing_client_certificate_is_a_tls_error(
    server_context: MakeServerContext, implicit: Tls, authority: TestAuthority
) -> None:
    """TLS 1.3 says so only after the handshake."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    with ScriptedServer([StartTls(context, fails=r"did not return a certificate")]) as server:
        transport = connect(server)
        transport.start_tls(implicit)
        with pytest.raises(TlsError, match="certificate required"):
            transport.recv(MOST)
        transport.close()


def test_context_of_ones_own_is_used(server_context: MakeServerContext, authority: TestAuthority) -> None:
    """So that many sessions share one."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    with ScriptedServer([StartTls(server_context())]) as server:
        transport = connect(server)
        transport.start_tls(Tls(server_name=NAME), context)
        transport.close()


def test_tls_to_a_plain_port_says_so(implicit: Tls) -> None:
    """FAULTS 78."""
    with ScriptedServer([Send(b"+OK POP3 ready\r\n"), Silence()]) as server:
        transport = connect(server)
        with pytest.raises(TlsError, match="speaks plain POP3 on this port"):
            transport.start_tls(implicit)
        transport.close()


@pytest.mark.parametrize("octets", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03\xff\xff" + b"x" * 70_000])
def test_anything_but_a_handshake_is_a_tls_error(octets: bytes, implicit: Tls) -> None:
    """FAULTS 70, 76."""
    with ScriptedServer([Send(octets), Silence()]) as server:
        transport = connect(server)
        with pytest.raises(TlsError, match="no TLS connection"):
            transport.start_tls(implicit)
        transport.close()


def test_server_that_leaves_in_the_handshake_is_a_tls_error(implicit: Tls) -> None:
    """FAULTS 53, 66."""
    with ScriptedServer([Close()]) as server:
        transport = connect(server)
        with pytest.raises(NetworkError, match=r"during the TLS handshake|the TLS handshake failed"):
            transport.start_tls(implicit)
        transport.close()


def test_silence_in_the_handshake_ends_in_a_timeout(implicit: Tls) -> None:
    """FAULTS 66: it is no TLS error, for nothing was wrong with TLS."""
    with ScriptedServer([Silence()]) as server:
        transport = connect(server, timeout=0.05)
        with pytest.raises(NetworkError, match=r"the TLS handshake took longer than 0\.05 s") as caught:
            transport.start_tls(implicit)
        assert type(caught.value) is NetworkError
        transport.close()


def test_drops_in_the_handshake_end_in_a_timeout(pair: Callable[..., Pair], implicit: Tls) -> None:
    """FAULTS 66: its time is for the whole of it, not for each octet."""
    transport, server, clock = pair(timeout=60.0)
    server.send(b"\x16\x03\x03\x7f")
    real_recv = transport._raw_recv

    def slow_recv(most: int) -> bytes:
        clock.now += 25
        server.send(b"x")
        return real_recv(1)

    transport._raw_recv = slow_recv
    with pytest.raises(NetworkError, match="the TLS handshake took longer than 60 s"):
        transport.start_tls(implicit)


def test_name_that_cannot_be_verified_is_a_tls_error(pair: Callable[..., Pair]) -> None:
    """A socket that nobody named, and no server_name: nothing to verify."""
    transport, _, _ = pair()
    with pytest.raises(TlsError, match="cannot be verified"):
        transport.start_tls(Tls(mode=TlsMode.IMPLICIT))


def test_end_without_close_notify_is_an_error(server_context: MakeServerContext, implicit: Tls) -> None:
    """FAULTS 25: Python's SSLSocket would hide it. It is a lost line, not a fault of TLS."""
    with ScriptedServer([StartTls(server_context()), Send(b"+OK\r\nhalf"), Close()]) as server:
        transport = connect(server)
        transport.start_tls(implicit)
        assert read_all(transport, 9) == b"+OK\r\nhalf"
        with pytest.raises(NetworkError, match="the TLS stream was cut off") as caught:
            transport.recv(MOST)
        assert type(caught.value) is NetworkError
        transport.close()


class Secured:
    """Both ends of a TLS line in one thread: a transport, its clock, and a server that a test plays by hand."""

    def __init__(self, context: ssl.SSLContext, settings: Tls, pair: Callable[..., Pair]) -> None:
        self.transport, self.line, self.clock = pair(timeout=60.0)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        real_recv = self.transport._raw_recv

        def shake_hands(most: int) -> bytes:
            self._incoming.write(self.line.recv(MOST))
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
            self.line.sendall(self._outgoing.read())
            return real_recv(most)

        self.transport._raw_recv = shake_hands
        self.transport.start_tls(settings)
        self.transport._channel._receive = self.transport._raw_recv = real_recv
        self._incoming.write(self.line.recv(MOST))
        self._tls.do_handshake()
        self.line.sendall(self._outgoing.read())  # session tickets

    def record(self, data: bytes) -> bytes:
        """Returns octets as they go over the line."""
        self._tls.write(data)
        return self._outgoing.read()


@pytest.fixture
def secured(server_context: MakeServerContext, implicit: Tls, pair: Callable[..., Pair]) -> Secured:
    """A TLS line, its handshake done."""
    return Secured(server_context(), implicit, pair)


def test_octets_that_are_no_tls_after_the_handshake_are_a_tls_error(secured: Secured) -> None:
    """Somebody else is on the line."""
    secured.line.sendall(b"+OK in plain text\r\n")
    with pytest.raises(TlsError, match="receiving failed"):
        secured.transport.recv(MOST)


def test_record_that_drips_ends_in_a_timeout(secured: Secured) -> None:
    """FAULTS 62: a read has its time, however many octets of the line make one of the message."""
    record = secured.record(b"+OK\r\n")
    real_recv = secured.transport._raw_recv

    def slow_recv(_: int) -> bytes:
        secured.clock.now += 25
        return real_recv(1)

    secured.transport._channel._receive = slow_recv
    secured.line.sendall(record)
    with pytest.raises(NetworkError, match="receiving took longer than 60 s"):
        secured.transport.recv(MOST)


def test_looking_at_a_part_of_a_record_does_not_lose_it(secured: Secured) -> None:
    """What was taken in by a look is there for the read."""
    record = secured.record(b"+OK\r\n")
    secured.line.sendall(record[:7])
    assert secured.transport.recv_ready(MOST) is None
    secured.line.sendall(record[7:])
    assert secured.transport.recv(MOST) == b"+OK\r\n"
