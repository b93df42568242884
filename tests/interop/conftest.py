"""The servers: each is started once, in a chroot that takes a while to make for the first time and a second later."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TypeVar

import pytest

from tests.interop.layers import Layers, UnavailableError, cache_directory
from tests.interop.server import Server
from tests.interop.servers.courier import Courier
from tests.interop.servers.cyrus import Cyrus
from tests.interop.servers.dovecot import DEBIAN, Dovecot24
from tests.interop.servers.inetd import Mailutils, Popa3d
from tests.interop.servers.postgresql import PostgreSql
from tests.servers.pki import TestAuthority

AnyServer = TypeVar("AnyServer", bound=Server | PostgreSql)


@pytest.fixture(scope="session")
def layers() -> Layers:
    try:
        return Layers(cache_directory())
    except UnavailableError as error:
        pytest.skip(str(error))


@contextmanager
def running(kind: Callable[[Layers], AnyServer], layers: Layers) -> Iterator[AnyServer]:
    try:
        server = kind(layers)
    except UnavailableError as error:
        pytest.skip(str(error))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def courier(layers: Layers) -> Iterator[Courier]:
    with running(Courier, layers) as server:
        yield server


@pytest.fixture(scope="session")
def cyrus(layers: Layers, authority: TestAuthority) -> Iterator[Cyrus]:
    with running(partial(Cyrus, authority=authority), layers) as server:
        yield server


@pytest.fixture(scope="session")
def dovecot_2_4(authority: TestAuthority) -> Iterator[Dovecot24]:
    try:
        layers = Layers(cache_directory(), DEBIAN)
    except UnavailableError as error:
        pytest.skip(str(error))
    with running(partial(Dovecot24, authority=authority), layers) as server:
        yield server


@pytest.fixture(scope="session")
def mailutils(layers: Layers) -> Iterator[Mailutils]:
    with running(Mailutils, layers) as server:
        yield server


@pytest.fixture(scope="session")
def popa3d(layers: Layers) -> Iterator[Popa3d]:
    with running(Popa3d, layers) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(layers: Layers, authority: TestAuthority) -> Iterator[PostgreSql]:
    with running(partial(PostgreSql, authority=authority, user="joe", password="open sesame"), layers) as server:
        yield server


@pytest.fixture(params=["courier", "cyrus", "dovecot_2_4", "mailutils", "popa3d"])
def server(request: pytest.FixtureRequest) -> Server:
    """Every server in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def _user_numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def user(_user_numbers: Iterator[int]) -> str:
    """A name that no server has a user of."""
    return f"alice{next(_user_numbers)}"
