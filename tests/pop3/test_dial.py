"""From a host's name to a connected socket."""

import contextlib
import errno
import gc
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from fetchd.errors import NetworkError
from fetchd.pop3.dial import MOST_ADDRESSES, AddressInfo, _Race, dial

NEVER = 3600.0
MakeBlackHole = Callable[..., tuple[str, int]]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Takes connections on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def black_hole() -> Iterator[MakeBlackHole]:
    """Makes addresses that answer no SYN: the queue is full, and nobody accepts."""
    with contextlib.ExitStack() as stack:

        def make(host: str = "127.0.0.1") -> tuple[str, int]:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = stack.enter_context(socket.create_server((host, 0), family=family, backlog=0))
            for _ in range(2):
                filler = stack.enter_context(socket.socket(family))
                filler.setblocking(False)
                filler.connect_ex(sock.getsockname())
            return sock.getsockname()[:2]

        yield make


def closed_port() -> tuple[str, int]:
    """An address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Makes every name resolve to these addresses, in this order."""
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
        if ":" in host
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        for host, port in addresses
    ]
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: object, **keywords: object) -> list[object]:
        return real(host, *arguments, **keywords) if keywords.get("flags") else found

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def call(host: str, port: int, seconds: float = 5.0, **keywords: object) -> socket.socket:
    return dial(host, port, seconds=seconds, clock=time.monotonic, **keywords)


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def test_listener_is_reached(listener: socket.socket) -> None:
    """By its address."""
    port = listener.getsockname()[1]
    with call("127.0.0.1", port) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)


@needs_ipv6
def test_ipv6_is_reached() -> None:
    """By its address."""
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server,
        call("::1", server.getsockname()[1]) as sock,
    ):
        assert sock.getpeername() == server.getsockname()


def test_refused_connection_says_where_and_why() -> None:
    """FAULTS 53."""
    _, port = closed_port()
    with pytest.raises(NetworkError, match=rf"^127\.0\.0\.1:{port}: cannot connect: 127\.0\.0\.1: Connection refused$"):
        call("127.0.0.1", port)


# ── several addresses ────────────────────────────────────────────────────────────────────────────────────────────


