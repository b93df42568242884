"""fetchd.control: asking the daemon that runs, over a real socket, with a main loop that the test plays."""

import json
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fetchd import control
from fetchd.control import (
    ControlError,
    ControlServer,
    UnknownNamesError,
    ask_for_health,
    ask_for_polls,
    ask_for_status,
    place,
    places,
)
from fetchd.inbox import Message, PollAnswer, PollRequest
from fetchd.schedule import Prompted

SOURCE = Path("/etc/fetchd/fetchd.yaml")


class Loop:
    """A main loop that answers at once."""

    def __init__(self, answer: Callable[[PollRequest], PollAnswer | None]) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._answer = answer

    def post(self, message: Message) -> None:
        assert isinstance(message, PollRequest)
        self.asked.append(message.names)
        answer = self._answer(message)
        if answer is not None:
            message.answer(answer)


def told(request: PollRequest) -> PollAnswer:
    return PollAnswer(
        (Prompted("alice"), Prompted("bob", 40.5), Prompted("carol", running=True), Prompted("d", held=True))
    )


def status() -> bytes:
    return b'{"version":"1","accounts":["\xc3\xa4"]}'


def health() -> tuple[bool, str]:
    return False, "store: disk I/O error"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def loop(path: Path) -> Iterator[Loop]:
    loop = Loop(told)
    with ControlServer(path, source=SOURCE, post=loop.post, status=status, health=health):
        yield loop


def test_who_asks_is_told_what_comes_of_it(path: Path, loop: Loop) -> None:
    answer = ask_for_polls([path], ["alice", "bob", "carol", "d"], source=SOURCE)
    assert tuple(answer) == told(PollRequest((), print)).told
    assert loop.asked == [("alice", "bob", "carol", "d")]


def test_who_asks_how_things_stand_is_told_without_the_main_loop(path: Path, loop: Loop) -> None:
    assert json.loads(ask_for_status([path], source=SOURCE)) == json.loads(status())
    assert loop.asked == []


def test_who_asks_for_its_health_is_told_without_a_poll(path: Path, loop: Loop) -> None:
    assert ask_for_health([path], source=SOURCE) == (False, "store: disk I/O error")
    assert loop.asked == []


def test_one_after_the_other_is_answered(path: Path, loop: Loop) -> None:
    for _ in range(3):
        ask_for_polls([path], [], source=SOURCE)
    assert loop.asked == [()] * 3


def test_names_that_there_are_not_are_told_with_those_that_there_are(path: Path) -> None:
    loop = Loop(lambda request: PollAnswer(unknown=("carl",), known=("carol",)))
    with (
        ControlServer(path, source=SOURCE, post=loop.post, status=status, health=health),
        pytest.raises(UnknownNamesError) as raised,
    ):
        ask_for_polls([path], ["carl"], source=SOURCE)
    assert (raised.value.unknown, raised.value.known) == (("carl",), ("carol",))


def test_only_root_and_the_daemons_user_are_answered(path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control.os, "geteuid", lambda: 4711)
    monkeypatch.setattr(control, "_user", lambda peer: 4712)
    with pytest.raises(ControlError, match="only root and the user"):
        ask_for_polls([path], [], source=SOURCE)
    assert loop.asked == []
    for user in (0, 4711):
        monkeypatch.setattr(control, "_user", lambda peer, user=user: user)
        assert ask_for_polls([path], [], source=SOURCE)


def test_the_kernel_says_who_asks() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert control._user(ours) == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_stranger_is_refused_even_where_the_file_lets_everybody_in(path: Path, loop: Loop) -> None:
    path.chmod(0o666)
    for directory in (path.parent, *path.parent.parents):
        if directory != Path("/") and not directory.stat().st_mode & stat.S_IXOTH:
            directory.chmod(0o711)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            ask_for_polls([path], [], source=SOURCE)
        except ControlError as error:
            os._exit(3 if "only root" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert loop.asked == []


def test_a_daemon_with_another_configuration_does_nothing(path: Path, loop: Loop) -> None:
    with pytest.raises(ControlError, match=r"was started with .*fetchd\.yaml"):
        ask_for_polls([path], [], source=Path("/etc/fetchd/work.yaml"))
    assert loop.asked == []


def test_without_a_daemon_one_line_says_so(tmp_path: Path, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # of a daemon that was killed: it is there, and nobody listens
    with pytest.raises(ControlError, match="no fetchd runs with this configuration") as raised:
        ask_for_polls([tmp_path / "nothing", path], [], source=SOURCE)
    assert str(path) in str(raised.value)


def test_the_place_of_a_daemon_that_was_killed_is_taken_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    loop = Loop(told)
    with ControlServer(path, source=SOURCE, post=loop.post, status=status, health=health):
        assert ask_for_polls([path], [], source=SOURCE)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_socket_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    for bad in (tmp_path / "missing" / "control", tmp_path / ("x" * 120)):
        with pytest.raises(ControlError, match=f"control socket {tmp_path}"):
            ControlServer(bad, source=SOURCE, post=print, status=status, health=health).start()


def test_a_main_loop_that_does_not_answer_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_SECONDS", 0.2)
    loop = Loop(lambda request: None)
    with ControlServer(path, source=SOURCE, post=loop.post, status=status, health=health):
        monkeypatch.setattr(control, "_SECONDS", 0.2)
        with pytest.raises(ControlError, match=r"does not answer|gives no answer"):
            ask_for_polls([path], [], source=SOURCE)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\n",
        b"[" * 100_000 + b"\n",
        b"[]\n",
        b'{"poll": []',
        b'{"source": "/etc/fetchd/fetchd.yaml"}\n',
        b"\xff\n",
    ],
)
def test_nonsense_is_asked_of_nobody_and_the_next_one_is_answered(sent: bytes, path: Path, loop: Loop) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        answer = peer.recv(4096)
    assert not answer or "error" in json.loads(answer)
    assert ask_for_polls([path], ["alice"], source=SOURCE)
    assert loop.asked == [("alice",)]


def test_a_daemon_that_talks_nonsense_is_one_clear_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b'{"told": 3}\n')

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ControlError, match="fetchd gives no answer"):
            ask_for_polls([path], [], source=SOURCE)
        thread.join()


def test_where_a_daemon_listens_and_where_it_is_looked_for() -> None:
    state = Path("/var/lib/fetchd/fetchd.db")
    assert place({"RUNTIME_DIRECTORY": "/run/fetchd:/run/other"}, state) == Path("/run/fetchd/control")
    assert place({}, state) == Path("/var/lib/fetchd/control")
    assert list(places({}, state, SOURCE)) == [Path("/var/lib/fetchd/control"), Path("/run/fetchd/control")]
    work = places({}, state, Path("/etc/fetchd/work.yaml"))
    assert list(work) == [Path("/var/lib/fetchd/control"), Path("/run/fetchd-work/control")]


def test_credentials_are_read_as_the_kernel_writes_them() -> None:
    assert control._CREDENTIALS.size == struct.calcsize("iII")
