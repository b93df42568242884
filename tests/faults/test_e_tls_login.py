"""FAULTS §2 E: the secure line, and the login on it."""

import base64
import hashlib
import json
import re
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import which

import pytest

import fetchd.pop3.tls
from fetchd import events
from fetchd.config import SecretReader, load
from fetchd.errors import (
    AccountError,
    AuthenticationError,
    ConfigError,
    LoginDelayError,
    MailboxBusyError,
    NetworkError,
    POP3Error,
    ProtocolError,
    Retry,
    SecretError,
    TlsError,
)
from fetchd.model import Secret, SecretCommand, SecretEnv, SecretFile, SecretSource, SecretValue, Tls, TlsMode
from fetchd.pop3.transport import SocketTransport
from fetchd.sessions import Connector
from tests.faults import certificates
from tests.faults.bench import PASSWORD, USER, Bench, message, run_daemon, stored
from tests.faults.bounds import MB, bounded
from tests.faults.conftest import NAME, server_context
from tests.faults.peers import OpenSsl, ScramServer, coded
from tests.faults.server import Answer, FaultyServer, Session
from tests.faults.steps import GREETING, Flood, Handshake, Honest, listed
from tests.servers.pki import TestAuthority
from tests.servers.scripted import Close, Silence

# ── STLS that is not to be had ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("capa", [listed(b"TOP", b"USER"), b"-ERR what?\r\n", listed()])
def test_without_stls_nothing_goes_on(bench: Bench, server: FaultyServer, starttls: Tls, capa: bytes) -> None:
    """FAULTS 68: required and not offered: zero octets of credentials."""
    server.faults[b"CAPA"] = capa
    bench.fails(TlsError, "does not offer STLS", retry=Retry.LATER, told=False, tls=starttls)
    assert server.lines == [b"CAPA"]


@pytest.mark.parametrize("reply", [b"-ERR TLS not available\r\n", b"-ERR [SYS/TEMP] later\r\n", b"-ERR\r\n"])
def test_refused_stls_ends_the_session(bench: Bench, server: FaultyServer, starttls: Tls, reply: bytes) -> None:
    """FAULTS 69: no fall-back to plain text, and no second try in this poll."""
    server.capabilities.append("STLS")
    server.faults[b"STLS"] = reply
    bench.fails(TlsError, "STLS was refused", retry=Retry.LATER, told=False, tls=starttls)
    assert (server.lines, len(server.sessions)) == ([b"CAPA", b"STLS"], 1)


def test_plain_text_after_stls_ends_the_session(bench: Bench, server: FaultyServer, starttls: Tls) -> None:
    """FAULTS 70: ``+OK``, and to our first TLS record another line of POP3."""

    def go_on(session: Session) -> Answer:
        session.send(b"+OK begin TLS\r\n")
        session.hear()
        return [b"+OK\r\n", Silence()]

    server.capabilities.append("STLS")
    server.faults[b"STLS"] = go_on
    bench.fails(TlsError, "plain POP3", retry=Retry.LATER, told=False, tls=starttls)


@pytest.mark.parametrize("injected", [b"+OK\r\n", b"+OK\r\n+OK\r\n", b"-ERR [AUTH] x\r\n"])
def test_a_reply_in_the_same_segment_as_that_to_stls(
    bench: Bench, server: FaultyServer, starttls: Tls, good_context: ssl.SSLContext, injected: bytes
) -> None:
    """FAULTS 71: it would be taken for an answer that came over TLS (CVE-2021-38371 and its kin)."""
    server.capabilities.append("STLS")
    server.faults[b"STLS"] = [b"+OK\r\n" + injected, Handshake(good_context)]
    bench.fails(ProtocolError, "tampering", told=False, tls=starttls)
    assert server.lines == [b"CAPA", b"STLS"]


@pytest.mark.parametrize("injected", [b"+OK", b"-", b"\r", b"\0"])
def test_a_fragment_in_the_same_segment_as_the_reply_to_stls(
    bench: Bench, server: FaultyServer, starttls: Tls, good_context: ssl.SSLContext, injected: bytes
) -> None:
    """FAULTS 72: no line, and yet an octet too many."""
    server.capabilities.append("STLS")
    server.faults[b"STLS"] = [b"+OK\r\n" + injected, Handshake(good_context)]
    bench.fails(ProtocolError, "tampering", told=False, tls=starttls)
    assert server.lines == [b"CAPA", b"STLS"]