def test_address_that_fails_is_followed_at_once(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65: nothing is waited for."""
    resolve_to(monkeypatch, closed_port(), closed_port(), listener.getsockname())
    with call("pop.x", 110, stagger=NEVER) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_address_that_is_silent_is_not_waited_for(
    listener: socket.socket, black_hole: MakeBlackHole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS 65, RFC 8305 §5: the next one is tried beside it; and what loses is closed."""
    resolve_to(monkeypatch, black_hole(), listener.getsockname())
    with call("pop.x", 110, stagger=0.01) as sock:
        assert sock.getpeername() == listener.getsockname()
    gc.collect()  # a socket left open would warn, which is an error here


def test_address_has_its_time_before_the_next_is_tried(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers is not bothered twice."""
    with socket.create_server(("127.0.0.1", 0)) as second:
        resolve_to(monkeypatch, listener.getsockname(), second.getsockname())
        with call("pop.x", 110, stagger=NEVER) as sock:
            assert sock.getpeername() == listener.getsockname()
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.accept()


def test_first_address_may_still_win(
    listener: socket.socket, black_hole: MakeBlackHole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection goes on while the others are tried."""
    hole = black_hole()
    resolve_to(monkeypatch, hole, closed_port(), listener.getsockname())
    with call("pop.x", 110, stagger=0.01) as sock:
        assert sock.getpeername() == listener.getsockname()


@needs_ipv6
def test_black_hole_of_ipv6_does_not_hide_ipv4(
    listener: socket.socket, black_hole: MakeBlackHole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS 65: many addresses of a family that leads nowhere, and one that does not."""
    resolve_to(monkeypatch, *[black_hole("::1") for _ in range(MOST_ADDRESSES)], listener.getsockname())
    with call("pop.x", 110, stagger=0.01) as sock:
        assert sock.getpeername() == listener.getsockname()


def order_of(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> list[str]:
    """Returns the addresses that are tried, none of which answers."""
    resolve_to(monkeypatch, *addresses)
    tried: list[str] = []

    def refuse(_: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NetworkError) as caught:
        call("pop.x", 110, stagger=NEVER)
    assert [part.split(": ")[0] for part in str(caught.value).split("connect: ")[1].split("; ")][: len(tried)] == tried
    return tried


@needs_ipv6
def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8305 §4: in the resolver's order, beginning with its first."""
    sixes = [(f"2001:db8::{n}", 110) for n in range(1, 4)]
    fours = [(f"192.0.2.{n}", 110) for n in range(1, 3)]
    assert order_of(monkeypatch, *sixes, *fours) == [
        "2001:db8::1",
        "192.0.2.1",
        "2001:db8::2",
        "192.0.2.2",
        "2001:db8::3",
    ]
    assert order_of(monkeypatch, *fours, *sixes)[:2] == ["192.0.2.1", "2001:db8::1"]


def test_fifty_addresses_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65."""
    assert len(order_of(monkeypatch, *[(f"192.0.2.{n}", 110) for n in range(50)])) == MOST_ADDRESSES


def test_error_tells_of_every_address(black_hole: MakeBlackHole, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65: each with its reason, and how many were not tried."""
    many = [closed_port() for _ in range(8)]
    resolve_to(monkeypatch, closed_port(), black_hole(), *many, *many)
    refused = r"127\.0\.0\.1: Connection refused; "
    silent = r"127\.0\.0\.1: no answer in 0\.\d+ s; "
    with pytest.raises(
        NetworkError,
        match=rf"^pop\.x:110: cannot connect: {refused}{silent}({refused}){{8}}8 of 18 addresses not tried$",
    ) as caught:
        call("pop.x", 110, seconds=0.1, stagger=0.0)
    assert isinstance(caught.value.__cause__, OSError)


def test_no_time_is_left_for_an_address(listener: socket.socket) -> None:
    """A session that is over does not connect."""
    with pytest.raises(NetworkError, match="cannot connect: 1 of 1 addresses not tried"):
        call("127.0.0.1", listener.getsockname()[1], seconds=0.0)


def test_time_is_for_all_addresses_together(black_hole: MakeBlackHole, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65: ten that are silent take as long as one."""
    resolve_to(monkeypatch, *[black_hole() for _ in range(MOST_ADDRESSES)])
    with pytest.raises(NetworkError) as caught:
        call("pop.x", 110, seconds=0.05, stagger=0.0)
    assert str(caught.value).count("no answer in ") == MOST_ADDRESSES


# ── the address to connect from ──────────────────────────────────────────────────────────────────────────────────


def test_source_address_is_where_the_connection_comes_from(listener: socket.socket) -> None:
    """All of 127.0.0.0/8 is ours."""
    with call("127.0.0.1", listener.getsockname()[1], source_address="127.0.0.53") as sock:
        assert sock.getsockname()[0] == "127.0.0.53"


@needs_ipv6
def test_source_address_chooses_the_family(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv4 address cannot reach an IPv6 one."""
    resolve_to(monkeypatch, ("::1", 1), listener.getsockname())
    with call("pop.x", 110, source_address="127.0.0.1", stagger=NEVER) as sock:
        assert sock.getpeername() == listener.getsockname()
    resolve_to(monkeypatch, ("::1", 1))
    with pytest.raises(NetworkError, match=r"cannot connect: the name has no address to be reached from 127\.0\.0\.1$"):
        call("pop.x", 110, source_address="127.0.0.1")


def test_source_address_that_is_not_ours_is_an_error(listener: socket.socket) -> None:
    """TEST-NET-3 is nobody's; the message says which of the two addresses is at fault."""
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1: from 203\.0\.113\.9: Cannot assign requested address$"):
        call("127.0.0.1", listener.getsockname()[1], source_address="203.0.113.9")


@pytest.mark.parametrize("text", ["pop.x", "a..b", "127.0.0.1:80"])
def test_source_address_is_no_name(text: str) -> None:
    """It is not looked up."""
    with pytest.raises(NetworkError, match=f"source_address is not an IP address: {text}$"):
        call("127.0.0.1", 1, source_address=text)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 65."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NetworkError, match=r"^pop\.x:995: the name cannot be resolved: Name or service not known$"):
        call("pop.x", 995)


def test_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens with resolvers of one's own."""
    resolve_to(monkeypatch)
    with pytest.raises(NetworkError, match="the name has no address"):
        call("pop.x", 995)


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_name_that_is_none(host: str) -> None:
    """The codec for host names raises before the resolver is asked."""
    with pytest.raises(NetworkError, match="cannot be resolved: not a host name"):
        call(host, 995)


def test_ipv6_address_is_shown_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lest the port look like a part of it."""
    resolve_to(monkeypatch, closed_port())
    with pytest.raises(NetworkError, match=r"^\[::1\]:995: "):
        call("::1", 995)


# ── a resolver of one's own ──────────────────────────────────────────────────────────────────────────────────────────


def test_resolving_and_connecting_share_the_time(listener: socket.socket) -> None:
    """FAULTS 65: what the resolver took is not had for connecting."""
    host, port = listener.getsockname()
    now = [100.0]
    asked: list[tuple[str, int, float]] = []

    def resolve(name: str, number: int, seconds: float) -> list[AddressInfo]:
        asked.append((name, number, seconds))
        now[0] += took
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    took = 5.0
    with pytest.raises(NetworkError, match=r"pop\.x:110: resolving the name took longer than 5 s"):
        dial("pop.x", 110, seconds=5.0, clock=lambda: now[0], resolve=resolve)
    took = 4.0
    with pytest.MonkeyPatch.context() as patch:
        left: list[float] = []
        patch.setattr(_Race, "run", lambda *_, seconds, **__: left.append(seconds))
        with pytest.raises(NetworkError, match="cannot connect"):
            dial("pop.x", 110, seconds=5.0, clock=lambda: now[0], resolve=resolve)
    assert left == [1.0]
    dial("pop.x", 110, seconds=5.0, clock=lambda: now[0], resolve=resolve).close()
    assert asked == [("pop.x", 110, 5.0)] * 3
