"""fetchd.cli.progress: bars on a terminal in memory."""

import io
import os
import re
import threading

import pytest

from fetchd import events
from fetchd.cli.progress import Progress, Terminal
from fetchd.model import LogSettings, Outcome, PollResult, SkipReason, UniqueId
from fetchd.observe.logs import LogRenderer
from tests.clocks import FakeClock

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen:
    """A terminal of 100 columns in memory, with progress bars on it."""

    def __init__(self, height: int = 25, file: io.StringIO | None = None) -> None:
        self.file = file or io.StringIO()
        console = Terminal(file=self.file, force_terminal=True, width=100, height=height, color_system="standard")
        self.progress = Progress(console)

    @property
    def text(self) -> str:
        """All that was written so far, without control sequences."""
        return CONTROL.sub("", self.file.getvalue())

    def bars(self) -> list[str]:
        """Draws the bars; returns their lines."""
        before = len(self.file.getvalue())
        self.progress._bars.refresh()
        drawn = CONTROL.sub("", self.file.getvalue()[before:])
        return [line.strip() for line in re.split(r"[\r\n]+", drawn) if line.strip()]

    def bar(self, account: str) -> str:
        (line,) = (line for line in self.bars() if line.startswith(account))
        return re.sub(r"[━╸╺ ]+", " ", line)


def planned(account: str, fetch: int = 12, octets: int = 3_400_000) -> events.Planned:
    return events.Planned(account, messages=40, octets=9_000_000, fetch=fetch, fetch_octets=octets, delete=0, skip=0)


def done(account: str, took: float = 0.82, **result: object) -> events.PollDone:
    return events.PollDone(account, PollResult(account, **result), took)  # type: ignore[arg-type]  # a test's shorthand


def failed(account: str, error: str, delivered: int = 0) -> events.PollFailed:
    result = PollResult(account, delivered, delivered * 1000)
    return events.PollFailed(account, Outcome.NETWORK, error, "soon", result, 1.0)


def test_a_bar_shows_messages_octets_rate_and_time_left() -> None:
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("alice-gmx"))
        assert screen.bar("alice-gmx").startswith("alice-gmx ")
        progress(planned("alice-gmx"))
        assert screen.bar("alice-gmx").startswith("alice-gmx 0/12 0.0/3.4 MB")
        progress(events.Received("alice-gmx", 500_000))
        progress(events.Received("alice-gmx", 700_000))
        progress(events.MessageDelivered("alice-gmx", UniqueId(b"1"), 1, "f"))
        assert screen.bar("alice-gmx").startswith("alice-gmx 1/12 1.2/3.4 MB")
        progress(events.Received("alice-gmx", 1_000_000))
        progress(events.MessageDelivered("alice-gmx", UniqueId(b"2"), 1, "f"))
        assert re.fullmatch(r"alice-gmx 2/12 2\.2/3\.4 MB [\d.,]+ \w+/s \d:\d\d:\d\d", screen.bar("alice-gmx"))


def test_a_failure_has_what_is_known_of_the_provider_behind_it() -> None:
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("alice"))
        result = PollResult("alice")
        progress(events.PollFailed("alice", Outcome.AUTH, "refused", "later", result, 1.0, "POP3 may be off."))
    assert "alice  refused: POP3 may be off." in screen.text