@pytest.mark.parametrize("injected", [b"+OK\r\n", b"+", b"-ERR x\r\n"])
def test_octets_in_a_segment_of_their_own_before_the_handshake(
    bench: Bench, server: FaultyServer, starttls: Tls, good_context: ssl.SSLContext, injected: bytes
) -> None:
    """FAULTS 73: they are no TLS record, so the handshake fails."""

    def inject(session: Session) -> Answer:
        session.send(b"+OK\r\n")
        session.hear()
        return [injected, Handshake(good_context)]

    server.capabilities.append("STLS")
    server.faults[b"STLS"] = inject
    bench.fails(TlsError, "", retry=Retry.LATER, told=False, tls=starttls)
    assert server.lines == [b"CAPA", b"STLS"]


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────────


def refuses(bench: Bench, context: ssl.SSLContext, tls: Tls, says: str) -> None:
    """By implicit TLS and by STLS."""
    bench.server.tls = context
    bench.fails(TlsError, says, retry=Retry.LATER, told=False, tls=tls)
    bench.server.tls, bench.server.stls = None, context
    bench.fails(TlsError, says, retry=Retry.LATER, told=False, tls=replace(tls, mode=TlsMode.STARTTLS))


MakeCertificate = Callable[[TestAuthority, Path], ssl.SSLContext]
BAD: dict[str, tuple[MakeCertificate, str]] = {
    "expired": (lambda ca, _: server_context(ca.issue(NAME, expired=True)), "expired"),
    "not-yet-valid": (
        lambda ca, path: server_context(
            certificates.make(path, ca, common_name=NAME, names=(NAME,), starts=timedelta(days=1))
        ),
        "not yet valid",
    ),
    "self-signed": (
        lambda _, path: server_context(certificates.make(path, None, common_name=NAME, names=(NAME,))),
        "self-signed",
    ),
    "unknown-authority": (
        lambda _, path: server_context(TestAuthority(path).issue(NAME)),
        "unable to get local issuer|self-signed certificate in",
    ),
    "wrong-host": (lambda ca, _: server_context(ca.issue("pop.example.com")), "Hostname mismatch"),
    "common-name-only": (
        lambda ca, path: server_context(certificates.make(path, ca, common_name=NAME)),
        "Hostname mismatch",
    ),
    "wildcard-two-labels": (lambda ca, _: server_context(ca.issue("*.org")), "Hostname mismatch"),
    "wildcard-inside": (lambda ca, _: server_context(ca.issue("po*.example.org")), "Hostname mismatch"),
    "address-only": (lambda ca, _: server_context(ca.issue("127.0.0.1")), "Hostname mismatch"),
    "weak-key": (
        lambda ca, path: weak_context(certificates.make(path, ca, common_name=NAME, names=(NAME,), rsa_bits=1024)),
        "key too (weak|small)",
    ),
}


