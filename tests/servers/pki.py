"""A certificate authority that lives as long as a test run."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = timedelta(days=1)
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class IssuedCertificate(NamedTuple):
    """Two PEM files: a certificate, and its unencrypted private key (0600)."""

    cert_file: Path
    key_file: Path


class TestAuthority:
    """Issues certificates (P-256, so that a key costs no time) into a directory; ``ca_file`` is what verifies them.

    Every call makes a new key, so that two certificates for one name have two fingerprints.
    """

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("fetchd test authority")
        self._issued = 0
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(self._name, self._name, self._key.public_key(), start=-_DAY, end=_DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        *names: str,
        expired: bool = False,
        not_yet_valid: bool = False,
        common_name_only: bool = False,
        self_signed: bool = False,
        weak: bool = False,
    ) -> IssuedCertificate:
        """Returns a new certificate, good for both a server and a client, unless one of these is asked for.

        Args:
            names: host names and IP addresses for the subject's alternative names (RFC 9525 §6.3 looks nowhere else).
            expired: it was valid until an hour ago.
            not_yet_valid: it is valid in an hour.
            common_name_only: the first name stands where names stood before 2011, and nowhere else.
            self_signed: by its own key, in nobody's name.
            weak: its key is RSA of 1024 bits.
        """
        key = rsa.generate_private_key(65537, 1024) if weak else ec.generate_private_key(ec.SECP256R1())
        subject = _name(names[0])
        start = timedelta(hours=1) if not_yet_valid else -_DAY
        end = timedelta(hours=-1) if expired else _DAY
        signer = key if self_signed else self._key
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(subject, subject if self_signed else self._name, key.public_key(), start=start, end=end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if not common_name_only:
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return self._write(builder.sign(signer, hashes.SHA256()), key)

    def _write(self, certificate: x509.Certificate, key: _PrivateKey) -> IssuedCertificate:
        self._issued += 1
        issued = IssuedCertificate(
            self._directory / f"{self._issued}-cert.pem",
            self._directory / f"{self._issued}-key.pem",
        )
        issued.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        issued.key_file.touch(mode=0o600)
        issued.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    start: timedelta,
    end: timedelta,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
    )