def test_octets_alone_move_the_bar_but_not_for_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks come by the thousand: they are added up, and shown ten times a second."""
    screen = Screen()
    now = 100.0
    monkeypatch.setattr(screen.progress._bars, "get_time", lambda: now)
    moves: list[object] = []
    update = screen.progress._bars.update

    def counting(task: object, **changes: object) -> None:
        moves.append(changes.get("completed"))
        update(task, **changes)  # type: ignore[arg-type]  # passed on as it came

    screen.progress(events.PollStarted("a"))
    screen.progress(planned("a"))
    monkeypatch.setattr(screen.progress._bars, "update", counting)
    for _ in range(1000):
        screen.progress(events.Received("a", 10))
    now += 0.11
    screen.progress(events.Received("a", 10))
    assert moves == [10, 10_010]


def test_a_finished_account_leaves_one_line_and_no_bar() -> None:
    screen = Screen()
    with screen.progress as progress:
        for name in ("alice-gmx", "bob"):
            progress(events.PollStarted(name))
        screen.bars()
        progress(done("alice-gmx", delivered=12, octets=3_400_000))
        drawn = screen.text.partition("in 0.8 s")[2]
        assert "bob" in drawn
        assert "alice" not in drawn
        progress(failed("bob", "no answer from pop.example.org:995 within 60 s"))
        assert screen.bars() == []
    lines = [line.strip() for line in screen.text.splitlines()]
    assert lines.count("✓ alice-gmx  12 new, 3.4 MB in 0.8 s") == 1
    assert lines.count("✗ bob  no answer from pop.example.org:995 within 60 s") == 1


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (done("a"), "✓ a  nothing new in 0.8 s"),
        (done("a", delivered=1, octets=1), "✓ a  1 new, 1 byte in 0.8 s"),
        (
            done("a", took=125.4, deleted=2, skipped={SkipReason.TOO_LARGE: 3}),
            "✓ a  nothing new, 2 deleted, 3 skipped in 2 min 5 s",
        ),
        (failed("a", "disk full", delivered=7), "✗ a  disk full (7 new, 7.0 kB before that)"),
        (events.InternalError("a", "KeyError: 1", "Traceback"), "✗ a  a bug in fetchd: KeyError: 1"),
    ],
)
def test_what_a_finished_account_says(event: events.Event, line: str) -> None:
    screen = Screen()
    screen.progress(event)
    assert screen.text == line + "\n"


def test_neither_names_nor_server_texts_are_markup() -> None:
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("[red]a[/red]"))
        progress(planned("[red]a[/red]"))
        assert screen.bar("[red]a[/red]")
        progress(failed("[red]a[/red]", "said [bold]no[/] :smile: [link=http://x]y[/link] [/]"))
    assert "✗ [red]a[/red]  said [bold]no[/] :smile: [link=http://x]y[/link] [/]\n" in screen.text


def test_a_name_is_no_format_string() -> None:
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("{task.id}{0}%s"))
        assert screen.bar("{task.id}{0}%s")


def test_control_characters_do_not_reach_the_terminal() -> None:
    """FAULTS 8."""
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("a\x1b[2J\nb"))
        assert screen.bar("a\\x1b[2J\\nb")
        progress(failed("a\x1b[2J\nb", "x\x1b]0;owned\x07\r\n✓ forged"))
    assert "✗ a\\x1b[2J\\nb  x\\x1b]0;owned\\x07\\r\\n✓ forged\n" in screen.text
    assert "\x1b[2J" not in screen.file.getvalue()
    assert "\x1b]0;" not in screen.file.getvalue()


def test_more_accounts_than_lines_show_the_first_ones_and_how_many_more() -> None:
    screen = Screen(height=6)
    with screen.progress as progress:
        for number in range(10):
            progress(events.PollStarted(f"account-{number}"))
        shown = screen.bars()
        assert [line.split()[0] for line in shown[:-1]] == [f"account-{number}" for number in range(4)]
        assert shown[-1] == "… and 6 more accounts in hand"
        for number in range(5):
            progress(done(f"account-{number}"))
        shown = screen.bars()
        assert [line.split()[0] for line in shown[:-1]] == [f"account-{number}" for number in range(5, 9)]
        assert shown[-1] == "… and 1 more account in hand"


def test_a_long_name_leaves_room_for_the_bar() -> None:
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("n" * 300))
        progress(planned("n" * 300))
        (line,) = screen.bars()
        assert "n" * 29 + "…" in line
        assert "0/12" in line


@pytest.mark.parametrize("claim", [0, 1, 10**19 - 1])
def test_a_claim_that_is_wrong_harms_nothing(claim: int) -> None:
    """FAULTS 29: LIST's sizes are hints."""
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("a"))
        progress(planned("a", fetch=1, octets=claim))
        progress(events.Received("a", 5000))
        progress(events.MessageDelivered("a", None, 5000, "f"))
        assert "1/1" in screen.bar("a")
        assert ("/?" in screen.bar("a")) == (claim == 0)
        progress(done("a", delivered=1, octets=5000))
        assert screen.bars() == []


def test_events_of_an_account_that_is_not_in_hand_are_ignored() -> None:
    screen = Screen()
    with screen.progress as progress:
        for event in (planned("x"), events.Received("x", 1), events.MessageDelivered("x", None, 1, "f")):
            progress(event)
        progress(events.PollAllRequested())
        assert screen.bars() == []


def test_an_account_that_is_polled_again_has_one_bar() -> None:
    screen = Screen()
    with screen.progress as progress:
        for _ in range(2):
            progress(events.PollStarted("a"))
        assert len(screen.bars()) == 1


def test_log_lines_stand_above_the_bars_in_their_colours() -> None:
    screen = Screen()
    log = LogRenderer(LogSettings("console"), screen.progress.write_line, is_tty=True, clock=FakeClock(), environ={})
    with screen.progress as progress:
        progress(events.PollStarted("alice"))
        screen.bars()
        before = len(screen.file.getvalue())
        log(events.ConfigWarning("[bold]x[/bold] " + "long " * 40))
        drawn = screen.file.getvalue()[before:]
    assert "\x1b[33mwarning" in drawn
    line, *bars = CONTROL.sub("", drawn).strip("\r").splitlines()
    assert line.endswith('text="[bold]x[/bold] ' + "long " * 40 + '"')
    assert len(bars) == 1
    assert bars[0].startswith("alice ")


def test_a_terminal_without_unicode_gets_words() -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"

    screen = Screen(file=Ascii())
    screen.progress(done("a"))
    screen.progress(failed("b", "no"))
    assert screen.text == "ok a  nothing new in 0.8 s\nFAILED b  no\n"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), BrokenPipeError(), ValueError("closed")])
def test_a_terminal_that_goes_away_costs_the_bars_only(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    """FAULTS 113. rich answers a broken pipe by pointing standard output at nothing and leaving: not here."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    screen = Screen(file=Gone())
    screen.progress(events.PollStarted("a"))
    screen.progress(done("a"))
    assert not screen.progress.write_line("a log line")
    screen.progress.stop()
    os.write(1, b"standard output is as it was")
    assert capfd.readouterr() == ("standard output is as it was", "")


def test_bars_take_events_of_many_threads() -> None:
    screen = Screen()

    def work(name: str) -> None:
        for _ in range(20):
            screen.progress(events.PollStarted(name))
            screen.progress(planned(name))
            screen.progress(events.MessageDelivered(name, None, 1, "f"))
            screen.progress(done(name, delivered=1, octets=1))

    with screen.progress:
        threads = [threading.Thread(target=work, args=(f"a{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert screen.text.count("1 new, 1 byte in 0.8 s") == 160


def test_nothing_is_left_of_the_bars_at_the_end() -> None:
    screen = Screen()
    with screen.progress as progress:
        progress(events.PollStarted("alice"))
    assert screen.file.getvalue().rstrip().endswith("\x1b[2K")
    assert screen.file.getvalue().count("\x1b[?25l") == screen.file.getvalue().count("\x1b[?25h") == 1