def weak_context(issued: certificates.IssuedCertificate) -> ssl.SSLContext:
    """A server's that does not mind what it has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(issued.cert_file, issued.key_file)
    return context


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_certificate_is_refused(
    bench: Bench, authority: TestAuthority, tmp_path: Path, implicit: Tls, kind: str
) -> None:
    """FAULTS 74: before an octet of a credential."""
    make, says = BAD[kind]
    (tmp_path / "pki").mkdir()
    refuses(bench, make(authority, tmp_path / "pki"), implicit, says)


@pytest.mark.parametrize(
    ("names", "name"), [(("*.example.org",), NAME), (("127.0.0.1",), None), ((NAME, "other.example"), NAME)]
)
def test_a_good_certificate_is_accepted(
    bench: Bench,
    server: FaultyServer,
    authority: TestAuthority,
    implicit: Tls,
    names: tuple[str, ...],
    name: str | None,
) -> None:
    """FAULTS 74: a wildcard for one label, an IP address among the names, one name of several."""
    server.tls = server_context(authority.issue(*names))
    bench.fill(1)
    bench.poll(tls=replace(implicit, server_name=name))
    assert bench.mail() == stored(1)


def test_revocation_is_not_checked_and_that_is_said() -> None:
    """FAULTS 74: neither CRL nor OCSP."""
    assert "Revocation is not checked" in (fetchd.pop3.tls.__doc__ or "")
    assert "Revocation is not checked" in (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(bench: Bench, authority: TestAuthority, implicit: Tls, version: ssl.TLSVersion) -> None:
    """FAULTS 75: TLS 1.2 is the oldest."""
    context = weak_context(authority.issue(NAME))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    refuses(bench, context, implicit, "unsupported protocol|alert protocol version")


# ── a peer that abuses TLS ───────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_of_10_mb_is_refused(
    bench: Bench, server: FaultyServer, authority: TestAuthority, implicit: Tls, tmp_path: Path
) -> None:
    """FAULTS 76: and not kept."""
    issued = authority.issue(NAME)
    (tmp_path / "pki").mkdir()
    padded = certificates.make(tmp_path / "pki", authority, common_name="padding", padding=MB)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(issued.cert_file.read_bytes() + 10 * padded.cert_file.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, issued.key_file)
    server.tls = context
    with bounded(8 * MB):
        bench.fails(TlsError, "excessive message size", retry=Retry.LATER, told=False, tls=implicit)


@pytest.fixture
def openssl(authority: TestAuthority) -> Iterator[Callable[..., OpenSsl]]:
    """Starts them, and ends them."""
    if which("openssl") is None:
        pytest.skip("there is no openssl to ask for what Python's ssl cannot do")
    made: list[OpenSsl] = []

    def make(*options: str) -> OpenSsl:
        made.append(OpenSsl(authority, *options))
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_a_request_to_renegotiate_is_refused(bench: Bench, openssl: Callable[..., OpenSsl], implicit: Tls) -> None:
    """FAULTS 76: TLS 1.2 has that, and each one costs us a handshake."""
    peer = openssl("-tls1_2")

    def talk() -> None:
        peer.wait_for(rb"CIPHER is")
        peer.type(b"+OK ready\n")
        peer.wait_for(rb"CAPA|USER")
        peer.type(b"r\n")

    talker = threading.Thread(target=talk)
    talker.start()
    bench.fails(TlsError, "handshake failure|renegotiation", retry=Retry.LATER, port=peer.port, tls=implicit)
    talker.join()
    peer.end()
    assert b"no renegotiation" in peer.said


def test_a_flood_of_key_updates_ends_by_the_deadline(
    bench: Bench, openssl: Callable[..., OpenSsl], implicit: Tls
) -> None:
    """FAULTS 76: each wants one in return (TLS 1.3), and none is an octet of the greeting."""
    peer = openssl("-tls1_3")
    over = threading.Event()

    def talk() -> None:
        peer.wait_for(rb"CIPHER is")
        with suppress(BrokenPipeError):
            while not over.wait(0.002):  # one that is read together with the next is not seen
                peer.type(b"K\n")

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        bench.fails(NetworkError, r"took longer than 0\.5 s", told=False, port=peer.port, tls=implicit, timeout=0.5)
    finally:
        over.set()
        talker.join()
    peer.end()
    assert peer.said.count(b"SSL_do_handshake -> 1") > 10


# ── names, and the wrong port ────────────────────────────────────────────────────────────────────────────────────


def test_the_server_is_told_its_name(
    bench: Bench, server: FaultyServer, authority: TestAuthority, implicit: Tls
) -> None:
    """FAULTS 77: SNI: one address may serve many names."""
    names: list[str | None] = []
    server.tls = server_context(authority.issue(NAME))
    server.tls.sni_callback = lambda _sock, name, _context: names.append(name)
    bench.fill(1)
    bench.poll(tls=implicit)
    assert names == [NAME]


def test_the_server_is_told_the_protocol(
    bench: Bench, server: FaultyServer, authority: TestAuthority, implicit: Tls
) -> None:
    """FAULTS 77: ALPN ``pop3``: a line that was led to another service ends in the handshake (ALPACA)."""
    chosen: list[str | None] = []
    server.tls = server_context(authority.issue(NAME))
    server.tls.set_alpn_protocols(["pop3", "imap"])
    server.faults[GREETING] = lambda session: chosen.append(session.alpn) or Honest()
    bench.fill(1)
    bench.poll(tls=implicit)
    assert chosen == ["pop3"]


def test_a_server_that_knows_another_protocol_by_alpn(
    bench: Bench, server: FaultyServer, authority: TestAuthority, implicit: Tls
) -> None:
    """FAULTS 77: OpenSSL's servers then go on without one."""
    server.tls = server_context(authority.issue(NAME))
    server.tls.set_alpn_protocols(["http/1.1"])
    bench.fill(1)
    bench.poll(tls=implicit)
    assert bench.mail() == stored(1)


