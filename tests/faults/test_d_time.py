"""FAULTS §2 D: nothing waits for ever, and nobody comes back too early."""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fetchd.errors import LoginDelayError, NetworkError, Retry
from fetchd.model import Tls
from fetchd.pop3 import dial, transport
from tests.faults.bench import Bench, run_daemon, stored
from tests.faults.server import Answer, FaultyServer, Session
from tests.faults.steps import Drip
from tests.servers.scripted import Close, Silence

# ── a server that is slow, or dead ───────────────────────────────────────────────────────────────────────────────


def test_a_dripping_message_ends_by_a_deadline(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 62: each octet comes in time; the session as a whole does not."""
    bench.fill(1, 2)
    server.faults[b"RETR 2"] = [b"+OK\r\n", Drip(b"x" * 70 + b"\r\n", every=0.05)]
    bench.fails(NetworkError, r"took longer than 0\.8 s.*RETR 2 is incomplete", timeout=0.4, session_timeout=0.8)
    assert (bench.mail(), server.deleted) == (stored(1), [])
    bench.heals(1, 2)


@pytest.mark.parametrize("verb", ["USER", "STAT", "RETR 1", "RETR 7", "DELE 1"])
def test_a_server_that_stops_reading_ends_by_a_deadline(narrow: Bench, verb: str) -> None:
    """FAULTS 63: its window is closed; we write no more than its buffers take, so it is its silence that ends it."""
    narrow.fill(*range(1, 301))
    narrow.server.faults[verb.encode()] = Silence()
    narrow.fails(NetworkError, r"took longer than 0\.3 s", timeout=0.3)
    assert narrow.server.deleted == []


def test_a_write_that_no_buffer_takes_ends_by_its_deadline(narrow: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 63: only a password can be as long as that."""
    monkeypatch.setattr(transport, "SEND_BUFFER", 4096)
    (narrow.root / "secret").write_bytes(b"pass" * 15_000)
    narrow.server.faults[b"USER"] = [b"+OK\r\n", Silence()]
    narrow.fails(NetworkError, r"sending took longer than 0\.3 s", timeout=0.3)


CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def set_loopback(*, up: bool) -> None:
    """Brings ``lo`` up or down in the network namespace of this thread."""
    with socket.socket() as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def in_a_network_of_its_own(work: Callable[[], None]) -> None:
    """Runs this in a thread, and the threads that it starts, with a loopback interface that nobody else has."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
            set_loopback(up=True)
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in outcome:
        assert error is not None
        raise error


@pytest.mark.parametrize("verb", ["STAT", "RETR 2"])
def test_a_line_that_goes_dead_ends_by_a_deadline(tmp_path: Path, verb: str) -> None:
    """FAULTS 64: neither FIN nor RST, and no segment comes through any more."""

    def work() -> None:
        with FaultyServer() as server, Bench(tmp_path, server) as bench:
            bench.fill(1, 2)

            def cut(session: Session) -> Answer:
                set_loopback(up=False)
                session.send(b"+OK 2 99\r\n")
                return Silence()

            server.faults[verb.encode()] = cut
            settle, server.settle = server.settle, lambda: None  # nobody sees anybody leave
            try:
                bench.fails(NetworkError, r"took longer than 0\.5 s", timeout=0.5)
            finally:
                server.settle = settle
                set_loopback(up=True)
            assert server.deleted == []

    in_a_network_of_its_own(work)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

Found = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Makes every name resolve to these."""
    found: Found = [
        (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        for host, port in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port on loopback that answers no SYN: its queue is full, and nobody accepts."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield sock.getsockname()[1]


def test_a_name_that_does_not_exist(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65: NXDOMAIN: a passing fault, for DNS has those."""

    def resolve(*_, **__) -> Found:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    bench.fails(NetworkError, "cannot be resolved: Name or service not known", told=False, host="pop.invalid")


def test_a_slow_resolver_ends_by_the_deadline(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65: a name that is not resolved in time is an error in time."""
    late = threading.Event()

    def resolve(*_, **__) -> Found:
        late.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    bench.patience = 1.5
    try:
        bench.fails(
            NetworkError,
            r"pop\.example\.net:[0-9]+: the name cannot be resolved: no answer within 0\.2 s",
            told=False,
            host="pop.example.net",
            timeout=0.2,
            session_timeout=0.5,
        )
    finally:
        late.set()


@pytest.mark.parametrize("dead", [1, 3])
def test_an_address_that_is_a_black_hole_costs_no_timeout(
    bench: Bench, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, black_hole: int, dead: int
) -> None:
    """FAULTS 65: the next address is tried beside it (RFC 8305): the first would take longer than the session may."""
    resolve_to(monkeypatch, *[("127.0.0.1", black_hole)] * dead, ("127.0.0.1", server.port))
    monkeypatch.setattr(dial, "STAGGER_SECONDS", 0.05)
    bench.fill(1)
    bench.poll(host="pop.example.net")
    assert bench.mail() == stored(1)


def test_fifty_addresses_of_which_none_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch, black_hole: int) -> None:
    """FAULTS 65: they share the time for connecting, and the error stays one that can be read."""
    resolve_to(monkeypatch, *[("127.0.0.1", black_hole)] * 50)
    bench.fails(NetworkError, "cannot connect: 127.0.0.1: ", told=False, host="pop.example.net", timeout=0.5)


def test_fifty_addresses_that_refuse(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65: IPv6 ones too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    resolve_to(monkeypatch, *[("127.0.0.1", port), ("::1", port)] * 25)
    bench.fails(NetworkError, "cannot connect: ", told=False, host="pop.example.net")


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [Silence(), Drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 9000, every=0.05)])
def test_silence_after_stls_ends_by_the_deadline(
    bench: Bench, server: FaultyServer, starttls: Tls, after: Silence | Drip
) -> None:
    """FAULTS 66: ``+OK``, and then nothing, or one octet now and then."""

    def accept(session: Session) -> Answer:
        session.send(b"+OK\r\n")
        session.hear()
        return after

    server.capabilities.append("STLS")
    server.faults[b"STLS"] = accept
    bench.fails(NetworkError, r"TLS handshake took longer than 0\.3 s", told=False, tls=starttls, timeout=0.3)


# ── LOGIN-DELAY ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["greeting", "USER", "PASS"])
def test_a_login_that_came_too_early_comes_later(bench: Bench, server: FaultyServer, verb: str) -> None:
    """FAULTS 67: ``[LOGIN-DELAY]``: the password is not wrong."""
    bench.fill(1)
    server.faults[verb.encode()] = [b"-ERR [LOGIN-DELAY] minimum time between mail checks violation\r\n", Close()]
    bench.fails(LoginDelayError, r"\[LOGIN-DELAY\]", retry=Retry.LATER, told=verb != "greeting")
    bench.heals(1)


def test_a_daemon_logs_in_at_its_own_interval(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 67: where nobody announces a delay; what follows would else prove nothing."""
    run_daemon(bench, 600.0)
    bench.always()
    assert 8 <= server.count(b"PASS") <= 12


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_the_delay_that_a_server_announces_is_kept(bench: Bench, server: FaultyServer, restart: bool) -> None:
    """FAULTS 67: LOGIN-DELAY 900 in CAPA (RFC 2449 §6.5): one login in 900 seconds, across a restart too."""
    server.capabilities.append("LOGIN-DELAY 900")
    for seconds in (400.0, 400.0) if restart else (800.0,):
        run_daemon(bench, seconds)
    bench.always()
    assert server.count(b"PASS") == 1
