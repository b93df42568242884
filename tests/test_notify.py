"""fetchd.notify: what a service manager hears, at real sockets; without one, nothing (sd_notify(3))."""

import os
import socket
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from fetchd.notify import STATUS_PAUSE, Notifier, Unsupervised, standing, supervisor
from tests.clocks import FakeClock


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        """Returns the datagrams since the last call."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@fetchd-test-{os.getpid()}"
    manager = Manager(address)
    yield manager
    manager.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def nothing() -> str:
    return ""


def test_states_are_told(manager: Manager, clock: FakeClock) -> None:
    notifier = Notifier(manager.address, clock=clock)
    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    ready, reloading, stopping = manager.heard()
    assert (ready, stopping) == ("READY=1", "STOPPING=1")
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_a_reload_is_dated_by_the_kernels_clock(manager: Manager, clock: FakeClock) -> None:
    """Type=notify-reload takes only what was sent after its SIGHUP for the answer (systemd.service(5))."""
    before = time.monotonic_ns() // 1000
    Notifier(manager.address, clock=clock).reloading()
    told = int(manager.heard()[0].rpartition("=")[2])
    assert before <= told <= time.monotonic_ns() // 1000


def test_the_watchdog_is_fed_three_times_in_its_interval_however_often_the_loop_turns(
    manager: Manager, clock: FakeClock
) -> None:
    notifier = Notifier(manager.address, clock=clock, watchdog=60.0)
    assert notifier.turned(nothing) == 20.0
    assert manager.heard() == ["WATCHDOG=1"]
    clock.advance(19.0)
    assert notifier.turned(nothing) == 1.0
    assert manager.heard() == []
    clock.advance(1.0)
    assert notifier.turned(nothing) == 20.0
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_loop_that_does_not_turn_feeds_nothing(manager: Manager, clock: FakeClock) -> None:
    Notifier(manager.address, clock=clock, watchdog=60.0)
    clock.advance(600.0)
    assert manager.heard() == []


def test_without_a_watchdog_the_loop_sleeps_as_long_as_it_likes(manager: Manager, clock: FakeClock) -> None:
    notifier = Notifier(manager.address, clock=clock)
    assert notifier.turned(nothing) == inf
    assert manager.heard() == []


def test_how_things_stand_is_told_when_it_changes_and_not_too_often(manager: Manager, clock: FakeClock) -> None:
    notifier = Notifier(manager.address, clock=clock)
    assert notifier.turned(lambda: "one") == inf
    assert notifier.turned(lambda: "one") == inf
    assert notifier.turned(lambda: "two") == STATUS_PAUSE, "a change that has to wait must not wait for ever"
    assert manager.heard() == ["STATUS=one"]
    clock.advance(STATUS_PAUSE)
    assert notifier.turned(lambda: "two") == inf
    assert manager.heard() == ["STATUS=two"]


@pytest.mark.parametrize("address", ["@nobody-listens-there", "/nowhere/notify", "/" + "x" * 300])
def test_nobody_at_the_other_end_is_no_trouble(address: str, clock: FakeClock) -> None:
    notifier = Notifier(address, clock=clock, watchdog=3.0)
    notifier.ready()
    assert notifier.turned(lambda: "fine") == 1.0


# ── the environment ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_says_who_watches_and_is_cleared_of_it(manager: Manager, clock: FakeClock) -> None:
    variables = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    environ = {"NOTIFY_SOCKET": manager.address, **variables}
    found = supervisor(environ, clock=clock)
    assert environ == {"A": "b"}
    assert found.turned(nothing) == 20.0
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_a_socket_nobody_is_told(address: str, clock: FakeClock) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"} if address else {}
    assert isinstance(supervisor(environ, clock=clock), Unsupervised)
    assert environ == {}


@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}],
    ids=["none", "off", "nonsense", "of another process"],
)
def test_a_watchdog_that_is_not_ours_is_not_fed(variables: dict[str, str], manager: Manager, clock: FakeClock) -> None:
    found = supervisor({"NOTIFY_SOCKET": manager.address, **variables}, clock=clock)
    assert found.turned(nothing) == inf
    assert manager.heard() == []


# ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_line_tells_accounts_failures_sessions_and_the_next_poll() -> None:
    assert standing(accounts=1, failing=0, polling=0, next_poll=None) == "1 account"
    line = standing(accounts=12_000, failing=1, polling=2, next_poll=1_795_433_000.0)
    assert line.startswith("12,000 accounts, 1 failing, 2 polling, next poll ")
    assert line.endswith(":20")
