"""Certificates that nobody should accept, or that look as if nobody should."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.servers.pki import IssuedCertificate, TestAuthority

_DAY = timedelta(days=1)


def make(
    directory: Path,
    authority: TestAuthority | None,
    *,
    common_name: str,
    names: tuple[str, ...] = (),
    starts: timedelta = -_DAY,
    rsa_bits: int = 0,
    padding: int = 0,
) -> IssuedCertificate:
    """Returns a new certificate.

    Args:
        directory: where its two files go.
        authority: who issues it; None: it signs itself.
        common_name: in its subject.
        names: the alternative names; none: it has no such extension.
        starts: when it becomes valid, from now; it is valid for 30 days.
        rsa_bits: 0: its key is a good one.
        padding: octets of an extension that nobody knows.
    """
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    begins = datetime.now(UTC) + starts
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority._name if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + 30 * _DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    if padding:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, bytes(padding)), critical=False)
    certificate = builder.sign(authority._key if authority else key, hashes.SHA256())
    issued = IssuedCertificate(directory / "cert.pem", directory / "key.pem")
    issued.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    issued.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return issued


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