def test_tls_on_the_plain_port(bench: Bench, server: FaultyServer, implicit: Tls) -> None:
    """FAULTS 78: the server greets before we have said anything; the error says what it speaks."""
    bench.fails(TlsError, "plain POP3", retry=Retry.LATER, told=False, tls=implicit)


def test_plain_text_on_the_port_of_tls(bench: Bench, server: FaultyServer, good_context: ssl.SSLContext) -> None:
    """FAULTS 78: each waits for the other: ends by the deadline, with nothing said."""
    server.tls = good_context
    bench.fails(NetworkError, "the greeting is incomplete", told=False, timeout=0.3)
    assert [bytes(session.received) for session in server.sessions] == [b""]


# ── which way to log in ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def distant(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is not on this host: others can listen in."""
    monkeypatch.setattr(SocketTransport, "is_local", property(lambda self: False))


BANNER = b"<1896.697170952@dbc.mtview.ca.us>"
OFFERS = [["SASL PLAIN LOGIN", "USER"], ["SASL PLAIN"], ["USER"], []]


@pytest.mark.usefixtures("distant")
@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_no_clear_text_before_tls(bench: Bench, server: FaultyServer, offer: list[str]) -> None:
    """FAULTS 79: PLAIN, LOGIN, USER and APOP are never chosen on a line on which others can listen in."""
    server.capabilities = ["UIDL", *offer]
    server.faults[GREETING] = b"+OK ready " + BANNER + b"\r\n"
    bench.fails(TlsError, "not encrypted", retry=Retry.HOLD, told=False)


def test_what_was_offered_before_tls_does_not_count(
    bench: Bench, server: FaultyServer, starttls: Tls, good_context: ssl.SSLContext
) -> None:
    """FAULTS 79: APOP and SCRAM there, PLAIN here: PLAIN it is, over TLS."""
    server.stls = good_context
    server.faults[GREETING] = b"+OK ready " + BANNER + b"\r\n"
    server.faults[b"CAPA"] = lambda session: (
        listed(b"UIDL", b"SASL PLAIN")
        if session.over_tls
        else listed(b"STLS", b"SASL SCRAM-SHA-256 CRAM-MD5 LOGIN", b"USER")
    )
    plain = b"AUTH PLAIN " + base64.b64encode(b"\0" + USER.encode() + b"\0" + PASSWORD)
    server.faults[plain] = lambda session: session.log_in()
    bench.fill(1)
    bench.poll(tls=starttls)
    assert bench.mail() == stored(1)
    (session,) = server.sessions
    assert session.lines[session.lines.index(b"STLS") + 1 : session.lines.index(plain)] == [b"CAPA"]
    assert server.credentials() == [plain]


@pytest.mark.parametrize(
    "greeting",
    [
        b"+OK <",
        b"+OK <<<<>>>>",
        b"+OK <a@b",
        b"+OK <no-at-sign>",
        b"+OK <a@b c>",
        b"+OK <@>",
        b"+OK <\xff\xfe@\x80>",
        b"+OK " + b"<" * 8000,
        b"+OK " + b"<a@" * 2500,
        b"+OK " + b"@" * 4000 + b">" * 4000,
    ],
    ids=["open", "nested", "unclosed", "no-at", "blank", "empty", "8-bit", "angles", "msg-ids", "at-signs"],
)
def test_a_malformed_banner_offers_no_apop(bench: Bench, server: FaultyServer, greeting: bytes) -> None:
    """FAULTS 80: and takes no time to find out."""
    server.faults[GREETING] = greeting + b"\r\n"
    bench.fill(1)
    bench.poll()
    assert bench.mail() == stored(1)
    assert server.count(b"APOP") == 0


