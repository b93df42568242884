"""The names of TLS connections, against certificates that cryptography makes."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from fetchd.pop3.binding import ChannelBinding, channel_binding, server_end_point

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pop.example.org")])
NOW = datetime.now(UTC)


def builder(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(NAME, NAME, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        # Some hundred octets more, so that lengths take two octets.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"pop{n}.example.org") for n in range(40)]), False)
    )


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


SHA_2 = [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
ECDSA_CERTIFICATE = der(builder(EC).sign(EC, hashes.SHA256()))


@pytest.mark.parametrize("algorithm", SHA_2, ids=lambda algorithm: algorithm.name)
@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ecdsa"])
def test_the_certificate_is_hashed_as_its_signature_hashes(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, algorithm: hashes.HashAlgorithm
) -> None:
    """RFC 5929 §4.1."""
    certificate = der(builder(key).sign(key, algorithm))
    assert server_end_point(certificate) == hashlib.new(algorithm.name, certificate).digest()


@pytest.mark.parametrize("algorithm", SHA_2, ids=lambda algorithm: algorithm.name)
def test_rsassa_pss_names_its_hash_in_its_parameters(algorithm: hashes.HashAlgorithm) -> None:
    """RFC 4055 §3.1."""
    pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
    certificate = der(builder(RSA).sign(RSA, algorithm, rsa_padding=pss))
    assert server_end_point(certificate) == hashlib.new(algorithm.name, certificate).digest()


@pytest.mark.parametrize(
    ("identifier", "digest"),
    [
        ("2a864886f70d010104", "sha256"),  # md5WithRSAEncryption
        ("2a864886f70d010105", "sha256"),  # sha1WithRSAEncryption
        ("2a864886f70d01010a", "sha256"),  # RSASSA-PSS, with the parameters left out: SHA-1
        ("2a864886f70d010102", None),  # md2WithRSAEncryption
    ],
)
def test_md5_and_sha_1_count_as_sha_256(identifier: str, digest: str | None) -> None:
    """RFC 5929 §4.1. No library signs by these any more: a certificate of another kind is made to say that it was."""
    certificate = der(builder(RSA).sign(RSA, hashes.SHA256()))
    sha256_with_rsa = bytes.fromhex("2a864886f70d01010b")
    old = certificate.replace(sha256_with_rsa, bytes.fromhex(identifier))
    assert old != certificate
    assert server_end_point(old) == (hashlib.new(digest, old).digest() if digest else None)


def test_ed25519_has_no_binding() -> None:
    """RFC 5929 §4.1: undefined where the signature has no one hash."""
    key = ed25519.Ed25519PrivateKey.generate()
    assert server_end_point(der(builder(key).sign(key, None))) is None


@given(st.integers(0, len(ECDSA_CERTIFICATE)), st.binary(max_size=8))
def test_what_is_no_certificate_has_no_binding_or_one(at: int, patch: bytes) -> None:
    """No octets make it raise."""
    broken = ECDSA_CERTIFICATE[:at] + patch + ECDSA_CERTIFICATE[at + len(patch) :]
    assert server_end_point(broken) in {None, hashlib.sha256(broken).digest()}


@given(st.binary(max_size=100))
def test_random_octets_have_no_binding(octets: bytes) -> None:
    assert server_end_point(octets) is None


def test_a_certificate_that_is_cut_short_has_no_binding() -> None:
    assert all(server_end_point(ECDSA_CERTIFICATE[:length]) is None for length in range(len(ECDSA_CERTIFICATE)))


def test_the_best_binding_is_the_one_of_the_tls_version() -> None:
    """RFC 5802 §6.1; tls-unique means nothing on TLS 1.3 (RFC 9266 §1)."""
    end_point = ChannelBinding("tls-server-end-point", hashlib.sha256(ECDSA_CERTIFICATE).digest())
    unique = ChannelBinding("tls-unique", b"finished")
    assert channel_binding("TLSv1.2", unique=b"finished", certificate=ECDSA_CERTIFICATE) == unique
    assert channel_binding("TLSv1.2", unique=None, certificate=ECDSA_CERTIFICATE) == end_point
    assert channel_binding("TLSv1.3", unique=b"finished", certificate=ECDSA_CERTIFICATE) == end_point
    assert channel_binding("TLSv1.3", unique=b"finished", certificate=None) is None
    assert channel_binding("TLSv1.3", unique=None, certificate=b"not DER") is None
    assert channel_binding("", unique=b"finished", certificate=ECDSA_CERTIFICATE) is None
