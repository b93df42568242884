"""Every way to log in, proven with a real Dovecot: it lets the right one in, and the wrong one out.

Dovecot 2.3 (Debian 12) has no -PLUS: the tests of that want Dovecot 2.4 (Debian 13), and are skipped without.
"""

import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs

import pytest

from fetchd.errors import AuthenticationError, FetchdError
from fetchd.model import Secret, Tls
from fetchd.pop3.binding import channel_binding
from fetchd.pop3.choice import (
    APOP,
    USER,
    Credentials,
    ExternalLogin,
    Offer,
    PasswordLogin,
    TokenLogin,
    choose,
    mechanism,
)
from fetchd.pop3.mechanisms import apop_digest, apop_timestamp
from fetchd.pop3.sasl import Exchange
from fetchd.pop3.session import POP3Session
from tests.servers.dovecot import Dovecot, Mailbox
from tests.servers.pki import IssuedCertificate, TestAuthority

GOOD = "ya29.good"
PATIENCE = 10.0


class Line:
    """A POP3 client of a few lines, which knows AUTH and nothing else of interest."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self.greeting = self.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._sock.close()

    def read(self) -> bytes:
        return self._file.readline().removesuffix(b"\r\n")

    def ask(self, line: bytes) -> bytes:
        self._sock.sendall(line + b"\r\n")
        return self.read()

    def offer(self) -> Offer:
        """What CAPA and the greeting say."""
        assert self.ask(b"CAPA").startswith(b"+OK")
        lines = list(iter(self.read, b"."))
        [sasl] = [line.decode().split()[1:] for line in lines if line.startswith(b"SASL")]
        binding = None
        if isinstance(self._sock, ssl.SSLSocket):
            binding = channel_binding(
                self._sock.version() or "",
                unique=self._sock.get_channel_binding(),
                certificate=self._sock.getpeercert(binary_form=True),
            )
        return Offer(sasl=sasl, apop=bool(apop_timestamp(self.greeting)), private=True, binding=binding)

    def authenticate(self, exchange: Exchange) -> bytes:
        """Returns the last reply; cancels where the exchange breaks."""
        reply = self.ask(b"AUTH " + exchange.arguments())
        while reply.startswith(b"+ ") or reply == b"+":
            try:
                answer = exchange.answer(reply[1:])
            except FetchdError:
                self.ask(b"*")
                raise
            reply = self.ask(answer)
        if reply.startswith(b"+OK"):
            exchange.succeeded()
        return reply


@pytest.fixture(params=["plain", "TLSv1.2", "TLSv1.3"])
def open_line(request: pytest.FixtureRequest, authority: TestAuthority) -> Callable[[Dovecot], Line]:
    """Connects to a server, over each kind of line."""

    def make(server: Dovecot) -> Line:
        if request.param == "plain":
            return Line(socket.create_connection((server.host, server.port), PATIENCE))
        version = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[request.param]
        return tls_line(server, authority, version=version)

    return make


def tls_line(
    server: Dovecot,
    authority: TestAuthority,
    *,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    shown: IssuedCertificate | None = None,
) -> Line:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.minimum_version = context.maximum_version = version
    if shown is not None:
        context.load_cert_chain(shown.cert_file, shown.key_file)
    raw = socket.create_connection((server.host, server.tls_port), PATIENCE)
    return Line(context.wrap_socket(raw, server_hostname="localhost"))


def log_in(line: Line, way: str, credentials: Credentials, *, one_line: bool | None = None) -> bytes:
    """Logs in by one way, which the server must offer."""
    offer = line.offer()
    [chosen] = choose(credentials, offer, wish=way)
    if isinstance(credentials, PasswordLogin) and chosen == APOP:
        timestamp = apop_timestamp(line.greeting)
        assert timestamp is not None
        return line.ask(b"APOP %b %b" % (credentials.user, apop_digest(timestamp, credentials.password)))
    if isinstance(credentials, PasswordLogin) and chosen == USER:
        line.ask(b"USER " + credentials.user)
        return line.ask(b"PASS " + credentials.password.reveal())
    return line.authenticate(Exchange(mechanism(chosen, credentials, offer), one_line=one_line))


# ── with a password ──────────────────────────────────────────────────────────────────────────────────────────────────

PASSWORD_WAYS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", APOP, "PLAIN", "LOGIN", USER]
AWKWARD = " pässwörd, 100% \"quoted\" = 'ok' " + "x" * 300


@pytest.mark.parametrize("way", PASSWORD_WAYS)
def test_the_right_password_is_let_in(
    way: str, dovecot: Dovecot, mailbox: Callable[..., Mailbox], open_line: Callable[[Dovecot], Line]
) -> None:
    """With SCRAM, the server has proven itself too: ``succeeded`` was asked."""
    box = mailbox()
    with open_line(dovecot) as line:
        reply = log_in(line, way, PasswordLogin(box.user.encode(), Secret(box.password.encode())))
        assert reply.startswith(b"+OK")
        assert line.ask(b"STAT").startswith(b"+OK 0 ")


@pytest.mark.parametrize("way", PASSWORD_WAYS)
def test_the_wrong_password_is_refused_and_the_line_goes_on(
    way: str, dovecot: Dovecot, mailbox: Callable[..., Mailbox], authority: TestAuthority
) -> None:
    box = mailbox()
    with tls_line(dovecot, authority) as line:
        assert log_in(line, way, PasswordLogin(box.user.encode(), Secret(b"wrong"))).startswith(b"-ERR [AUTH]")
        good = PasswordLogin(box.user.encode(), Secret(box.password.encode()))
        assert log_in(line, "PLAIN", good).startswith(b"+OK")


@pytest.mark.parametrize("way", PASSWORD_WAYS)
def test_an_awkward_password_is_carried(way: str, dovecot: Dovecot, mailbox: Callable[..., Mailbox]) -> None:
    """FAULTS 87; PLAIN's and SCRAM's do not fit on the AUTH line."""
    box = mailbox(password=AWKWARD)
    with Line(socket.create_connection((dovecot.host, dovecot.port), PATIENCE)) as line:
        assert log_in(line, way, PasswordLogin(box.user.encode(), Secret(AWKWARD.encode()))).startswith(b"+OK")


@pytest.mark.parametrize("way", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
@pytest.mark.parametrize("one_line", [False, True])
def test_one_line_or_two_is_the_same(
    way: str, one_line: bool, dovecot: Dovecot, mailbox: Callable[..., Mailbox]
) -> None:
    """RFC 5034 §4."""
    box = mailbox()
    with Line(socket.create_connection((dovecot.host, dovecot.port), PATIENCE)) as line:
        credentials = PasswordLogin(box.user.encode(), Secret(box.password.encode()))
        assert log_in(line, way, credentials, one_line=one_line).startswith(b"+OK")


def test_the_strongest_way_is_chosen(dovecot: Dovecot, authority: TestAuthority) -> None:
    with tls_line(dovecot, authority) as line:
        ways = choose(PasswordLogin(b"joe", Secret(b"open sesame")), line.offer())
        assert ways == PASSWORD_WAYS


# ── with a password, bound to the channel ────────────────────────────────────────────────────────────────────────────

JOE = PasswordLogin(b"joe@example.org", Secret(b"open sesame"))


@pytest.fixture(scope="module")
def binding_server(authority: TestAuthority) -> Iterator[Dovecot]:
    """A server with -PLUS."""
    server = Dovecot(
        authority, settings={"auth_mechanisms": "plain scram-sha-1 scram-sha-256 scram-sha-1-plus scram-sha-256-plus"}
    )
    if server.version < (2, 4):
        pytest.skip("this Dovecot is older than 2.4, and has no SCRAM with channel binding")
    with server:
        server.add_user("joe@example.org", "open sesame")
        yield server


@pytest.mark.parametrize("way", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
def test_scram_is_bound_to_tls_1_2(way: str, binding_server: Dovecot, authority: TestAuthority) -> None:
    """By tls-unique (RFC 5929 §3); and it is what is chosen."""
    with tls_line(binding_server, authority, version=ssl.TLSVersion.TLSv1_2) as line:
        assert choose(JOE, line.offer())[0] == "SCRAM-SHA-256-PLUS"
        assert log_in(line, way, JOE).startswith(b"+OK")


def test_on_tls_1_3_scram_works_without(binding_server: Dovecot, authority: TestAuthority) -> None:
    """What -PLUS means there, tls-exporter, Python does not have; on tls-server-end-point the server hangs up."""
    with tls_line(binding_server, authority) as line:
        assert choose(JOE, line.offer())[0] == "SCRAM-SHA-256"
        assert log_in(line, "SCRAM-SHA-256", JOE).startswith(b"+OK")


def test_a_server_learns_that_its_offer_was_tampered_with(binding_server: Dovecot, authority: TestAuthority) -> None:
    """RFC 5802 §6: the gs2 flag "y"."""
    with tls_line(binding_server, authority) as line:
        offer = line.offer()
        tampered = replace(offer, sasl=[name for name in offer.sasl or () if not name.endswith("-PLUS")])
        exchange = Exchange(mechanism("SCRAM-SHA-256", JOE, tampered))
        assert line.authenticate(exchange).startswith(b"-ERR")


# ── with a token ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Introspection(BaseHTTPRequestHandler):
    """RFC 7662 for one good token, whose user is whoever ``users`` says."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form.get("token") == [GOOD]
        body = json.dumps({"active": good, **({"sub": "tina@example.org"} if good else {})}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def introspection() -> Iterator[str]:
    """An HTTP server on loopback; yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Introspection) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/introspect"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def modern(authority: TestAuthority) -> Iterator[Dovecot]:
    """A server that takes tokens and certificates."""
    with ExitStack() as stack:
        url = stack.enter_context(introspection())
        server = stack.enter_context(Dovecot(authority, introspection=url, client_certificates=True))
        server.add_user("tina@example.org", "open sesame")
        yield server


@pytest.mark.parametrize("way", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("one_line", [None, True])
def test_the_right_token_is_let_in(way: str, one_line: bool | None, modern: Dovecot, authority: TestAuthority) -> None:
    """On a line of its own, as Microsoft wants it, and with AUTH."""
    credentials = TokenLogin(b"tina@example.org", Secret(GOOD.encode()), "localhost", modern.tls_port)
    with tls_line(modern, authority) as line:
        assert log_in(line, way, credentials, one_line=one_line).startswith(b"+OK")


@pytest.mark.parametrize("way", ["XOAUTH2", "OAUTHBEARER"])
def test_the_wrong_token_is_refused_with_a_detail_and_the_line_goes_on(
    way: str, modern: Dovecot, authority: TestAuthority
) -> None:
    """FAULTS 83, 84: the challenge is answered, the ``-ERR`` is read, and a fresh token may be tried."""
    user = b"tina@example.org"
    with tls_line(modern, authority) as line:
        exchange = Exchange(mechanism(way, TokenLogin(user, Secret(b"ya29.expired")), line.offer()))
        assert line.authenticate(exchange).startswith(b"-ERR [AUTH]")
        assert json.loads(exchange.detail)["status"] in {"401", "invalid_token"}
        assert log_in(line, way, TokenLogin(user, Secret(GOOD.encode()))).startswith(b"+OK")


# ── with a certificate ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("identity", [b"", b"tina@example.org"])
@pytest.mark.parametrize("one_line", [None, False])
def test_our_certificate_says_who_we_are(
    identity: bytes, one_line: bool | None, modern: Dovecot, authority: TestAuthority
) -> None:
    """RFC 4422 appendix A; "=" with AUTH, or an empty line."""
    with tls_line(modern, authority, shown=authority.issue("tina@example.org")) as line:
        assert log_in(line, "EXTERNAL", ExternalLogin(identity), one_line=one_line).startswith(b"+OK")
        assert line.ask(b"STAT").startswith(b"+OK 0 ")


def test_without_a_certificate_nobody_is_let_in(modern: Dovecot, authority: TestAuthority) -> None:
    with tls_line(modern, authority) as line:
        assert log_in(line, "EXTERNAL", ExternalLogin()).startswith(b"-ERR")


# ── the trace ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["XOAUTH2", "OAUTHBEARER", "EXTERNAL"])
@pytest.mark.parametrize("token", [GOOD, "ya29.expired"])
def test_no_token_is_in_the_trace(way: str, token: str, modern: Dovecot, authority: TestAuthority) -> None:
    """FAULTS 89: every line of the exchange is there, and nothing of what is in it."""
    shown = authority.issue("tina@example.org")
    tls = Tls(
        ca_file=authority.ca_file, server_name="localhost", client_cert=shown.cert_file, client_key=shown.key_file
    )
    said: list[str] = []
    with (
        suppress(AuthenticationError),
        POP3Session.connect(
            modern.host, modern.tls_port, tls=tls, trace=lambda way, line: said.append(f"{way} {line}")
        ) as session,
    ):
        session.login("tina@example.org", token, mechanism=way)
    text = "\n".join(said)
    assert f"> AUTH {way}" in text
    assert "TLSv1." in said[0]
    for form in (
        token,
        "ya29",
        "tina",
        "eyJ",
        b64encode(b"auth=Bearer").decode().rstrip("="),
        b64encode(token.encode()),
    ):
        assert str(form) not in text
