"""TLS from the first octet, and TLS by STLS: the same is verified, and nothing goes on where it does not hold.

FAULTS 66, 68-78. Whether a certificate was revoked is not checked: neither CRLs nor OCSP are asked for.
"""

import io
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from fetchd.errors import NetworkError, Retry, TlsError
from fetchd.model import Tls, TlsMode
from fetchd.pop3 import POP3Session
from fetchd.pop3.protocol import State
from fetchd.pop3.transport import SocketTransport
from tests.conftest import MakeMailbox
from tests.pop3.conftest import NAME, MakeServerContext
from tests.pop3.scripts import GREETING, OK
from tests.servers.dovecot import Dovecot
from tests.servers.pki import IssuedCertificate, TestAuthority
from tests.servers.scripted import Close, Expect, Goodbye, Reset, ScriptedServer, Send, StartTls, Step

STLS: list[Step] = [GREETING, Expect(b"CAPA"), Send(b"+OK\r\nSTLS\r\n.\r\n"), Expect(b"STLS", alone=True), OK]


@dataclass(frozen=True)
class Mode:
    """One of the two ways to TLS: what a server says before the handshake, and after it."""

    mode: TlsMode
    before: list[Step]
    after: list[Step]
    said: bytes

    def script(self, context: ssl.SSLContext, *steps: Step) -> list[Step]:
        """Returns what a server does whose handshake succeeds."""
        return [*self.before, StartTls(context), *self.after, *steps]

    def connect(self, server: ScriptedServer, settings: Tls, **arguments: object) -> POP3Session:
        """Connects in this way."""
        return POP3Session.connect(server.host, server.port, tls=replace(settings, mode=self.mode), **arguments)

    def accepts(self, settings: Tls, context: ssl.SSLContext) -> None:
        """Makes sure that there is a session."""
        with ScriptedServer(self.script(context, Send(b""))) as server:
            session = self.connect(server, settings)
            assert session.tls_version.startswith("TLSv1.")
            assert session.state is State.AUTHORIZATION
            session.close()

    def refuses(self, settings: Tls, context: ssl.SSLContext, *, fails: str = "alert|EOF") -> str:
        """Returns why there is none; makes sure that the server has heard nothing of a user, and that nobody tries on.

        It accepts a single connection: another one, without TLS for instance, would not be answered.
        """
        with ScriptedServer([*self.before, StartTls(context, fails=fails)]) as server:
            with pytest.raises(TlsError) as caught:
                self.connect(server, settings).login("user", "secret", mechanism="USER")
            assert str(caught.value).startswith(f"127.0.0.1:{server.port}: ")
        assert server.received == self.said
        assert caught.value.retry is Retry.LATER
        return str(caught.value)


@pytest.fixture(
    params=[Mode(TlsMode.IMPLICIT, [], [GREETING], b""), Mode(TlsMode.STARTTLS, STLS, [], b"CAPA\r\nSTLS\r\n")],
    ids=["implicit", "starttls"],
)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each of the two."""
    return request.param


@pytest.fixture
def trusting(authority: TestAuthority) -> Tls:
    """Trusts the authority, and expects pop.example.org."""
    return Tls(ca_file=authority.ca_file, server_name=NAME)


def fingerprint(issued: IssuedCertificate) -> bytes:
    """As ``openssl x509 -fingerprint -sha256`` shows it."""
    return sha256(ssl.PEM_cert_to_DER_cert(issued.cert_file.read_text())).digest()


def serving(issued: IssuedCertificate) -> ssl.SSLContext:
    """A server's context that shows a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert_file, issued.key_file)
    return context


# ── which server is the right one ────────────────────────────────────────────────────────────────────────────────────


def test_name_is_verified_by_an_authority_of_ones_own(
    mode: Mode, server_context: MakeServerContext, trusting: Tls
) -> None:
    """``ca_file`` and ``server_name``: the host is 127.0.0.1, which the certificate does not name."""
    mode.accepts(trusting, server_context())


@pytest.mark.parametrize(
    ("certified", "host"),
    [
        ("127.0.0.1", None),
        ("*.example.org", NAME),
        ("POP.Example.ORG", NAME),
        ("xn--bcher-kva.example", "bücher.example"),
    ],
)
def test_addresses_wildcards_and_other_scripts_are_names(
    mode: Mode, certified: str, host: str | None, server_context: MakeServerContext, trusting: Tls
) -> None:
    """FAULTS 74: the host itself where nothing else is named; RFC 9525 §6.3."""
    mode.accepts(replace(trusting, server_name=host), server_context(certified))


