"""fetchd.oauth.wire: one request, a deadline for all of it, nothing but what was asked for."""

import errno
import socket
import ssl
import threading
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest

from fetchd.errors import NetworkError, SecretError, TlsError
from fetchd.oauth import wire
from fetchd.oauth.wire import LIMIT_OCTETS, is_safe, post
from tests.oauth.endpoint import Endpoint, Say
from tests.servers.pki import TestAuthority


def test_a_form_goes_and_an_answer_comes() -> None:
    with Endpoint(Say({"a": "b"})) as endpoint:
        answer = post(f"{endpoint.url}/token", "x=1", {"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.body) == (200, b'{"a": "b"}')
    assert endpoint.asked[0].form == {"x": "1"}
    assert endpoint.asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://login.example.org/token", True),
        ("http://127.0.0.1/token", True),
        ("http://127.0.0.1:80/token", True),
        ("http://[::1]:80/token", True),
        ("http://localhost:8080?x", True),
        ("http://login.example.org/token", False),
        ("http://127.0.0.1.example.org/", False),
        ("http://127.0.0.1@example.org/", False),
        ("http://localhost:x@example.org/", False),
        ("ftp://127.0.0.1/", False),
        ("", False),
    ],
)
def test_plain_http_goes_to_this_machine_only(url: str, expected: bool) -> None:
    assert is_safe(url) is expected
    if not expected:
        with pytest.raises(SecretError, match="https://"):
            post(url, "secret=1", {})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_takes_the_form_along(status: int) -> None:
    """FAULTS 84: a redirect to http."""
    with Endpoint(Say()) as other, Endpoint(Say({}, status, {"Location": f"{other.url}/"})) as endpoint:
        with pytest.raises(NetworkError, match=f"redirects elsewhere .HTTP {status}."):
            post(endpoint.url, "secret=1", {})
        assert other.asked == []


@pytest.mark.parametrize("length", [None, 1 << 40])
def test_an_answer_without_end_is_not_read(length: int | None) -> None:
    """FAULTS 84: 10 MB."""
    with (
        Endpoint(Say(b"x" * (10 << 20), length=length)) as endpoint,
        pytest.raises(NetworkError, match="more than 256 KiB"),
    ):
        post(endpoint.url, "", {})
    assert LIMIT_OCTETS == 256 << 10


def test_an_answer_that_is_cut_short_is_none() -> None:
    with Endpoint(Say(b'{"a": 1', length=500)) as endpoint, pytest.raises(NetworkError, match="cannot be reached"):
        post(endpoint.url, "", {})


def test_an_answer_in_drops_ends_at_the_deadline() -> None:
    """FAULTS 84: each read brings something, and the whole never ends."""
    with (
        Endpoint(Say(b"x" * 10_000, drip=0.02)) as endpoint,
        pytest.raises(NetworkError, match=r"did not answer within 0\.3 s"),
    ):
        post(endpoint.url, "", {}, deadline=0.3)


def test_so_does_a_silent_one() -> None:
    with Endpoint(Say()) as endpoint:
        endpoint.script[0].before = lambda: endpoint.ends.wait(20) and None
        with pytest.raises(NetworkError, match=r"did not answer within|cannot be reached"):
            post(endpoint.url, "", {}, deadline=0.3)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NetworkError, match=f"127.0.0.1:{port} cannot be reached"):
        post(f"http://127.0.0.1:{port}/", "", {})


@pytest.mark.parametrize("host", ["a..b", "xn--zzzzz-", "a" * 300, "[::1"])
def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(SecretError, match="this is no name of a host: look at the endpoints of oauth"):
        post(f"https://{host}/token", "secret=1", {})


def test_where_no_file_can_be_opened_it_is_a_passing_fault() -> None:
    with (
        Endpoint(Say()) as endpoint,
        patch("socket.socket.dup", side_effect=OSError(errno.EMFILE, "Too many open files")),
        pytest.raises(NetworkError, match="Too many open files"),
    ):
        post(endpoint.url, "secret=1", {})


def test_addresses_that_lead_nowhere_leave_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of IPv6 do on many a network; a provider has up to eight, and they are tried one after the other."""
    monkeypatch.setattr(wire, "_CONNECT", 0.05)
    with Endpoint(Say({})) as endpoint, ExitStack() as full:
        port = int(endpoint.url.rpartition(":")[2])
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            listener = full.enter_context(socket.create_server((host, port), backlog=0))
            for _ in range(2):  # a queue that is full drops who knocks, without a word
                line = full.enter_context(socket.socket())
                line.setblocking(False)
                line.connect_ex(listener.getsockname())
        hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1")
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert post(f"http://localhost:{port}/", "", {}).status == 200


def test_a_certificate_of_nobody_is_not_taken(authority: TestAuthority) -> None:
    certificate, key = authority.issue("localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                try:
                    context.wrap_socket(line, server_side=True).close()
                except (ssl.SSLError, OSError):
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TlsError, match="the certificate is not good"):
            post(f"https://localhost:{server.getsockname()[1]}/", "secret=1", {})
        thread.join()


def test_a_handshake_that_hangs_ends_at_the_deadline() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(NetworkError, match=r"did not answer within|cannot be reached"),
    ):
        post(f"https://127.0.0.1:{server.getsockname()[1]}/", "", {}, deadline=0.3)


def test_a_proxy_of_the_environment_is_used_for_https_and_never_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, Endpoint(Say({})) as endpoint:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert post(endpoint.url, "", {}).status == 200
        heard = []

        def serve() -> None:
            line, _ = proxy.accept()
            with line:
                heard.append(line.recv(100).partition(b"\r\n")[0])

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NetworkError):
            post("https://login.example.org/token", "secret=1", {})
        thread.join()
        assert heard == [b"CONNECT login.example.org:443 HTTP/1.1"]


def test_a_proxy_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "gopher://x:y")
    with pytest.raises(SecretError, match="the proxy that the environment names cannot be used"):
        post("https://login.example.org/token", "secret=1", {})
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hun/ter2@proxy.example.org")
    with pytest.raises(SecretError, match="its URL is none") as caught:
        post("https://login.example.org/token", "secret=1", {})
    assert "hun" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_of_a_request_stays_in_a_logger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """httpx and httpcore log requests; whoever turned that on would not find the form in it."""
    caplog.set_level(1)
    with Endpoint(Say({})) as endpoint:
        post(endpoint.url, "client_secret=hunter2", {"Authorization": "Basic hunter2"})
    assert "hunter2" not in caplog.text
