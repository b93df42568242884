"""Through proxies: real ones, and some that are broken."""

import gc
import itertools
import socket
import subprocess
import sys
import time
import traceback

import pytest

from fetchd.errors import NetworkError, TlsError
from fetchd.model import Proxy, ProxyKind, Secret, Tls, TlsMode, parse_proxy
from fetchd.pop3 import POP3Session
from fetchd.pop3.proxy import dial_through
from fetchd.pop3.transport import SocketTransport
from tests.conftest import MakeMailbox
from tests.pop3.conftest import NAME, MakeServerContext
from tests.pop3.scripts import GREETING
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority
from tests.servers.proxies import Credentials, HttpProxy, LoopbackProxy, Socks5Proxy
from tests.servers.scripted import Close, Reset, ScriptedServer, Send, Silence, StartTls, Step

KINDS = pytest.mark.parametrize("kind", [Socks5Proxy, HttpProxy])
WHO = Credentials("me", "open:sesame%21@home")


def proxy_to(server: ScriptedServer, *, kind: ProxyKind = ProxyKind.SOCKS5) -> Proxy:
    """A scripted server, taken for a proxy."""
    return Proxy(kind, server.host, server.port)


# ── that work ────────────────────────────────────────────────────────────────────────────────────────────────────────


@KINDS
@pytest.mark.parametrize("mode", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
def test_real_session_goes_through(
    kind: type[LoopbackProxy], mode: TlsMode, dovecot: Dovecot, mailbox: MakeMailbox, authority: TestAuthority
) -> None:
    """TLS is with the server, whose name only the proxy can resolve; the password is not seen by it."""
    box = mailbox(b"Subject: x\r\n\r\nhello\r\n")
    port = 995 if mode is TlsMode.IMPLICIT else 110
    routes = {
        ("pop.invalid", 995): (dovecot.host, dovecot.tls_port),
        ("pop.invalid", 110): (dovecot.host, dovecot.port),
    }
    tls = Tls(mode=mode, ca_file=authority.ca_file, server_name="localhost")
    with kind(routes) as proxy:
        with POP3Session.connect("pop.invalid", port, tls=tls, proxy=proxy.url) as session:
            session.login(box.user, box.password)
            assert session.tls_version
            assert session.retrieve_message(1)["Subject"] == "x"
        assert proxy.asked == [("pop.invalid", port)]
        assert proxy.octets
        assert box.password.encode() not in proxy.octets


@KINDS
def test_certificate_is_verified_for_the_server_not_for_the_proxy(
    kind: type[LoopbackProxy], server_context: MakeServerContext, authority: TestAuthority
) -> None:
    """End to end."""
    tls = Tls(ca_file=authority.ca_file)
    good, bad = [StartTls(server_context(NAME)), GREETING], [StartTls(server_context("127.0.0.1"), fails="alert|EOF")]
    with ScriptedServer(good, bad) as server, kind({(NAME, 995): (server.host, server.port)}) as proxy:
        POP3Session.connect(NAME, tls=tls, proxy=proxy.url).close()
        with pytest.raises(TlsError, match=f"for {NAME}"):
            POP3Session.connect(NAME, tls=tls, proxy=proxy.url)


@KINDS
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "pop.x"])
def test_addresses_go_through_too(kind: type[LoopbackProxy], host: str) -> None:
    """As they are."""
    with ScriptedServer([GREETING]) as server, kind({(host, 110): (server.host, server.port)}) as proxy:
        POP3Session.connect(host, proxy=proxy.url).close()
        assert proxy.asked == [(host, 110)]


@KINDS
def test_user_and_password_are_told_to_the_proxy(kind: type[LoopbackProxy]) -> None:
    """Percent-encoded in the URL, for there they may hold a colon or an at sign."""
    with ScriptedServer([GREETING]) as server, kind({("pop.x", 110): (server.host, server.port)}, WHO) as proxy:
        url = f"{kind.scheme}://me:open%3Asesame%2521%40home@127.0.0.1:{proxy.port}"
        POP3Session.connect("pop.x", proxy=url).close()
        assert proxy.asked == [("pop.x", 110)]