@pytest.mark.parametrize(
    ("certified", "wrong", "why"),
    [
        ("other.example.org", {}, f"not accepted for {NAME}: Hostname mismatch"),
        ("*.org", {}, "Hostname mismatch"),
        ("example.org", {}, "Hostname mismatch"),
        ("127.0.0.1", {}, "Hostname mismatch"),
        (NAME, {"common_name_only": True}, "Hostname mismatch"),
        (NAME, {"expired": True}, "certificate has expired"),
        (NAME, {"not_yet_valid": True}, "certificate is not yet valid"),
        (NAME, {"self_signed": True}, "self[- ]signed certificate"),
        (NAME, {"weak": True}, "key too small|key too weak"),
    ],
)
def test_wrong_certificate_is_refused(
    mode: Mode, certified: str, wrong: dict[str, bool], why: str, server_context: MakeServerContext, trusting: Tls
) -> None:
    """FAULTS 74: whatever is wrong with it, the message says so."""
    said = mode.refuses(trusting, server_context(certified, **wrong))
    assert re.search(why, said)


def test_address_is_not_verified_by_a_name(mode: Mode, server_context: MakeServerContext, trusting: Tls) -> None:
    """FAULTS 74: the host is 127.0.0.1, the certificate is for pop.example.org."""
    said = mode.refuses(replace(trusting, server_name=None), server_context())
    assert "not accepted for 127.0.0.1: IP address mismatch" in said


def test_unknown_authority_is_refused(
    mode: Mode, server_context: MakeServerContext, trusting: Tls, tmp_path: Path
) -> None:
    """FAULTS 74: by ours, which is another, and by the system's."""
    other = TestAuthority(tmp_path)
    assert "unable to get local issuer" in mode.refuses(replace(trusting, ca_file=other.ca_file), server_context())
    assert "unable to get local issuer" in mode.refuses(replace(trusting, ca_file=None), server_context())


@pytest.mark.parametrize(
    "wrong", [{}, {"expired": True}, {"not_yet_valid": True}, {"common_name_only": True}, {"self_signed": True}]
)
def test_fingerprint_makes_any_certificate_the_right_one(
    mode: Mode, wrong: dict[str, bool], authority: TestAuthority
) -> None:
    """FACTS §1a: no chain, no name, no date counts; this very certificate does."""
    issued = authority.issue("other.example", **wrong)
    mode.accepts(Tls(fingerprint=fingerprint(issued)), serving(issued))


def test_fingerprint_makes_every_other_certificate_a_wrong_one(
    mode: Mode, trusting: Tls, authority: TestAuthority
) -> None:
    """One with the right name, from the right authority, too; not a credential goes there."""
    pinned = replace(trusting, fingerprint=fingerprint(authority.issue(NAME)))
    script = [*mode.before, StartTls(serving(authority.issue(NAME)))]
    with ScriptedServer(script) as server, pytest.raises(TlsError, match="SHA-256 fingerprint"):
        mode.connect(server, pinned).login("user", "secret", mechanism="USER")
    assert server.received == mode.said


# ── who we are ───────────────────────────────────────────────────────────────────────────────────────────────────────


def demanding(context: ssl.SSLContext, authority: TestAuthority) -> ssl.SSLContext:
    """Makes a server ask for a client's certificate."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    return context


def test_client_certificate_is_shown(
    mode: Mode, server_context: MakeServerContext, trusting: Tls, authority: TestAuthority
) -> None:
    """FACTS §3.24."""
    mine = authority.issue("me.example.org")
    settings = replace(trusting, client_cert=mine.cert_file, client_key=mine.key_file)
    mode.accepts(settings, demanding(server_context(), authority))


def test_client_certificate_that_is_missing_is_a_tls_error(
    mode: Mode, server_context: MakeServerContext, trusting: Tls, authority: TestAuthority
) -> None:
    """In TLS 1.2 the handshake fails; in 1.3 what follows it does."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = demanding(server_context(), authority)
        context.minimum_version = context.maximum_version = version
        script = [*mode.before, StartTls(context, fails="did not return a certificate")]
        with ScriptedServer(script) as server, pytest.raises(TlsError):
            mode.connect(server, trusting).capabilities()
        assert server.received == mode.said


def test_a_refusal_that_lies_unread_behind_a_failing_write_is_told(
    server_context: MakeServerContext, trusting: Tls, authority: TestAuthority
) -> None:
    """In TLS 1.3 the alert comes after the handshake, when we may be writing already."""
    script = [StartTls(demanding(server_context(), authority), fails="did not return a certificate")]
    with ScriptedServer(script) as server:
        transport = SocketTransport.connect(server.host, server.port, timeout=10)
        transport.start_tls(trusting)
        with pytest.raises(TlsError):
            _go_on(transport)
        transport.close()


def _go_on(transport: SocketTransport) -> None:
    while True:
        transport.send(b"NOOP\r\n")


