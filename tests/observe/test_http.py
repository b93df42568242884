"""fetchd.observe.http over real sockets: what it serves, and what it survives (FAULTS 114)."""

import errno
import os
import socket
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from email.message import Message
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fetchd.errors import ConfigError
from fetchd.model import HttpAddress
from fetchd.observe.http import HttpServer
from fetchd.observe.pages import Page, Request, Response, health_page, metrics_page
from fetchd.observe.reach import shown_address

LOOPBACK = HttpAddress("127.0.0.1", 0)


def broken(request: Request) -> Response:
    raise RuntimeError("secret details")


PAGES: Mapping[str, Page] = {
    "/metrics": metrics_page(lambda: b"up 1\n", "text/plain; version=0.0.4"),
    "/healthz": health_page(lambda: (True, "ok")),
    "/sick": health_page(lambda: (False, "the store cannot be written")),
    "/broken": broken,
}


@pytest.fixture
def server(capfd: pytest.CaptureFixture[str]) -> Iterator[HttpServer]:
    """A server; whatever a test does to it, nothing may reach standard output or standard error."""
    with HttpServer(LOOPBACK, PAGES) as running:
        yield running
    assert capfd.readouterr() == ("", "")


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), timeout=20)


def exchange(server: HttpServer, sent: bytes) -> bytes:
    """Sends octets, and returns all that comes back until the server closes, in whatever way."""
    received = b""
    with connect(server) as sock:
        try:
            sock.sendall(sent)
            while data := sock.recv(65536):
                received += data
        except ConnectionError:
            pass
    return received


def get(server: HttpServer, path: str, method: str = "GET") -> tuple[int, "Message[str, str]", bytes]:
    url = f"http://{shown_address(server.address)}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


# ── what it serves ───────────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_come_with_their_content_type(server: HttpServer) -> None:
    status, headers, body = get(server, "/metrics")
    assert (status, body) == (200, b"up 1\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4"
    assert headers["Content-Length"] == "5"


def test_a_query_does_not_change_the_page(server: HttpServer) -> None:
    assert get(server, "/metrics?name[]=up")[0] == 200


def test_health_is_200_or_503_with_one_line(server: HttpServer) -> None:
    assert get(server, "/healthz")[0::2] == (200, b"ok\n")
    assert get(server, "/sick")[0::2] == (503, b"the store cannot be written\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/../metrics", "/%6detrics", "/etc/passwd"])
def test_any_other_path_is_404_with_one_line(server: HttpServer, path: str) -> None:
    status, headers, body = get(server, path)
    assert (status, body) == (404, b"404 Not Found\n")
    assert headers["Content-Type"].startswith("text/plain")


def test_head_has_the_headers_of_get_and_no_body(server: HttpServer) -> None:
    head = exchange(server, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"\r\nContent-Length: 5\r\n" in head
    assert head.endswith(b"\r\n\r\n")
    missing = exchange(server, b"HEAD /nothing HTTP/1.1\r\n\r\n")
    assert missing.startswith(b"HTTP/1.0 404 ")
    assert missing.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_405(server: HttpServer, method: str) -> None:
    status, headers, body = get(server, "/metrics", method)
    assert (status, body) == (405, b"405 Method Not Allowed\n")
    assert headers["Allow"] == "GET, HEAD"


def test_a_page_that_raises_is_500_and_tells_no_details(server: HttpServer) -> None:
    assert get(server, "/broken")[0::2] == (500, b"RuntimeError\n")
    assert get(server, "/healthz")[0] == 200


def test_it_does_not_tell_the_version_of_python(server: HttpServer) -> None:
    assert get(server, "/healthz")[1]["Server"] == "fetchd"


# ── what it survives ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/x\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"\x00" * 4096 + b"\n",
        b"\n" * 4096,
    ],
    ids=["path", "many headers", "long header", "version", "no version", "bare", "empty", "TLS", "NUL", "LF"],
)
def test_an_absurd_request_gets_an_error_or_a_close(server: HttpServer, sent: bytes) -> None:
    answer = exchange(server, sent)
    assert b" 200 " not in answer
    assert b"up 1" not in answer
    assert len(answer) < 600
    assert get(server, "/healthz")[0] == 200


@pytest.mark.parametrize("path", [b"/\x1b[31m", b"/\x00", b"/\xff\xfe", b"/a\rb", b"/a\x85b", "/Zoë\u2028".encode()])
def test_control_characters_in_a_path_are_not_repeated(server: HttpServer, path: bytes) -> None:
    answer = exchange(server, b"GET " + path + b" HTTP/1.1\r\n\r\n")
    assert answer.partition(b" ")[2].startswith((b"404", b"400"))
    assert path not in answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.sampled_from([b"GET", b" ", b"/metrics", b"HTTP/1.", b"1", b"\r\n", b":", b"\x00\xff", b"-"])))