def test_a_banner_of_a_megabyte_is_an_error(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 80: a line that is too long, and not kept."""
    server.faults[GREETING] = b"+OK <" + b"1" * MB + b"@x>\r\n"
    with bounded(8 * MB):
        bench.fails(ProtocolError, "a line is longer than", told=False)


def test_a_banner_may_come_again(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 80: nobody can tell from one greeting; on this host, where APOP may be chosen, nobody listens in."""
    server.faults[GREETING] = b"+OK ready " + BANNER + b"\r\n"
    digest = hashlib.md5(BANNER + PASSWORD).hexdigest().encode()
    server.faults[b"APOP"] = lambda session: (
        session.log_in() if session.lines[-1] == b"APOP " + USER.encode() + b" " + digest else b"-ERR no\r\n"
    )
    for number in (1, 2):
        bench.fill(number)
        bench.poll()
    assert bench.mail() == stored(1, 2)


# ── SASL ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("mechanism", "challenges"),
    [
        ("CRAM-MD5", [b"no base64!"]),
        ("CRAM-MD5", [b"YQ"]),
        ("CRAM-MD5", [b"Y=Q="]),
        ("CRAM-MD5", [b""]),
        ("CRAM-MD5", [coded(b"<1@x>"), coded(b"<2@x>")]),
        ("PLAIN", [coded(b"more?")]),
        ("LOGIN", [coded(b"User:"), coded(b"Password:"), coded(b"Shoe size:")]),
        ("SCRAM-SHA-256", [b""]),
        ("SCRAM-SHA-256", [coded(b"\xff\xfe")]),
    ],
    ids=["not-base64", "unpadded", "padded-within", "empty", "cram-again", "plain", "login", "scram", "not-utf8"],
)
def test_a_challenge_that_breaks_the_exchange_is_cancelled(
    bench: Bench, server: FaultyServer, mechanism: str, challenges: list[bytes]
) -> None:
    """FAULTS 81: with ``*`` (RFC 5034 §4), and no other way is tried on this line."""
    said: list[bytes] = []

    def challenge(session: Session) -> Answer:
        said.extend(session.ask(b"+ " + text + b"\r\n") for text in challenges)
        return b"-ERR cancelled\r\n"

    server.capabilities = ["UIDL", f"SASL {mechanism}", "USER"]
    server.faults[b"AUTH"] = challenge
    bench.fails(ProtocolError, "AUTH|CRAM-MD5|LOGIN|PLAIN|SCRAM")
    assert said[-1] == b"*"
    assert b"*" not in said[:-1]
    assert [verb for verb in (b"USER", b"PASS", b"QUIT", b"STAT") if server.count(verb)] == []


