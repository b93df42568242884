"""fetchd.observe.logs: events as console lines and as JSON lines."""

import io
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd import events
from fetchd.model import LogSettings, Outcome, PollResult, SkipReason, UniqueId
from fetchd.observe.lines import LineWriter
from fetchd.observe.logs import LogRenderer
from tests.clocks import FakeClock

WALL = 1_795_433_000.123456  # 2026-11-23T11:23:20.123Z


class Log:
    """A log in memory: emits into it, reads its lines."""

    def __init__(
        self,
        form: str = "json",
        level: str = "debug",
        *,
        is_tty: bool = False,
        journal: bool = False,
        write: Callable[[str], bool] | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.stream = io.StringIO()
        self.emit = LogRenderer(
            LogSettings(form, level),
            write or LineWriter(self.stream),
            is_tty=is_tty,
            clock=FakeClock(WALL),
            journal=journal,
            environ=environ or {},
        )

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def said(self, event: events.Event) -> str:
        """Returns what one more event adds."""
        before = len(self.text)
        self.emit(event)
        return self.text[before:]

    def objects(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text.splitlines()]


def poll_done(account: str = "alice", took: float = 0.8234567, **result: object) -> events.PollDone:
    return events.PollDone(account, PollResult(account, **result), took)  # type: ignore[arg-type]  # a test's shorthand


def poll_failed(error: str = "no", outcome: Outcome = Outcome.AUTH) -> events.PollFailed:
    return events.PollFailed("alice", outcome, error, "later", PollResult("alice"), 0.5)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_json_line_has_time_level_name_and_account_first() -> None:
    log = Log()
    log.emit(events.LoggedIn("alice", "pop.example.org", 995, "TLSv1.3", "PLAIN", "Dovecot", ("TOP", "UIDL")))
    assert list(log.objects()[0].items()) == [
        ("timestamp", "2026-11-23T11:23:20.123Z"),
        ("level", "debug"),
        ("event", "session.login"),
        ("account", "alice"),
        ("host", "pop.example.org"),
        ("port", 995),
        ("tls", "TLSv1.3"),
        ("mechanism", "PLAIN"),
        ("implementation", "Dovecot"),
        ("capabilities", ["TOP", "UIDL"]),
    ]


def test_the_result_of_a_poll_is_flattened() -> None:
    log = Log()
    skipped = {SkipReason.TOO_LARGE: 2, SkipReason.OVER_LIMIT: 5}
    log.emit(poll_done(delivered=3, octets=4711, deleted=1, skipped=skipped, more=True))
    log.emit(poll_done(delivered=1, octets=7))
    head = {"timestamp": "2026-11-23T11:23:20.123Z", "level": "info", "event": "poll.done", "account": "alice"}
    first = {
        "new": 3,
        "bytes": 4711,
        "deleted": 1,
        "skipped": 7,
        "skip_reasons": {"too_large": 2, "over_limit": 5},
        "more": True,
        "took": 0.823,
    }
    second = {"new": 1, "bytes": 7, "deleted": 0, "skipped": 0, "took": 0.823}
    assert log.objects() == [head | first, head | second]


def test_unique_ids_are_escaped_enums_are_values_and_none_is_left_out() -> None:
    log = Log()
    log.emit(events.MessageSkipped("alice", UniqueId(b"\x1b[2J\xff"), SkipReason.REFUSED))
    log.emit(events.MessageSkipped("alice", None, SkipReason.REFUSED, 12))
    first, second = log.objects()
    assert first["uid"] == "\\x1b[2J\\xff"
    assert first["reason"] == "refused"
    assert "octets" not in first
    assert "uid" not in second
    assert second["octets"] == 12


def test_times_are_rounded_to_the_millisecond() -> None:
    log = Log()
    log.emit(events.PollScheduled("alice", at=WALL, delay=0.0004999, failures=0))
    assert log.objects()[0]["at"] == 1_795_433_000.123
    assert log.objects()[0]["delay"] == 0.0


def test_letters_stay_and_control_characters_do_not() -> None:
    """FAULTS 8: who decodes the JSON and prints a value is safe as well."""
    log = Log()
    log.emit(events.ConfigWarning("Zoë\x1b[31m\n\x9b\u2028"))
    assert "Zoë" in log.text
    assert log.text.count("\n") == 1
    assert log.objects()[0]["text"] == "Zoë\\x1b[31m\\n\\x9b\\u2028"


def test_a_trace_keeps_its_lines_and_nothing_else_of_its_control_characters() -> None:
    log = Log()
    log.emit(events.InternalError("alice", "KeyError: 1", "Traceback:\n  File\x1b[1m\n"))
    assert log.objects()[0]["trace"] == "Traceback:\n  File\\x1b[1m"


def test_json_has_no_colour_even_on_a_terminal() -> None:
    log = Log("json", is_tty=True)
    log.emit(poll_failed())
    assert log.objects()[0]["event"] == "poll.failed"


# ── levels ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("debug", ["poll.start", "daemon.poll_all", "config.warning", "config.reload_failed"]),
        ("info", ["daemon.poll_all", "config.warning", "config.reload_failed"]),
        ("warning", ["config.warning", "config.reload_failed"]),
        ("error", ["config.reload_failed"]),
    ],
)
def test_what_is_below_the_level_is_not_logged(level: str, logged: list[str]) -> None:
    log = Log(level=level)
    for event in (
        events.PollStarted("alice"),
        events.PollAllRequested(),
        events.ConfigWarning("x"),
        events.ReloadFailed(("x",)),
    ):
        log.emit(event)
    assert [line["event"] for line in log.objects()] == logged


