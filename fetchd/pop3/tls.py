"""TLS for POP3 (RFC 8314, 2595): contexts, what is verified, and a channel over any pair of recv and send.

The chain, the host name and TLS 1.2 or newer are always insisted on, unless a SHA-256 fingerprint pins the very
certificate. Revocation is not checked.
"""

import hmac
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from fetchd.errors import TlsError
from fetchd.model import Tls
from fetchd.pop3.binding import ChannelBinding, channel_binding

RECORD_OCTETS: Final = 16384
"""The most plain text that one TLS record holds (RFC 8446 §5.1)."""
RAW_OCTETS: Final = 256 * 1024

_Signature = tuple[tuple[int, int, int] | None, ...]


def client_context(settings: Tls) -> ssl.SSLContext:
    """Returns a new context for an account's settings. It costs some 30 ms and 1 MB: see :class:`TlsContexts`.

    Raises:
        TlsError: a file cannot be read or used; the message names it.
    """
    context = ssl.create_default_context() if settings.ca_file is None else _trusting(settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525 §6.3: a name stands in subjectAltName or nowhere
    context.set_alpn_protocols(["pop3"])  # so that nobody leads the line to another service with the same certificate
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Python sets this, and so makes a stream that was cut off look like one that ended (suppress_ragged_eofs or not).
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if settings.fingerprint is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.client_cert is not None:
        _show(context, settings.client_cert, settings.client_key)
    return context


def _trusting(ca_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise TlsError(f"{ca_file}: no certificate authorities can be read from it: {reason(error)}") from error
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        # Without a password of ours, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        named = f"{certificate}, {key}" if key else f"{certificate}"
        raise TlsError(f"{named}: the client certificate cannot be used: {reason(error)}") from error


class TlsContexts:
    """Shares one context among all accounts with equal settings; a file that changed is read anew.

    Safe for many threads: at worst two of them make the same context.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], tuple[_Signature, ssl.SSLContext]] = {}

    def get(self, settings: Tls) -> ssl.SSLContext:
        """Returns the context for an account's settings.

        Raises:
            TlsError: a file cannot be read or used; the message names it.
        """
        files = (settings.ca_file, settings.client_cert, settings.client_key)
        key = (*files, settings.fingerprint is not None)
        signature = tuple(_signature(path) for path in files)
        made = self._made.get(key)
        if made is None or made[0] != signature:
            made = self._made[key] = (signature, client_context(settings))
        return made[1]


def _signature(path: Path | None) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path) if path else None
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status else None


class TlsChannel:
    """One TLS connection, in memory: what it wants from the network it asks ``receive`` and ``send`` for.

    Reading this way takes everything that has arrived in one go, where an ``SSLSocket`` gives one record (4 KB from
    Dovecot) a call. With a context of :func:`client_context`, a stream that ends without close_notify raises
    ``ssl.SSLError`` (:func:`was_cut_off`); with others it may just end, which no reply of POP3 takes for its own end.
    What ``receive`` and ``send`` raise passes through.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        server_name: str,
        *,
        receive: Callable[[int], bytes],
        send: Callable[[bytes], None],
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name or None)
        self._receive = receive
        self._send = send
        self.first_octets = b""
        """What the server sent first, for telling what it is when the handshake fails."""

    @property
    def version(self) -> str:
        """For example ``TLSv1.3``."""
        return self._tls.version() or ""

    @property
    def cipher(self) -> str:
        """For example ``TLS_AES_256_GCM_SHA384``."""
        chosen = self._tls.cipher()
        return chosen[0] if chosen else ""

    @property
    def certificate_expires(self) -> float | None:
        """When the server's certificate runs out, Unix seconds; None where it is not verified but pinned."""
        found = (self._tls.getpeercert() or {}).get("notAfter")
        return float(ssl.cert_time_to_seconds(found)) if isinstance(found, str) else None

    @property
    def binding(self) -> ChannelBinding | None:
        """What names this channel to both ends (RFC 5929), where that can be told."""
        return channel_binding(
            self.version,
            unique=self._tls.get_channel_binding("tls-unique"),
            certificate=self._tls.getpeercert(binary_form=True),
        )

    def handshake(self) -> None:
        """Completes the handshake.

        Raises:
            ssl.SSLError: it cannot be completed.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # the alert that tells the peer what we did not like
                raise
            else:
                self._flush()
                return

    def fingerprint(self) -> bytes:
        """Returns the SHA-256 of the server's certificate, 32 octets."""
        return sha256(self._tls.getpeercert(binary_form=True) or b"").digest()

    def read(self, most: int) -> bytes:
        """Returns what has arrived, at most about ``most`` octets; waits if that is nothing; b"" at close_notify.

        Raises:
            ssl.SSLError: the stream was cut off without close_notify, or the peer broke TLS, or ended it with an alert.
        """
        pieces: list[bytes] = []
        size = 0
        while size < most:
            try:
                piece = self._tls.read(RECORD_OCTETS)
            except ssl.SSLWantReadError:
                self._flush()  # an answer to KeyUpdate
                if pieces:
                    break
                self._fill()
                continue
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def write(self, data: bytes) -> None:
        """Sends octets."""
        self._tls.write(data)
        self._flush()

    def say_goodbye(self) -> None:
        """Sends close_notify, without waiting for the peer's."""
        with suppress(ssl.SSLError):  # it wants to read the peer's close_notify; ours is written
            self._tls.unwrap()
        self._flush()

    def _fill(self) -> None:
        data = self._receive(RAW_OCTETS)
        if not self.first_octets:
            self.first_octets = data[:8]
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._send(self._outgoing.read())


def check_fingerprint(found: bytes, pinned: bytes) -> None:
    """Compares the server's certificate with the pinned one.

    Raises:
        TlsError: it is another.
    """
    if not hmac.compare_digest(found, pinned):
        raise TlsError(
            f"the server's certificate has the SHA-256 fingerprint {found.hex(':')}, pinned is {pinned.hex(':')}"
        )


def explain(error: ssl.SSLError, *, server_name: str, first_octets: bytes) -> str:
    """Returns what went wrong in a handshake, and what may help, as one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not accepted for {server_name}: {error.verify_message} "
            "(check host, server_name and ca_file, or pin its fingerprint)"
        )
    if first_octets[:1] in {b"+", b"-"}:
        return "the server speaks plain POP3 on this port, not TLS: use tls: starttls, or port 995"
    if was_cut_off(error):
        return "the server closed the connection during the TLS handshake"
    return f"no TLS connection: {reason(error)}"


def was_cut_off(error: ssl.SSLError) -> bool:
    """Returns whether the stream ended without close_notify, as every version of Python and OpenSSL puts it."""
    kinds = ssl.SSLEOFError | ssl.SSLZeroReturnError
    return isinstance(error, kinds) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def reason(error: OSError) -> str:
    """Returns an error's own words: without error numbers, OpenSSL's prefixes, or source lines."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error) or type(error).__name__
