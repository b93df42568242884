"""TLS as a server does it, with certificates of the run's own authority."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd.model import Tls, TlsMode
from tests.servers.pki import TestAuthority

MakeServerContext = Callable[..., ssl.SSLContext]
NAME = "pop.example.org"


@pytest.fixture
def server_context(authority: TestAuthority) -> MakeServerContext:
    """Makes a server's context with a new certificate, by default for pop.example.org."""

    def make(*names: str, **wrong: bool) -> ssl.SSLContext:
        issued = authority.issue(*(names or (NAME,)), **wrong)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if wrong.get("weak"):
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(issued.cert_file, issued.key_file)
        return context

    return make


@pytest.fixture
def implicit(authority: TestAuthority) -> Tls:
    """Implicit TLS with a server of the authority's that calls itself pop.example.org."""
    return Tls(mode=TlsMode.IMPLICIT, ca_file=authority.ca_file, server_name=NAME)


@pytest.fixture
def starttls(authority: TestAuthority) -> Tls:
    """STLS with such a server."""
    return Tls(mode=TlsMode.STARTTLS, ca_file=authority.ca_file, server_name=NAME)


@pytest.fixture
def not_pem(tmp_path: Path) -> Path:
    """A file that is there, and is no certificate."""
    path = tmp_path / "not.pem"
    path.write_text("hello\n")
    return path