@example([b"GET /metrics HTTP/1.1\r\n :\r\n\r\n"])
@example([b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_no_request_brings_it_down(server: HttpServer, parts: list[bytes]) -> None:
    exchange(server, b"".join(parts) + b"\r\n\r\n")
    assert server.address.port
    assert get(server, "/healthz")[0] == 200


def test_a_client_that_says_nothing_is_closed_at_its_deadline(capfd: pytest.CaptureFixture[str]) -> None:
    with HttpServer(LOOPBACK, PAGES, seconds=0.05) as server:
        assert exchange(server, b"") == b""
    assert capfd.readouterr() == ("", "")


def test_a_client_that_drips_is_closed_at_its_deadline() -> None:
    """The deadline is the whole request's: each octet that arrives would start a plain timeout anew."""
    with HttpServer(LOOPBACK, PAGES, seconds=0.3) as server, connect(server) as sock:
        sock.settimeout(0.02)
        sock.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        for _ in range(2000):  # forty seconds of dripping, were it not closed
            try:
                sock.sendall(b"y")
                assert sock.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it listened to the end")


def test_a_client_that_does_not_read_is_closed_at_its_deadline() -> None:
    served: list[threading.Thread] = []
    asked = threading.Event()

    def big(request: Request) -> Response:
        served.append(threading.current_thread())
        asked.set()
        return Response(b"x" * 50_000_000)

    with HttpServer(LOOPBACK, {"/big": big}, seconds=0.3) as server, connect(server) as sock:
        sock.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert asked.wait(20)
        served[0].join(20)
        assert not served[0].is_alive()


def test_one_connection_too_many_is_told_so_and_the_others_go_on() -> None:
    with HttpServer(LOOPBACK, PAGES, connections=2) as server, ExitStack() as held:
        first, second = (held.enter_context(connect(server)) for _ in range(2))
        refused = exchange(server, b"")
        assert refused.startswith(b"HTTP/1.0 503 ")
        for sock in (first, second):
            sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.0 200 ")


def test_a_slot_is_free_again_after_each_kind_of_end() -> None:
    with HttpServer(LOOPBACK, PAGES, connections=1) as server:
        for sent in (b"GET /metrics HTTP/1.1\r\n\r\n", b"\x00\r\n\r\n", b"GET /broken HTTP/1.1\r\n\r\n") * 3:
            for _ in range(5000):  # the thread of the one before has closed its socket, and is about to leave
                if b"503" not in exchange(server, sent):
                    break
            else:
                pytest.fail("the slot stays taken")


def test_no_thread_to_be_had_closes_the_connection(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert exchange(server, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    assert get(server, "/healthz")[0] == 200


def test_out_of_descriptors_it_waits_instead_of_spinning(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 98: accept fails, and the connection stays in the queue."""
    pauses: list[float] = []
    accept = socket.socket.accept
    failures = iter(range(3))

    def failing(self: socket.socket) -> tuple[socket.socket, object]:
        if next(failures, None) is not None:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    monkeypatch.setattr("fetchd.observe.http.time.sleep", pauses.append)
    assert get(server, "/healthz")[0] == 200
    assert len(pauses) == 3
    assert all(pause > 0 for pause in pauses)


# ── start and stop ───────────────────────────────────────────────────────────────────────────────────────────────


def test_stop_closes_the_port_and_the_connections_in_hand() -> None:
    server = HttpServer(LOOPBACK, PAGES, seconds=1000)
    server.start()
    address = (server.address.host, server.address.port)
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n")
        exchange(server, b"GET /healthz HTTP/1.1\r\n\r\n")  # the first one is accepted by now
        server.stop()
        with suppress(ConnectionError):
            assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=20)
    assert not [thread for thread in threading.enumerate() if thread.name == "http"]
    server.stop()


def test_stop_does_not_wait_for_a_page_that_hangs() -> None:
    release, entered = threading.Event(), threading.Event()

    def hang(request: Request) -> Response:
        entered.set()
        release.wait(60)
        return Response(b"late")

    server = HttpServer(LOOPBACK, {"/hang": hang})
    server.start()
    with connect(server) as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\n\r\n")
        assert entered.wait(20)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        stopper.join(30)
        hung = stopper.is_alive()
    release.set()
    stopper.join()
    assert not hung
    for thread in threading.enumerate():
        if thread.name == "http":
            thread.join(20)


def test_stop_without_start_is_fine() -> None:
    server = HttpServer(LOOPBACK, PAGES)
    server.stop()
    assert server.address == LOOPBACK


def test_it_can_be_started_again(server: HttpServer) -> None:
    server.stop()
    server.start()
    assert get(server, "/healthz")[0] == 200


def test_a_taken_port_is_one_clear_line(server: HttpServer) -> None:
    """FAULTS 114."""
    second = HttpServer(server.address, PAGES)
    with pytest.raises(ConfigError) as caught:
        second.start()
    line = f"http: cannot listen on 127.0.0.1:{server.address.port}: address in use; "
    assert str(caught.value).startswith(line)
    assert isinstance(caught.value.__cause__, OSError)
    second.stop()


def test_a_forbidden_port_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigError, match=r"^http: cannot listen on 127\.0\.0\.1:80: permission denied; "):
        HttpServer(HttpAddress("127.0.0.1", 80), PAGES).start()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a..b"])
def test_an_address_that_is_not_ours_is_one_clear_line(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"^http: cannot listen on {host}:9725: .+") as caught:
        HttpServer(HttpAddress(host, 9725), PAGES).start()
    assert "\n" not in str(caught.value)


def test_ipv6_is_served_and_shown_in_brackets() -> None:
    server = HttpServer(HttpAddress("::1", 0), PAGES)
    try:
        server.start()
    except ConfigError:
        pytest.skip("no IPv6 loopback here")
    with ExitStack() as stack:
        stack.callback(server.stop)
        assert shown_address(server.address) == f"[::1]:{server.address.port}"
        assert get(server, "/healthz")[0] == 200


def test_a_response_is_plain_text_unless_said_otherwise() -> None:
    assert Response(b"").status is HTTPStatus.OK
    assert Response(b"").content_type.startswith("text/plain")


# ── who may ask, and what a browser may do with the answer ───────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/sick", "/broken", "/nothing"])
def test_every_answer_is_for_its_reader_alone(server: HttpServer, path: str) -> None:
    headers = get(server, path)[1]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_name_that_anybody_may_own_is_turned_away(server: HttpServer) -> None:
    """DNS rebinding: a page at evil.example makes that name point to 127.0.0.1, and the browser sends it."""
    answer = exchange(server, b"GET /metrics HTTP/1.1\r\nHost: evil.example:9725\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 421 ")
    assert b"up 1" not in answer
    assert exchange(server, b"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n\r\n").startswith(b"HTTP/1.0 200 ")


def test_what_is_told_by_any_name_is() -> None:
    with HttpServer(LOOPBACK, PAGES, by_any_name={"/healthz"}) as server:
        assert exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x.example\r\n\r\n").startswith(b"HTTP/1.0 200 ")
        assert exchange(server, b"GET /healthz?x HTTP/1.1\r\nHost: x.example\r\n\r\n").startswith(b"HTTP/1.0 200 ")
        assert exchange(server, b"GET /metrics HTTP/1.1\r\nHost: x.example\r\n\r\n").startswith(b"HTTP/1.0 421 ")


def test_the_name_of_this_machine_is_ours(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "mail.example.org")
    assert exchange(server, b"GET /metrics HTTP/1.1\r\nHost: mail.example.org\r\n\r\n").startswith(b"HTTP/1.0 200 ")


def test_a_page_is_told_the_query(server: HttpServer) -> None:
    asked: list[Mapping[str, str]] = []

    def page(request: Request) -> Response:
        asked.append(request.query)
        return Response(b"")

    with HttpServer(LOOPBACK, {"/": page}) as other:
        for query in ("", "?q=a%20b&page=2", "?" + "&".join("x=y" for _ in range(50)), "?q=%ff"):
            assert get(other, f"/{query}")[0] == 200
    assert asked == [{}, {"q": "a b", "page": "2"}, {}, {"q": "\ufffd"}]


# ── a Unix socket ────────────────────────────────────────────────────────────────────────────────────────────────


def unix(path: Path) -> HttpServer:
    return HttpServer(HttpAddress(f"unix:{path}", 0), PAGES)


def ask_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: whatever.example\r\n\r\n")
        received = b""
        while data := sock.recv(65536):
            received += data
    return received


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_unix_socket_is_for_its_group_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "http.sock"
    before = os.umask(umask)
    try:
        with unix(path) as server:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert server.address == HttpAddress(f"unix:{path}", 0)
            assert ask_unix(path).startswith(b"HTTP/1.0 200 ")
    finally:
        os.umask(before)
    assert not path.exists()


def test_a_unix_socket_that_a_kill_left_over_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    with unix(path):
        assert ask_unix(path).startswith(b"HTTP/1.0 200 ")


def test_a_unix_socket_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with unix(path):
        with pytest.raises(ConfigError, match=rf"^http: cannot listen on unix:{path}: address in use; "):
            unix(path).start()
        assert ask_unix(path).startswith(b"HTTP/1.0 200 ")


def test_a_file_at_the_place_of_the_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="there is a file of another kind"):
        unix(path).start()
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["missing/http.sock", "x" * 120])
def test_a_unix_socket_that_cannot_be_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^http: cannot listen on unix:.+: .+") as caught:
        unix(tmp_path / name).start()
    assert "\n" not in str(caught.value)
