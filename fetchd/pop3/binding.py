"""Channel bindings (RFC 5056, RFC 5929): what names a TLS connection, so that SCRAM-…-PLUS can be bound to it.

Python's ssl gives ``tls-unique``, which TLS 1.3 does not have, and the server's certificate, from which
``tls-server-end-point`` is made here. It does not give ``tls-exporter`` (RFC 9266).
"""

import hashlib
from typing import Final, Literal

from fetchd.values import value

_PARAMETER_0: Final = 0xA0
_LONG_FORM: Final = 0x80

_SHA1: Final = bytes.fromhex("2b0e03021a")
_RSASSA_PSS: Final = bytes.fromhex("2a864886f70d01010a")
# Object identifiers as DER has them: of PKCS #1 and ECDSA signatures, and of plain hashes, which RSASSA-PSS names.
# RFC 5929 §4.1 takes SHA-256 where the certificate's own hash is MD5 or SHA-1.
_HASHES: Final = {
    bytes.fromhex(identifier): name
    for name, identifiers in {
        "sha224": ("2a864886f70d01010e", "2a8648ce3d040301", "608648016503040204"),
        "sha256": (
            *("2a864886f70d010104", "2a864886f70d010105", "2a8648ce3d0401", "2b0e03021a"),
            *("2a864886f70d01010b", "2a8648ce3d040302", "608648016503040201"),
        ),
        "sha384": ("2a864886f70d01010c", "2a8648ce3d040303", "608648016503040202"),
        "sha512": ("2a864886f70d01010d", "2a8648ce3d040304", "608648016503040203"),
    }.items()
    for identifier in identifiers
}


@value
class ChannelBinding:
    """The name of a TLS connection, or of the server at its end.

    Attributes:
        kind: the IANA channel binding type.
        octets: its data.
    """

    kind: Literal["tls-unique", "tls-server-end-point"]
    octets: bytes


def channel_binding(tls_version: str, *, unique: bytes | None, certificate: bytes | None) -> ChannelBinding | None:
    """Returns the best binding that there is for a connection; None where there is none.

    Args:
        tls_version: for example ``TLSv1.3``; "" on a plain line.
        unique: what ``SSLSocket.get_channel_binding("tls-unique")`` gives. Of no meaning on TLS 1.3 (RFC 9266 §1).
        certificate: the server's, as DER.
    """
    if not tls_version:
        return None
    if unique and tls_version == "TLSv1.2":
        return ChannelBinding("tls-unique", unique)
    digest = server_end_point(certificate) if certificate else None
    return ChannelBinding("tls-server-end-point", digest) if digest else None


def server_end_point(certificate: bytes) -> bytes | None:
    """Returns the data of ``tls-server-end-point`` (RFC 5929 §4.1): the certificate hashed as its signature hashes.

    Args:
        certificate: DER.

    Returns:
        None where that is not defined (Ed25519 has no one hash), or the certificate cannot be read.
    """
    try:
        name = _signature_hash(certificate)
    except ValueError:
        return None
    return hashlib.new(name, certificate).digest() if name else None


def _signature_hash(certificate: bytes) -> str | None:
    # RFC 5280 §4.1: Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
    [(_, whole)] = _elements(certificate)
    _, (_, algorithm), _ = _elements(whole)
    (_, identifier), *parameters = _elements(algorithm)
    if identifier == _RSASSA_PSS:
        identifier = _pss_hash(parameters)
    return _HASHES.get(identifier)


def _pss_hash(parameters: list[tuple[int, bytes]]) -> bytes:
    # RFC 4055 §3.1: RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, … }
    for _, fields in parameters:
        for tag, field in _elements(fields):
            if tag == _PARAMETER_0:
                [(_, algorithm)] = _elements(field)
                return _elements(algorithm)[0][1]
    return _SHA1


def _elements(octets: bytes) -> list[tuple[int, bytes]]:
    """Returns tag and content of each DER element in a row (X.690 §8.1).

    Raises:
        ValueError: they do not end where the octets do.
    """
    found = []
    while octets:
        tag, length, start = octets[0], int.from_bytes(octets[1:2]), 2
        if length >= _LONG_FORM:
            start += length - _LONG_FORM
            length = int.from_bytes(octets[2:start])
        if len(octets) < start + length:
            raise ValueError("an element is longer than what holds it")
        found.append((tag, octets[start : start + length]))
        octets = octets[start + length :]
    return found