# ── what TLS there has to be ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(
    mode: Mode, version: ssl.TLSVersion, server_context: MakeServerContext, trusting: Tls
) -> None:
    """FAULTS 75, RFC 8996."""
    context = server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    assert "no TLS connection: " in mode.refuses(trusting, context, fails="version|protocol|alert")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_newer_tls_is_accepted(
    mode: Mode, version: ssl.TLSVersion, server_context: MakeServerContext, trusting: Tls
) -> None:
    """RFC 8314 §3: 1.2 or newer."""
    context = server_context()
    context.minimum_version = context.maximum_version = version
    mode.accepts(trusting, context)


def test_chain_without_end_is_refused(mode: Mode, trusting: Tls, authority: TestAuthority, tmp_path: Path) -> None:
    """FAULTS 76: megabytes of certificates are not taken in."""
    issued = authority.issue(NAME)
    chain = tmp_path / "chain.pem"
    chain.write_text(issued.cert_file.read_text() + authority.ca_file.read_text() * 5000)
    context = serving(issued._replace(cert_file=chain))
    assert "excessive message size" in mode.refuses(trusting, context, fails="alert|EOF|reset")


@pytest.mark.parametrize("ending", [Close(), Goodbye(), Reset()])
def test_stream_that_ends_early_is_half_a_message(
    mode: Mode, ending: Step, server_context: MakeServerContext, trusting: Tls
) -> None:
    """FAULTS 23-25: cut off without close_notify, with one, or by RST; no command follows."""
    talk = [Expect(b"USER user"), OK, Expect(b"PASS secret"), OK, Expect(b"RETR 1"), Send(b"+OK\r\nhalf\r\n.\r")]
    out = io.BytesIO()
    with ScriptedServer(mode.script(server_context(), *talk, ending)) as server:
        session = mode.connect(server, trusting)
        session.login("user", "secret", mechanism="USER")
        with pytest.raises(NetworkError, match="the reply to RETR 1 is incomplete") as caught:
            session.retrieve(1, out)
        assert type(caught.value) is NetworkError
        assert session.state is State.BROKEN
        session.close()
    assert server.lines[-1] == b"RETR 1"


def test_server_is_told_its_name(mode: Mode, server_context: MakeServerContext, trusting: Tls) -> None:
    """FAULTS 77, RFC 6066 §3: SNI, but no address in it."""
    asked: list[str | None] = []
    for name, certified in ((NAME, NAME), (None, "127.0.0.1")):
        context = server_context(certified)
        context.sni_callback = lambda _sock, told, _context: asked.append(told)
        mode.accepts(replace(trusting, server_name=name), context)
    assert asked == [NAME, None]


def test_server_is_told_the_protocol(mode: Mode, server_context: MakeServerContext, trusting: Tls) -> None:
    """FAULTS 77, RFC 7301: ``pop3``; a server that has it chooses it, one that has others may go on without."""
    for spoken, chosen in ((["imap", "pop3"], "pop3"), (["http/1.1"], None)):
        context = server_context()
        context.set_alpn_protocols(spoken)
        with ScriptedServer(mode.script(context)) as server:
            session = mode.connect(server, trusting)
            assert session._conversation.transport._channel._tls.selected_alpn_protocol() == chosen
            session.close()


# ── a real server ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def certificate(dovecot: Dovecot) -> bytes:
    """The real server's, as DER."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((dovecot.host, dovecot.tls_port)))


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
@pytest.mark.parametrize("known_by", ["address", "name", "fingerprint"])
def test_dovecot_is_known_and_logged_in_to(
    tls: TlsMode,
    known_by: str,
    dovecot: Dovecot,
    mailbox: MakeMailbox,
    authority: TestAuthority,
    certificate: bytes,
) -> None:
    """By 127.0.0.1 in its certificate, by localhost in it, or by the certificate itself."""
    settings = {
        "address": Tls(tls, ca_file=authority.ca_file),
        "name": Tls(tls, ca_file=authority.ca_file, server_name="localhost"),
        "fingerprint": Tls(tls, fingerprint=sha256(certificate).digest()),
    }[known_by]
    box = mailbox(b"Subject: x\r\n\r\n")
    port = dovecot.tls_port if tls is TlsMode.IMPLICIT else dovecot.port
    with POP3Session.connect(dovecot.host, port, tls=settings) as session:
        session.login(box.user, box.password)
        assert session.message_count() == 1


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda settings: replace(settings, server_name="pop.example.org"), "Hostname mismatch"),
        (lambda settings: replace(settings, ca_file=None), "unable to get local issuer"),
        (lambda settings: replace(settings, fingerprint=b"x" * 32), "SHA-256 fingerprint"),
    ],
)
def test_dovecot_is_not_taken_for_another(
    tls: TlsMode, change: Callable[[Tls], Tls], why: str, dovecot: Dovecot, authority: TestAuthority
) -> None:
    """And the error is one of TLS, in either way."""
    port = dovecot.tls_port if tls is TlsMode.IMPLICIT else dovecot.port
    with pytest.raises(TlsError, match=why):
        POP3Session.connect(dovecot.host, port, tls=change(Tls(tls, ca_file=authority.ca_file)))
