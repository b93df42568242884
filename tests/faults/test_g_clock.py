"""FAULTS §2 G: a clock that jumps (106). Deadlines and the schedule hang on the monotonic one."""

import time

import pytest

from fetchd.errors import NetworkError
from fetchd.model import Policy
from fetchd.names import parse_name
from tests.faults.bench import KEEP, Bench, message, run_daemon, stored, uid
from tests.faults.server import FaultyServer, Session
from tests.faults.steps import Honest
from tests.servers.scripted import Silence

DAY = 86_400.0
JUMPS = pytest.mark.parametrize("jump", [-400 * DAY, -1.0, 10 * 365.25 * DAY], ids=["-400 d", "-1 s", "+10 y"])


@JUMPS
def test_between_two_polls_nothing_is_forgotten_fetched_again_or_named_alike(
    bench: Bench, server: FaultyServer, jump: float
) -> None:
    """FAULTS 106: there and back again."""
    bench.fill(1, 2)
    bench.poll(policy=KEEP)
    for step, number in ((jump, 3), (0.0, 4), (-jump, 5), (0.0, 6)):
        bench.clock.wall_now += step
        bench.fill(number)
        bench.poll(policy=KEEP)
        assert bench.mail() == stored(*range(1, number + 1))
    assert server.retrieved == [uid(number) for number in range(1, 7)]
    assert len({parse_name(file.name) for file in bench.files()}) == 6


@JUMPS
@pytest.mark.parametrize("when", [b"PASS", b"RETR 1", b"RETR 2", b"DELE 1", b"QUIT"])
def test_in_the_middle_of_a_session(
    bench: Bench, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, jump: float, when: bytes
) -> None:
    """FAULTS 106: the wall clock of the whole process; no deadline comes early, and no session is given up."""
    skew = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + skew[0])

    def step(session: Session) -> Honest:
        bench.clock.wall_now += jump
        skew[0] += jump
        return Honest()

    bench.fill(1, 2)
    server.faults[when] = step
    bench.poll()
    assert skew == [jump]
    bench.heals(1, 2)
    assert server.retrieved == [uid(1), uid(2)]


@JUMPS
def test_a_deadline_does_not_move_with_the_clock(
    bench: Bench, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """FAULTS 106: a silent server is left in time, though the clock has stepped back meanwhile."""
    skew = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + skew[0])

    def step(session: Session) -> Silence:
        skew[0] += jump
        return Silence()

    bench.fill(1)
    server.faults[b"RETR"] = step
    bench.fails(NetworkError, r"longer than 0\.3 s", timeout=0.3)
    bench.heals(1)


@JUMPS
def test_the_daemon_keeps_its_interval(bench: Bench, server: FaultyServer, jump: float) -> None:
    """FAULTS 106: as many polls as without it, none at once and none years from now."""

    def step(session: Session) -> Honest:
        if len(server.sessions) == 3:
            bench.clock.wall_now += jump
        return Honest()

    server.faults[b"STAT"] = step
    bench.fill(1)
    run_daemon(bench, 600.0)
    bench.always()
    assert 8 <= server.count(b"PASS") <= 12
    assert bench.mail() == stored(1)


def test_a_clock_far_ahead_deletes_early_but_only_what_is_delivered(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 106: ``leave_on_server: 14d`` trusts the clock; what is too large, or not there yet, stays in any case."""
    policy = Policy(delete_after=int(14 * DAY), max_size=1000)
    bench.fill(1)
    server.mail.append((uid(2), message(2) + b"x" * 2000 + b"\r\n"))
    bench.poll(policy=policy)
    assert server.deleted == []
    bench.clock.wall_now += 10 * 365.25 * DAY
    bench.fill(3)
    bench.poll(policy=policy)
    assert server.deleted == [uid(1)]
    bench.clock.wall_now -= 10 * 365.25 * DAY
    bench.poll(policy=policy)
    assert server.deleted == [uid(1)]
    assert bench.mail() == stored(1, 3)
