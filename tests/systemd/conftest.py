"""The machines: each is booted once, from layers that take a minute to make for the first time and a second later."""

from collections.abc import Iterator

import pytest

from tests.interop.chroot import ChrootError
from tests.interop.layers import UnavailableError
from tests.systemd.host import Host
from tests.systemd.machine import debian


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A Debian whose systemd is older than notify-reload, and one whose is not."""
    try:
        machine = debian(request.param, tmp_path_factory.mktemp(request.param))
        machine.start()
    except (UnavailableError, ChrootError) as error:  # nothing of fetchd has run so far
        pytest.skip(f"no systemd can be booted here: {error}")
    with Host(machine) as host:
        yield host


@pytest.fixture
def host(booted: Host) -> Iterator[Host]:
    """The machine without a fetchd that runs, and with nothing left of an earlier one but the journal."""
    booted.clean()
    yield booted
    booted.clean()
