"""fetchd.observe.journal: entries as the systemd journal takes them (https://systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd import events
from fetchd.model import LogSettings, Outcome, PollResult
from fetchd.observe.journal import JournalRenderer, connected


class Journal:
    """The journal's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(path))

    def entries(self) -> list[list[tuple[str, str]]]:
        """Returns what came since the last call, read as the protocol says."""
        found = []
        while True:
            try:
                found.append(parsed(self.socket.recv(1 << 20)))
            except BlockingIOError:
                return found


def parsed(octets: bytes) -> list[tuple[str, str]]:
    fields = []
    while octets:
        head, _, octets = octets.partition(b"\n")
        key, equals, value = head.partition(b"=")
        if not equals:
            length = int.from_bytes(octets[:8], "little")
            value, octets = octets[8 : 8 + length], octets[8 + length :]
            assert octets[:1] == b"\n"
            octets = octets[1:]
        fields.append((key.decode(), value.decode()))
    return fields


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "socket")
    yield journal
    journal.socket.close()


@pytest.fixture
def log(journal: Journal) -> Iterator[JournalRenderer]:
    sock = connected(journal.path)
    assert sock is not None
    yield JournalRenderer(LogSettings(level="debug"), sock)
    sock.close()


def failed(error: str = "no such user", account: str = "alice") -> events.PollFailed:
    return events.PollFailed(account, Outcome.AUTH, error, "later", PollResult(account), 0.5)


def test_an_entry_has_a_message_for_people_and_every_field(journal: Journal, log: JournalRenderer) -> None:
    log(failed())
    assert journal.entries() == [
        [
            (
                "MESSAGE",
                (
                    'poll.failed account=alice outcome=auth error="no such user" retry=later '
                    "new=0 bytes=0 deleted=0 skipped=0 took=0.5"
                ),
            ),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "fetchd"),
            ("FETCHD_EVENT", "poll.failed"),
            ("FETCHD_ACCOUNT", "alice"),
            ("FETCHD_OUTCOME", "auth"),
            ("FETCHD_ERROR", "no such user"),
            ("FETCHD_RETRY", "later"),
            ("FETCHD_NEW", "0"),
            ("FETCHD_BYTES", "0"),
            ("FETCHD_DELETED", "0"),
            ("FETCHD_SKIPPED", "0"),
            ("FETCHD_TOOK", "0.5"),
        ]
    ]


def test_fields_of_many_lines_stand_below_and_are_one_entry(journal: Journal, log: JournalRenderer) -> None:
    log(events.ReloadFailed(("one", "two")))
    log(events.InternalError("alice", error="oops", trace="first\nsecond"))
    problems, trace = journal.entries()
    assert problems[0] == ("MESSAGE", "config.reload_failed\n    one\n    two")
    assert [field for field in problems if field[0] == "FETCHD_PROBLEMS"] == [
        ("FETCHD_PROBLEMS", "one"),
        ("FETCHD_PROBLEMS", "two"),
    ]
    assert trace[0] == ("MESSAGE", "internal.error account=alice error=oops\n    first\n    second")
    assert ("FETCHD_TRACE", "first\nsecond") in trace


def test_no_text_forges_a_field(journal: Journal, log: JournalRenderer) -> None:
    log(failed("x\nPRIORITY=0\n_UID=0"))
    (entry,) = journal.entries()
    assert [value for key, value in entry if key in {"PRIORITY", "_UID"}] == ["4"]
    assert ("FETCHD_ERROR", "x\\nPRIORITY=0\\n_UID=0") in entry


@pytest.mark.parametrize(
    ("event", "priority"),
    [
        (events.PollStarted("alice"), "7"),
        (events.PollAllRequested(), "6"),
        (failed(), "4"),
        (events.ReloadFailed(("one",)), "3"),
    ],
)
def test_each_level_has_its_priority(
    event: events.Event, priority: str, journal: Journal, log: JournalRenderer
) -> None:
    log(event)
    assert ("PRIORITY", priority) in journal.entries()[0]


def test_levels_and_repeats_are_those_of_every_log(journal: Journal) -> None:
    sock = connected(journal.path)
    assert sock is not None
    with sock:
        log = JournalRenderer(LogSettings(level="info"), sock)
        for event in (events.PollStarted("alice"), failed(), failed(), events.Received("alice", 3)):
            log(event)
    assert len(journal.entries()) == 1


def test_what_a_journal_does_not_take_is_counted_and_told_later(journal: Journal, log: JournalRenderer) -> None:
    log._socket.setblocking(False)
    sent = 0
    while True:  # until it is full
        try:
            log._socket.send(b"MESSAGE=x\n")
            sent += 1
        except BlockingIOError:
            break
    log._lost = 1  # one was lost before, so the next ones do not wait
    log(failed(account="lost"))
    assert len(journal.entries()) == sent
    log(failed(account="found"))
    found, lost = journal.entries()
    assert ("FETCHD_ACCOUNT", "found") in found
    assert lost[:2] == [("MESSAGE", "log.lost lines=2"), ("PRIORITY", "4")]


def test_without_a_journal_there_is_no_socket(tmp_path: Path) -> None:
    assert connected(tmp_path / "missing") is None
