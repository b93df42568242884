"""fetchd.observe.ask: what a running fetchd tells, and that nothing else is taken for it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.model import HttpAddress
from fetchd.observe import ask as asking
from fetchd.observe.ask import ask
from fetchd.observe.http import HttpServer
from fetchd.observe.pages import document_page, health_page
from fetchd.observe.status import to_json
from tests.observe.statuses import make_status, make_status_of

STATUS = make_status(make_status_of("alice"))
PAGES = {"/status": document_page(lambda: to_json(STATUS), "application/json")}


@pytest.fixture
def silent() -> Iterator[HttpAddress]:
    """An address that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield HttpAddress(*server.getsockname())


def test_it_is_asked_through_a_port_and_through_a_unix_socket(tmp_path: Path) -> None:
    for address in (HttpAddress("127.0.0.1", 0), HttpAddress(f"unix:{tmp_path}/http.sock", 0)):
        with HttpServer(address, PAGES) as server:
            assert ask(server.address) == STATUS


def test_one_that_listens_everywhere_is_asked_on_loopback() -> None:
    with HttpServer(HttpAddress("0.0.0.0", 0), PAGES) as server:
        assert server.address.host == "0.0.0.0"
        assert ask(server.address) == STATUS


@pytest.mark.parametrize("address", [HttpAddress("127.0.0.1", 1), HttpAddress("unix:/nonexistent/x", 0)])
def test_nobody_there_is_none(address: HttpAddress) -> None:
    assert ask(address) is None


def test_somebody_else_there_is_none(silent: HttpAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.05)
    assert ask(silent) is None
    for page in (health_page(lambda: (True, "hello")), health_page(lambda: (False, "no"))):
        with HttpServer(HttpAddress("127.0.0.1", 0), {"/status": page}) as server:
            assert ask(server.address) is None