def test_never_is_never_logged() -> None:
    log = Log(level="debug")
    log.emit(events.Received("alice", 4096))
    assert log.text == ""


def test_an_event_below_the_level_is_dropped_before_its_fields_are_looked_at() -> None:
    log = Log(level="info")

    class Watched(events.PollStarted):
        @property  # a field that tells when it is read
        def account(self) -> str:
            raise AssertionError("read")

    log.emit(object.__new__(Watched))
    assert log.text == ""


def test_a_failing_account_is_logged_when_it_starts_to_fail_and_when_it_recovers() -> None:
    """Issue 6, item 6: the first failure and each change of state, not every retry."""
    log = Log(level="info")
    for event in (poll_failed(), poll_failed(), poll_failed("other"), poll_failed("other"), poll_done(), poll_done()):
        log.emit(event)
    told = [(line["event"], line.get("error"), line.get("recovered")) for line in log.objects()]
    assert told == [("poll.failed", "no", None), ("poll.failed", "other", None), ("poll.done", None, True)]


def test_a_success_below_the_level_still_ends_a_failure() -> None:
    log = Log(level="warning")
    for event in (poll_failed(), poll_done(), poll_failed()):
        log.emit(event)
    assert [line["event"] for line in log.objects()] == ["poll.failed", "poll.failed"]


# ── the console ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "is_tty", "rendered"),
    [
        ("auto", True, "console"),
        ("auto", False, "json"),
        ("console", False, "console"),
        ("console", True, "console"),
        ("json", True, "json"),
    ],
)
def test_auto_means_console_on_a_terminal_and_json_elsewhere(form: str, is_tty: bool, rendered: str) -> None:
    line = Log(form, is_tty=is_tty).said(events.PollAllRequested())
    assert line.startswith("{") == (rendered == "json")


@pytest.mark.parametrize(
    ("form", "is_tty", "environ", "coloured"),
    [
        ("auto", True, {}, True),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("console", False, {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(form: str, is_tty: bool, environ: dict[str, str], coloured: bool) -> None:
    """https://no-color.org: set and not empty."""
    line = Log(form, is_tty=is_tty, environ=environ).said(poll_failed())
    assert ("\x1b[" in line) == coloured


def test_a_console_line_has_a_short_time_and_reads_well() -> None:
    line = Log("console").said(poll_done(delivered=3, octets=4711, skipped={SkipReason.TOO_LARGE: 2}))
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d info    poll\.done  account=alice new=3 bytes=4711 deleted=0 skipped=2 "
        r"skip_reasons=too_large:2 took=0\.823\n",
        line,
    )


def test_the_console_shows_the_local_time_of_day() -> None:
    """In another process, since a zone is set for a whole process."""
    code = (
        "from fetchd.observe.logs import LogRenderer; from fetchd.model import LogSettings\n"
        "from fetchd.events import PollAllRequested; from tests.clocks import FakeClock\n"
        f"LogRenderer(LogSettings('console'), print, is_tty=True, clock=FakeClock({WALL}))(PollAllRequested())"
    )
    root = Path(__file__).parents[2]
    environ = {"TZ": "UTC-5:30", "NO_COLOR": "1", "PYTHONPATH": str(root)}
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("16:53:20 info")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("escaped \\x1b once", '"escaped \\x1b once"'),
    ],
)
def test_a_text_is_quoted_where_it_is_not_one_plain_word(text: str, shown: str) -> None:
    assert Log("console").said(events.ConfigWarning(text)).endswith(f"config.warning  text={shown}\n")


def test_lists_and_truth_values_on_the_console() -> None:
    log = Log("console")
    reloaded = log.said(events.Reloaded(3, added=("a", "b c"), removed=(), changed=("d",)))
    assert reloaded.endswith('config.reloaded  accounts=3 added=a,"b c" removed=- changed=d\n')
    log.emit(poll_failed())
    assert log.said(poll_done()).endswith("took=0.823 recovered=true\n")


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    "attack",
    [
        "\n12:00:00 info    poll.done  account=alice",
        "\r\n{}",
        "\x1b]0;owned\x07\x1b[2J",
        "\x9b2J\x85",
        "\u2028\u2029\x0b\x0c\x1c\x1d\x1e",
    ],
)
def test_a_server_forges_no_line_and_commands_no_terminal(form: str, attack: str) -> None:
    """FAULTS 8, even for a text that was not made printable before."""
    log = Log(form)
    line = log.said(poll_failed(f"the server said {attack}"))
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line.splitlines()) == 1


