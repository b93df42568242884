"""The servers: each is started once, in a chroot that takes a while to make for the first time and a second later."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

import pytest

from tests.interop.layers import Layers, UnavailableError, cache_directory
from tests.interop.server import Server
from tests.interop.servers.courier import Courier
from tests.interop.servers.cyrus import Cyrus
from tests.interop.servers.inetd import Mailutils, Popa3d

AnyServer = TypeVar("AnyServer", bound=Server)


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
def cyrus(layers: Layers) -> Iterator[Cyrus]:
    with running(Cyrus, layers) as server:
        yield server


@pytest.fixture(scope="session")
def mailutils(layers: Layers) -> Iterator[Mailutils]:
    with running(Mailutils, layers) as server:
        yield server


@pytest.fixture(scope="session")
def popa3d(layers: Layers) -> Iterator[Popa3d]:
    with running(Popa3d, layers) as server:
        yield server


@pytest.fixture(params=["courier", "cyrus", "mailutils", "popa3d"])
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