@pytest.mark.parametrize("flood", [Flood(b"QUJD" * 16384), b"QUJD" * (MB // 4) + b"\r\n"], ids=["endless", "1-mb"])
def test_a_challenge_of_a_megabyte_is_an_error(bench: Bench, server: FaultyServer, flood: Flood | bytes) -> None:
    """FAULTS 81: and not kept; where it ends nobody knows, so it cannot be answered either."""
    server.capabilities = ["UIDL", "SASL CRAM-MD5", "USER"]
    server.faults[b"AUTH"] = [b"+ ", flood]
    with bounded(8 * MB):
        bench.fails(ProtocolError, "longer than")
    assert server.count(b"PASS") == 0


def test_challenges_without_end_are_an_error(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 81: one after the other, each of them lawful for LOGIN."""

    def challenge(session: Session) -> Answer:
        for _ in range(100):
            if session.ask(b"+ VXNlcjo=\r\n") == b"*":
                return b"-ERR\r\n"
        return b"-ERR\r\n"

    server.capabilities = ["UIDL", "SASL LOGIN"]
    server.faults[b"AUTH"] = challenge
    bench.fails(ProtocolError, "one challenge too many")


def scram(bench: Bench, server: ScramServer) -> None:
    bench.server.capabilities = ["UIDL", "SASL SCRAM-SHA-256 PLAIN", "USER"]
    bench.server.faults[b"AUTH"] = server


def test_scram_with_an_honest_server(bench: Bench) -> None:
    """FAULTS 82: what follows would else prove nothing."""
    scram(bench, ScramServer(PASSWORD))
    bench.fill(1)
    bench.poll()
    assert bench.mail() == stored(1)
    assert bench.server.count(b"AUTH") == 1


@pytest.mark.parametrize(
    "first",
    [
        lambda nonce: "r=other,s=QUJDREVGR0hJSktMTU5PUA==,i=4096",
        lambda nonce: f"r=x{nonce},s=QUJDREVGR0hJSktMTU5PUA==,i=4096",
        lambda nonce: f"r={nonce},s=QUJDREVGR0hJSktMTU5PUA==,i=4096",
        lambda nonce: f"r={nonce}ext,s=QUJDREVGR0hJSktMTU5PUA==,i=1",
        lambda nonce: f"r={nonce}ext,s=QUJDREVGR0hJSktMTU5PUA==,i=0",
        lambda nonce: f"r={nonce}ext,s=QUJDREVGR0hJSktMTU5PUA==,i=-4096",
        lambda nonce: f"r={nonce}ext,s=QUJDREVGR0hJSktMTU5PUA==,i=1000000000",
        lambda nonce: f"r={nonce}ext,s=QUJDREVGR0hJSktMTU5PUA==,i=" + "9" * 5000,
        lambda nonce: f"s=QUJDREVGR0hJSktMTU5PUA==,r={nonce}ext,i=4096",
        lambda nonce: f"r={nonce}ext,i=4096",
        lambda nonce: f"m=unknown,r={nonce}ext,s=QUJDREVGR0hJSktMTU5PUA==,i=4096",
        lambda nonce: f"r={nonce}ext,s=,i=4096",
        lambda nonce: "v=QUJDREVGR0hJSktMTU5PUA==",
    ],
    ids=[
        *["another-nonce", "nonce-behind", "nonce-alone", "i=1", "i=0", "i<0", "i=10^9", "i=huge"],
        *["reordered", "no-salt", "extension", "empty-salt", "final-first"],
    ],
)
def test_scram_gives_no_proof_to_a_server_that_plays_false(bench: Bench, first: Callable[[str], str]) -> None:
    """FAULTS 82: nothing that was keyed with the password goes out, nor the password by another way."""
    server = ScramServer(PASSWORD, first)
    scram(bench, server)
    bench.fails(ProtocolError, "SCRAM-SHA-256")
    assert server.heard == [b"*"]
    assert (bench.server.count(b"AUTH"), bench.server.count(b"PASS")) == (1, 0)


@pytest.mark.parametrize(
    "final",
    [
        lambda signature: [],
        lambda signature: ["v=" + "A" * 43 + "="],
        lambda signature: ["e=invalid-proof"],
    ],
    ids=["no-signature", "wrong-signature", "error-and-ok"],
)
def test_scram_fails_without_a_valid_signature_of_the_server(bench: Bench, final: Callable[[str], list[str]]) -> None:
    """FAULTS 82: whatever the server calls it; and no other way is tried with it."""
    scram(bench, ScramServer(PASSWORD, final=final))
    bench.fill(1)
    bench.fails(AuthenticationError, "the server comes", retry=Retry.LATER)
    assert bench.mail() == []
    assert (bench.server.count(b"AUTH"), bench.server.count(b"PASS"), bench.server.count(b"STAT")) == (1, 0, 0)


@pytest.mark.parametrize(
    "final",
    [
        lambda signature: ["nonsense"],
        lambda signature: [""],
        lambda signature: [f"v={signature}", f"v={signature}"],
        lambda signature: [f"x=1,v={signature}"],
    ],
    ids=["nonsense", "empty", "twice", "reordered"],
)
def test_scram_is_cancelled_where_the_last_message_is_none(bench: Bench, final: Callable[[str], list[str]]) -> None:
    """FAULTS 82: likewise."""
    server = ScramServer(PASSWORD, final=final)
    scram(bench, server)
    bench.fails(ProtocolError, "SCRAM-SHA-256")
    assert server.heard[-1] == b"*"
    assert (bench.server.count(b"AUTH"), bench.server.count(b"PASS"), bench.server.count(b"STAT")) == (1, 0, 0)


@pytest.mark.parametrize(("mechanism", "acknowledged"), [("OAUTHBEARER", b"AQ=="), ("XOAUTH2", b"")])
def test_an_oauth_error_is_acknowledged_and_told(
    bench: Bench, server: FaultyServer, mechanism: str, acknowledged: bytes
) -> None:
    """FAULTS 83: the server's JSON, our word of acknowledgement, its -ERR (curl's tests 889 and 890)."""
    said: list[bytes] = []

    def refuse(session: Session) -> Answer:
        said.append(session.ask(b"+ \r\n"))
        said.append(session.ask(b"+ " + coded(b'{"status":"invalid_token"}') + b"\r\n"))
        return b"-ERR [AUTH] no\r\n"

    server.capabilities = ["UIDL", f"SASL {mechanism}"]
    server.faults[b"AUTH"] = refuse
    bench.fails(AuthenticationError, "invalid_token", retry=Retry.HOLD, mechanism=mechanism)
    assert PASSWORD in base64.b64decode(said[0])
    assert said[1] == acknowledged


def test_a_way_that_breaks_the_line_comes_last_next_time(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 85: CRAM-MD5 ends in a disconnect; the next session takes another way that the line permits."""
    server.capabilities = ["UIDL", "SASL CRAM-MD5", "USER"]
    server.faults[b"AUTH"] = lambda session: session.ask(b"+ " + coded(BANNER) + b"\r\n") and Close()
    bench.fill(1)
    bench.fails(NetworkError, "the reply to AUTH")
    bench.poll()
    assert bench.mail() == stored(1)
    assert server.count(b"AUTH") == 1


@pytest.mark.usefixtures("distant")
def test_a_way_that_breaks_the_line_opens_no_weaker_one(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 85: where others can listen in, the password itself is never sent for it."""
    server.capabilities = ["UIDL", "SASL CRAM-MD5 PLAIN LOGIN", "USER"]
    server.faults[b"AUTH"] = lambda session: session.ask(b"+ " + coded(BANNER) + b"\r\n") and Close()
    for _ in range(3):
        bench.fails(NetworkError, "the reply to AUTH")
    assert (server.count(b"USER"), server.count(b"AUTH")) == (0, 3)
    assert all(PASSWORD not in session.received for session in server.sessions)


# ── what a refusal means ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["USER", "PASS"])
@pytest.mark.parametrize(
    ("reply", "kind", "retry"),
    [
        ("[AUTH] authentication failed", AuthenticationError, Retry.HOLD),
        ("[IN-USE] maildrop locked", MailboxBusyError, Retry.SOON),
        ("[LOGIN-DELAY] too early", LoginDelayError, Retry.LATER),
        ("[SYS/TEMP] backend down", POP3Error, Retry.SOON),
        ("[SYS/PERM] ask your provider", POP3Error, Retry.LATER),
        ("no", AuthenticationError, Retry.LATER),
        ("", AuthenticationError, Retry.LATER),
    ],
)
def test_a_refused_login_says_what_comes_next(
    bench: Bench, server: FaultyServer, verb: str, reply: str, kind: type[POP3Error], retry: Retry
) -> None:
    """FAULTS 86: only ``[AUTH]`` is certain; without a code the password may be right, so it is tried again, later."""
    server.faults[verb.encode()] = f"-ERR {reply}".rstrip().encode() + b"\r\n"
    error = bench.fails(kind, re.escape(reply), retry=retry)
    assert "password" not in str(error)
    assert server.count(b"PASS") == (verb == "PASS")


def test_a_refusal_without_a_code_is_not_retried_for_ever(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 86: a provider may lock an account after some: we stop before."""
    server.faults[b"PASS"] = b"-ERR no\r\n"
    run_daemon(bench, 100 * 3600.0)
    bench.always()
    assert 1 < server.count(b"PASS") < 15


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "password",
    [b"two words  and more", b" leading", b"trailing ", "Zoë €".encode(), b"\xff\xfe", b"p" * 500, b"%s%n%d", b"\"'\\"],
    ids=["blanks", "leading", "trailing", "utf-8", "8-bit", "500", "percent", "quotes"],
)
def test_a_password_is_sent_as_it_is(bench: Bench, server: FaultyServer, password: bytes) -> None:
    """FAULTS 87: every octet of it, and none more."""
    (bench.root / "secret").write_bytes(password + b"\n")
    bench.secrets = {password}
    bench.fill(1)
    bench.poll()
    assert server.lines[server.lines.index(b"USER " + USER.encode()) + 1] == b"PASS " + password
    assert bench.mail() == stored(1)


def secret_file(root: Path, octets: bytes) -> SecretSource:
    (root / "bad").write_bytes(octets)
    return SecretFile(root / "bad")


def secret_command(root: Path, octets: bytes) -> SecretSource:
    secret_file(root, octets)
    return SecretCommand(("cat", str(root / "bad")))


def secret_value(_: Path, octets: bytes) -> SecretSource:
    return SecretValue(Secret(octets))


@pytest.mark.parametrize("octets", [b"a\rb", b"a\nb", b"a\0b", b"ab\n\n", b"ab\r", b"\nab"])
@pytest.mark.parametrize("source", [secret_file, secret_command, secret_value])
def test_a_password_that_no_command_can_carry(
    bench: Bench, server: FaultyServer, source: Callable[[Path, bytes], SecretSource], octets: bytes
) -> None:
    """FAULTS 88: CR, LF or NUL in a password: refused before anybody is called."""
    bench.secrets = {octets}
    bench.fails(SecretError, "which no POP3 command can carry", retry=Retry.LATER, password=source(bench.root, octets))
    assert server.sessions == []


@pytest.mark.parametrize("octets", ["a\rb", "a\nb", "ab\n"])
def test_a_password_in_the_environment_that_no_command_can_carry(
    bench: Bench, server: FaultyServer, octets: str
) -> None:
    """FAULTS 88: likewise; the environment holds no line ends that are not meant."""
    bench.world = replace(bench.world, secrets=SecretReader({"BAD": octets}))
    bench.fails(SecretError, "which no POP3 command can carry", retry=Retry.LATER, password=SecretEnv("BAD"))
    assert server.sessions == []


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("source", [secret_file, secret_command])
def test_one_line_end_of_a_secret_is_not_part_of_it(
    bench: Bench, server: FaultyServer, source: Callable[[Path, bytes], SecretSource], end: bytes
) -> None:
    """FAULTS 88: every editor and every command leaves one."""
    bench.fill(1)
    bench.poll(password=source(bench.root, PASSWORD + end))
    assert b"PASS " + PASSWORD in server.lines


@pytest.mark.parametrize("octet", ["\r", "\n", "\0"], ids=["cr", "lf", "nul"])
@pytest.mark.parametrize("key", ["user", "host", "maildir", "server_name"])
def test_a_configuration_that_no_command_can_carry(tmp_path: Path, key: str, octet: str) -> None:
    """FAULTS 88: refused when it is read."""
    account = {
        "host": "pop.example.org",
        "user": "alice",
        "password": {"env": "PW"},
        "tls": {"mode": "implicit"},
        "deliver": {"maildir": str(tmp_path / "Maildir")},
    }
    bad = f"a{octet}DELE 1"
    match key:
        case "maildir":
            account["deliver"] = {"maildir": str(tmp_path / bad)}
        case "server_name":
            account["tls"] = {"mode": "implicit", "server_name": bad}
        case _:
            account[key] = bad
    config = tmp_path / "fetchd.yaml"
    config.write_text(json.dumps({"accounts": {"alice": account}}))
    with pytest.raises(ConfigError, match=key) as caught:
        load(config, environ={})
    assert all("\r" not in line and "\n" not in line and "\0" not in line for line in caught.value.problems)


# ── the trace ────────────────────────────────────────────────────────────────────────────────────────────────────


ECHOED = [
    PASSWORD,
    base64.b64encode(PASSWORD),
    base64.b64encode(b"\0" + USER.encode() + b"\0" + PASSWORD),
    PASSWORD.hex().encode(),
]


@pytest.mark.parametrize("echoed", range(len(ECHOED)), ids=["clear", "base64", "base64-of-more", "hex"])
@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        *[(verb, b"-ERR x1 ") for verb in ("CAPA", "USER", "PASS", "STAT", "UIDL", "LIST", "RETR 1", "DELE 1", "QUIT")],
        *[
            (verb, b"+OK x1 ")
            for verb in ("greeting", "CAPA", "USER", "PASS", "UIDL", "LIST", "RETR 1", "DELE 1", "QUIT")
        ],
        ("STAT", b"+OK 1 9 "),
    ],
)
def test_no_secret_is_in_the_trace_of_a_server_that_echoes(
    bench: Bench, server: FaultyServer, verb: str, reply: bytes, echoed: int
) -> None:
    """FAULTS 89: nor in the error that its refusal makes, nor in an event, a log line or the store."""
    bench.fill(1)
    bench.world = replace(bench.world, connect=Connector(trace_to=bench.world.emit))
    rest = {"RETR 1": message(1) + b".\r\n", "CAPA": b".\r\n", "UIDL": b".\r\n", "LIST": b".\r\n"}.get(verb, b"")
    key = GREETING if verb == "greeting" else verb.encode()
    server.faults[key] = reply + ECHOED[echoed] + b"\r\n" + (rest if reply.startswith(b"+") else b"")
    error: AccountError | None = None
    try:
        bench._poll({})
    except AccountError as raised:
        error = raised
    bench.always(error)
    traced = [event.line for event in bench.said(events.Traced)]
    assert any(line.startswith(reply.decode()) and "***" in line for line in traced), traced
    assert "PASS ***" in traced or verb == "USER"
    assert not any(USER in line for line in traced)
