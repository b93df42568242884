"""fetchd.discovery.probe against a real Dovecot."""

import ssl

import pytest

from fetchd.discovery.finding import Finding, Rank
from fetchd.discovery.probe import ProbeError, probe
from fetchd.model import TlsMode
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority


def guess(host: str, port: int, tls: TlsMode = TlsMode.IMPLICIT) -> Finding:
    return Finding(host, port, tls, "a guess", Rank.GUESS)


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
def test_a_server_with_the_right_certificate_is_found(tls: TlsMode, dovecot: Dovecot, authority: TestAuthority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    port = dovecot.tls_port if tls is TlsMode.IMPLICIT else dovecot.port
    found = probe(guess("localhost", port, tls), seconds=30, context=context)
    assert (found.host, found.port, found.tls, found.is_vouched) == ("localhost", port, tls, True)


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
def test_a_certificate_of_nobody_s_is_refused(tls: TlsMode, dovecot: Dovecot) -> None:
    port = dovecot.tls_port if tls is TlsMode.IMPLICIT else dovecot.port
    with pytest.raises(ProbeError, match="certificate is not to be trusted"):
        probe(guess("localhost", port, tls), seconds=30)


def test_a_server_without_tls_at_that_port_is_none(dovecot: Dovecot) -> None:
    with pytest.raises(ProbeError, match=r"^$"):
        probe(guess("localhost", dovecot.port), seconds=30)


@pytest.mark.parametrize("host", ["localhost", "no-such-host.invalid"])
def test_a_host_where_nobody_listens_is_none(host: str) -> None:
    with pytest.raises(ProbeError, match=r"^$"):
        probe(guess(host, 1), seconds=30)


def test_when_the_time_is_over_nobody_is_asked(dovecot: Dovecot) -> None:
    with pytest.raises(ProbeError):
        probe(guess("localhost", dovecot.tls_port), seconds=0)
