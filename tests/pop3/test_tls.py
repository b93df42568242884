"""TLS contexts: what they trust, what they show, and how they are shared."""

import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from fetchd.errors import TlsError
from fetchd.model import Tls
from fetchd.pop3.tls import TlsContexts, client_context
from tests.servers.pki import TestAuthority


def test_everything_is_verified_by_default() -> None:
    """FACTS §0.4: chain, host name, and TLS 1.2 at least."""
    context = client_context(Tls())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not context.hostname_checks_common_name
    assert context.get_ca_certs() or ssl.get_default_verify_paths().capath


def test_ca_file_is_trusted_instead_of_the_systems(authority: TestAuthority) -> None:
    """Not besides: who names an authority means no other."""
    context = client_context(Tls(ca_file=authority.ca_file))
    (only,) = context.get_ca_certs()
    assert only["subject"] == ((("commonName", "fetchd test authority"),),)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_missing_file_is_named(tmp_path: Path, not_pem: Path, authority: TestAuthority) -> None:
    """A path, and why: no "SSL error"."""
    gone = tmp_path / "gone.pem"
    with pytest.raises(TlsError, match=rf"{gone}: .*No such file"):
        client_context(Tls(ca_file=gone))
    with pytest.raises(TlsError, match=rf"{not_pem}: .*certificate authorities"):
        client_context(Tls(ca_file=not_pem))
    with pytest.raises(TlsError, match=rf"{gone}: .*client certificate"):
        client_context(Tls(ca_file=authority.ca_file, client_cert=gone))
    with pytest.raises(TlsError, match=rf"{not_pem}.*client certificate"):
        client_context(Tls(ca_file=authority.ca_file, client_cert=authority.issue("me").cert_file, client_key=not_pem))


def test_key_with_a_password_is_an_error_and_no_question(authority: TestAuthority, tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal, and a daemon would hang."""
    issued = authority.issue("me")
    key = serialization.load_pem_private_key(issued.key_file.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsError, match=str(locked)):
        client_context(Tls(ca_file=authority.ca_file, client_cert=issued.cert_file, client_key=locked))


def test_equal_settings_share_a_context(authority: TestAuthority) -> None:
    """SPEED: one costs 30 ms and 1 MB. What is not in the context does not keep two accounts apart."""
    contexts = TlsContexts()
    settings = Tls(ca_file=authority.ca_file)
    first = contexts.get(settings)
    assert contexts.get(Tls(ca_file=authority.ca_file, server_name="other")) is first
    pinned = contexts.get(replace(settings, fingerprint=b"1" * 32))
    assert pinned is not first
    assert contexts.get(replace(settings, fingerprint=b"2" * 32)) is pinned
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert pinned.verify_mode is ssl.CERT_NONE


def test_file_that_changed_is_read_anew(authority: TestAuthority, tmp_path: Path) -> None:
    """A daemon outlives certificates."""
    mine = tmp_path / "ca.pem"
    mine.write_bytes(authority.ca_file.read_bytes())
    contexts = TlsContexts()
    settings = Tls(ca_file=mine)
    first = contexts.get(settings)
    mine.write_bytes(authority.ca_file.read_bytes() * 2)
    os.utime(mine, ns=(1, 1))
    second = contexts.get(settings)
    assert second is not first
    assert contexts.get(settings) is second


def test_file_that_vanished_is_an_error_not_an_old_context(authority: TestAuthority, tmp_path: Path) -> None:
    """And no cache hides it."""
    mine = tmp_path / "ca.pem"
    mine.write_bytes(authority.ca_file.read_bytes())
    contexts = TlsContexts()
    contexts.get(Tls(ca_file=mine))
    mine.unlink()
    with pytest.raises(TlsError, match=str(mine)):
        contexts.get(Tls(ca_file=mine))