@KINDS
def test_source_address_is_towards_the_proxy(kind: type[LoopbackProxy]) -> None:
    """For that is where we connect to."""
    with ScriptedServer([GREETING]) as server, kind({("pop.x", 110): (server.host, server.port)}) as proxy:
        POP3Session.connect("pop.x", proxy=proxy.url, source_address="127.0.0.53").close()
        assert proxy.clients == ["127.0.0.53"]


@KINDS
def test_server_behind_a_local_proxy_is_not_local(kind: type[LoopbackProxy]) -> None:
    """FAULTS 79: the socket's peer is on loopback, the server is not: a password in plain text would go far."""
    with ScriptedServer([GREETING]) as server, kind({("pop.x", 110): (server.host, server.port)}) as proxy:
        transport = SocketTransport.connect("pop.x", 110, proxy=parse_proxy(proxy.url))
        assert not transport.is_local
        assert transport.peer == "pop.x:110"
        transport.close()


def test_greeting_on_the_heels_of_the_proxys_reply_is_not_lost() -> None:
    """In one segment: the server speaks first."""
    both = Send(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n+OK hi\r\n")
    with ScriptedServer([both, Silence()]) as server:
        POP3Session.connect("pop.x", proxy=proxy_to(server, kind=ProxyKind.HTTP)).close()


def test_replies_may_come_octet_by_octet() -> None:
    """From either kind."""
    granted = b"\x05\x00\x05\x00\x00\x03\x02hi\x00\x00"
    for kind, reply in ((ProxyKind.HTTP, b"HTTP/1.1 200 OK\r\n\r\n"), (ProxyKind.SOCKS5, granted)):
        with ScriptedServer([Send(reply + b"+OK\r\n", segment=1), Silence()]) as server:
            POP3Session.connect("pop.x", proxy=proxy_to(server, kind=kind)).close()


def test_python_socks_is_loaded_only_where_there_is_a_proxy() -> None:
    """SPEED: start-up time is everybody's."""
    code = "import fetchd.pop3, sys; sys.exit('python_socks' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ── that do not ──────────────────────────────────────────────────────────────────────────────────────────────────────


def everything_said(error: BaseException) -> str:
    """An error as a log would have it, with all that it came from."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.__cause__)


@KINDS
@pytest.mark.parametrize("told", [None, Credentials("me", "wrong-0815"), Credentials("mé", "wröng-0815")])
def test_proxy_that_does_not_know_us(kind: type[LoopbackProxy], told: Credentials | None) -> None:
    """What was said to it is repeated nowhere, nor what it said."""
    with kind({}, WHO) as server:
        password = None if told is None else Secret(told.password.encode())
        proxy = Proxy(ProxyKind(kind.scheme), server.host, server.port, told.user if told else "", password)
        with pytest.raises(NetworkError) as caught:
            POP3Session.connect("pop.x", proxy=proxy)
        assert server.asked == []
    said = everything_said(caught.value)
    assert str(caught.value).startswith(f"pop.x:110: the proxy {kind.scheme}://127.0.0.1:{server.port} ")
    for secret in ("0815", "sesame", "please", "sorry", "Secret(b"):
        assert secret not in said
    assert "0815" not in repr(proxy)
    if kind is HttpProxy and told and told.user == "me":
        assert str(caught.value).endswith("does not connect us: 407 Proxy Authentication Required")


def test_password_that_socks_cannot_carry_is_an_error_without_it() -> None:
    """RFC 1929 §2: 255 octets; python-socks: ASCII."""
    for password in ("x" * 256, "wröng-0815"):
        with ScriptedServer([Send(b"\x05\x02"), Silence()]) as server:
            proxy = Proxy(ProxyKind.SOCKS5, server.host, server.port, "me", Secret(password.encode()))
            with pytest.raises(NetworkError, match=r"cannot be told this host, user or password$") as caught:
                POP3Session.connect("pop.x", proxy=proxy)
        assert caught.value.__cause__ is None
        assert password not in everything_said(caught.value)


@pytest.mark.parametrize(
    ("kind", "why"),
    [(Socks5Proxy, "does not connect us: Connection refused by destination host"), (HttpProxy, "502 Bad Gateway")],
)
def test_proxy_that_finds_no_way(kind: type[LoopbackProxy], why: str) -> None:
    """It says so."""
    with kind({}) as proxy, pytest.raises(NetworkError, match=f"{why}$") as caught:
        POP3Session.connect("pop.x", proxy=proxy.url)
    assert str(caught.value).startswith("pop.x:110: the proxy ")


def test_proxy_that_is_not_there() -> None:
    """The message names both, and no password."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"socks5://me:s3same@127.0.0.1:{port}"
    with pytest.raises(NetworkError) as caught:
        POP3Session.connect("pop.x", tls="implicit", proxy=url)
    assert str(caught.value) == (
        f"pop.x:995: the proxy socks5://127.0.0.1:{port}: cannot connect: 127.0.0.1: Connection refused"
    )
    assert "s3same" not in everything_said(caught.value)


@pytest.mark.parametrize(
    ("kind", "script", "why"),
    [
        (ProxyKind.SOCKS5, [Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Silence()], "Unexpected SOCKS version number"),
        (ProxyKind.SOCKS5, [Send(b"\x05\xff"), Silence()], "No acceptable authentication methods"),
        (ProxyKind.SOCKS5, [Send(b"\x05\x02"), Silence()], "Unexpected SOCKS authentication method"),
        (ProxyKind.SOCKS5, [Send(b"\x05\x00\x05\x63\x00"), Silence()], "Invalid reply code"),
        (ProxyKind.SOCKS5, [Send(b"\x05\x00\x05\x00\x00\x07"), Silence()], "Invalid address type"),
        (ProxyKind.SOCKS5, [Send(b"\x05\x00\x05"), Close()], "closed unexpectedly|Connection reset|Broken pipe"),
        (ProxyKind.SOCKS5, [Reset()], "Connection reset by peer|Broken pipe"),
        (ProxyKind.HTTP, [Send(b"+OK POP3\r\n\r\n"), Silence()], "what it says is no HTTP reply"),
        (ProxyKind.HTTP, [Send(b"\r\n\r\n"), Silence()], "what it says is no HTTP reply"),
        (ProxyKind.HTTP, [Send(b"HTTP/1.1 2OO OK\r\n\r\n"), Silence()], "what it says is no HTTP reply"),
        (ProxyKind.HTTP, [Send(b"HTTP/1.1 200 OK\r\n"), Close()], "no HTTP reply|Connection reset|Broken pipe"),
        (ProxyKind.HTTP, [Send(b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000), Silence()], "what it says is no HTTP reply"),
        (ProxyKind.HTTP, [Send(b"HTTP/1.1 299 \x1b[31mred\r\n\r\n"), Silence()], "does not connect us: 299$"),
        (ProxyKind.HTTP, [Reset()], "Connection reset by peer|Broken pipe"),
    ],
)
def test_proxy_that_is_broken_is_a_network_error(kind: ProxyKind, script: list[Step], why: str) -> None:
    """Whatever it says, it ends in one line of ours."""
    with ScriptedServer(script) as server, pytest.raises(NetworkError, match=why) as caught:
        POP3Session.connect("pop.x", proxy=proxy_to(server, kind=kind))
    assert type(caught.value) is NetworkError
    assert str(caught.value).startswith(f"pop.x:110: the proxy {kind}://127.0.0.1:{server.port}")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("kind", ProxyKind)
def test_silent_proxy_ends_in_a_timeout(kind: ProxyKind) -> None:
    """FAULTS 1: its part is in the time for connecting."""
    with ScriptedServer([Silence()]) as server, pytest.raises(NetworkError, match=r"took longer than 0\.05 s$"):
        POP3Session.connect("pop.x", proxy=proxy_to(server, kind=kind), timeout=0.05)


@pytest.mark.parametrize(
    ("kind", "drops"),
    [
        (ProxyKind.HTTP, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000),
        (ProxyKind.SOCKS5, b"\x05\x00\x05\x00\x00\x03\xff" + b"y" * 300),
    ],
    ids=["http", "socks5"],
)
def test_proxy_that_drips_ends_in_a_timeout(kind: ProxyKind, drops: bytes) -> None:
    """FAULTS 2: for each read it has what is left of the time for all of them. The clock goes a second a look."""
    ticks = itertools.count()
    with ScriptedServer([Send(drops), Silence()]) as server, pytest.raises(NetworkError, match=r"longer than 7 s$"):
        dial_through(proxy_to(server, kind=kind), "pop.x", 110, seconds=7.0, clock=lambda: float(next(ticks)))


def test_interrupt_leaves_no_line_open() -> None:
    """Ctrl-C while the proxy thinks: a socket left open would warn, which is an error here."""
    ticks = itertools.count()

    def clock() -> float:
        if next(ticks) > 6:
            raise KeyboardInterrupt
        return 0.0

    with ScriptedServer([Send(b"\x05\x00"), Silence()]) as server, pytest.raises(KeyboardInterrupt):
        dial_through(proxy_to(server), "pop.x", 110, seconds=5.0, clock=clock)
    gc.collect()


def test_host_that_no_name_can_be_is_an_error() -> None:
    """The codec for host names raises."""
    script = [Send(b"\x05\x00"), Silence()]
    with ScriptedServer(script) as server, pytest.raises(NetworkError, match="cannot be told this host"):
        SocketTransport.connect("x" * 300 + ".example", 110, proxy=proxy_to(server))


def test_time_that_is_left_goes_to_the_greeting() -> None:
    """The socket has none of the proxy's timeouts any more."""
    with ScriptedServer([Send(b"HTTP/1.1 200 OK\r\n\r\n"), Silence()]) as server:
        sock = dial_through(proxy_to(server, kind=ProxyKind.HTTP), "pop.x", 110, seconds=9.0, clock=time.monotonic)
        assert type(sock).__name__ == "socket"
        sock.close()


# ── their URLs ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("socks5://127.0.0.1:1080", Proxy(ProxyKind.SOCKS5, "127.0.0.1", 1080)),
        ("socks5h://proxy.x:1080/", Proxy(ProxyKind.SOCKS5, "proxy.x", 1080)),
        ("SOCKS5://[::1]:1080", Proxy(ProxyKind.SOCKS5, "::1", 1080)),
        ("http://me:p%40ss@proxy.x:3128", Proxy(ProxyKind.HTTP, "proxy.x", 3128, "me", Secret(b"p@ss"))),
    ],
)
def test_url_names_a_proxy(url: str, proxy: Proxy) -> None:
    """The form that everybody knows."""
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.x:1080",
        "socks4://proxy.x:1080",
        "https://proxy.x:3128",
        "socks5://proxy.x",
        "socks5://:1080",
        "socks5://proxy.x:s3same",
        "socks5://proxy.x:0",
        "socks5://proxy.x:99999",
        "http://proxy.x:3128/s3same",
        "http://proxy.x:3128?s3same",
        "socks5://me:s3same#@proxy.x:1080",
        "socks5://me:s3s/ame@proxy.x:1080",
        "socks5://s3same@proxy.x:1080",
        "socks5://[::1:1080",
    ],
)
def test_anything_else_is_none_and_is_not_repeated(url: str) -> None:
    """There may be a password in it."""
    with pytest.raises(
        ValueError, match=r"^expected socks5://\[user:password@\]host:port, or http:// likewise$"
    ) as caught:
        parse_proxy(url)
    assert "s3s" not in everything_said(caught.value).replace("parse_proxy(url)", "")


def test_proxy_does_not_show_its_password() -> None:
    """In no repr of it."""
    assert "s3same" not in repr(parse_proxy("socks5://me:s3same@proxy.x:1080"))