def test_a_trace_stands_below_its_line_where_it_cannot_pass_for_one() -> None:
    log = Log("console")
    text = log.said(events.InternalError("alice", "KeyError: 1", "Traceback\n12:00:00 info  forged\x1b[1m"))
    head, *below = text.splitlines()
    assert head.endswith('internal.error  account=alice error="KeyError: 1"')
    assert below == ["    │ Traceback", "    │ 12:00:00 info  forged\\x1b[1m"]


def test_every_problem_of_a_bad_reload_has_its_own_line() -> None:
    text = Log("console").said(events.ReloadFailed(("f.yaml:3: accounts.a: no host", "f.yaml:9: \x1b[1mwhat")))
    assert text.splitlines()[1:] == ["    │ f.yaml:3: accounts.a: no host", "    │ f.yaml:9: \\x1b[1mwhat"]


# ── the way out ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_closed_stream_raises_nothing(form: str) -> None:
    """FAULTS 113."""
    log = Log(form)
    log.stream.close()
    log.emit(events.PollAllRequested())


def test_lost_lines_are_told_once_the_way_is_free() -> None:
    lines: list[str] = []
    blocked = True

    def write(line: str) -> bool:
        if not blocked:
            lines.append(line)
        return not blocked

    log = Log(write=write)
    for _ in range(3):
        log.emit(events.PollAllRequested())
    blocked = False
    log.emit(events.PollAllRequested())
    log.emit(events.PollAllRequested())
    told = [(line["event"], line.get("lines")) for line in map(json.loads, lines)]
    assert told == [("daemon.poll_all", None), ("log.lost", 3), ("daemon.poll_all", None)]


def test_lines_of_many_threads_stay_whole() -> None:
    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            for char in text:
                super().write(char)
                time.sleep(0)  # lets another thread in
            return len(text)

    stream = Slow()
    log = Log(write=LineWriter(stream))

    def work() -> None:
        for _ in range(10):
            log.emit(events.ConfigWarning("x" * 50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 80
    assert all(json.loads(line)["text"] == "x" * 50 for line in lines)


# ── the systemd journal ──────────────────────────────────────────────────────────────────────────────────────────────


def test_in_the_journal_a_line_is_a_humans_without_the_time_and_has_a_priority() -> None:
    log = Log("auto", journal=True)
    assert log.said(poll_done(delivered=3, octets=4711)) == (
        "<6>info    poll.done  account=alice new=3 bytes=4711 deleted=0 skipped=0 took=0.823\n"
    )


def test_in_the_journal_json_has_a_priority_too() -> None:
    line = Log("json", journal=True).said(poll_failed())
    assert line.startswith("<4>{")
    assert json.loads(line[3:])["timestamp"] == "2026-11-23T11:23:20.123Z"


@pytest.mark.parametrize(
    ("event", "prefix"),
    [
        (events.PollStarted("alice"), "<7>debug"),
        (events.PollAllRequested(), "<6>info"),
        (poll_failed(), "<4>warning"),
        (events.ReloadFailed(("one",)), "<3>error"),
    ],
)
def test_each_level_has_its_priority(event: events.Event, prefix: str) -> None:
    assert Log("auto", journal=True).said(event).startswith(prefix)


def test_each_line_of_several_has_the_priority() -> None:
    """The journal makes an entry of each line."""
    lines = Log("auto", journal=True).said(events.ReloadFailed(("one", "two"))).splitlines()
    assert len(lines) == 3
    assert [line[:3] for line in lines] == ["<3>"] * 3
