"""The test authority's certificates are judged by OpenSSL as real ones are."""

import ssl
import stat

import pytest

from tests.servers.pki import IssuedCertificate, TestAuthority


def shake_hands(authority: TestAuthority, issued: IssuedCertificate, name: str) -> str | None:
    """Runs a handshake in memory, verified by the authority; returns the TLS version."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(issued.cert_file, issued.key_file)
    client_side = ssl.create_default_context(cafile=str(authority.ca_file))
    # Stricter than Python 3.11 is by itself, as Python 3.13 is.
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(back, there, server_hostname=name)
    server = server_side.wrap_bio(there, back, server_side=True)
    waiting = [client, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
        if not waiting:
            return client.version()
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "mx.example.org"])
def test_each_of_its_names_verifies(authority: TestAuthority, name: str) -> None:
    issued = authority.issue("localhost", "127.0.0.1", "mx.example.org")
    assert shake_hands(authority, issued, name) == "TLSv1.3"


def test_another_name_does_not_verify(authority: TestAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(authority, authority.issue("localhost"), "mx.example.org")


def test_an_expired_certificate_does_not_verify(authority: TestAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(authority, authority.issue("localhost", expired=True), "localhost")


def test_another_authoritys_certificate_does_not_verify(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = TestAuthority(tmp_path_factory.mktemp("other"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority, other.issue("localhost"), "localhost")


def test_a_private_key_is_its_owners_only(authority: TestAuthority) -> None:
    assert stat.S_IMODE(authority.issue("localhost").key_file.stat().st_mode) == 0o600
