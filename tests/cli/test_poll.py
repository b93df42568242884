"""fetchd.cli.poll: what an operator is told who asks for a poll."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fetchd import cli
from fetchd.control import ControlServer
from fetchd.inbox import Message, PollAnswer, PollRequest
from fetchd.schedule import Prompted

Answer = Callable[[PollRequest], PollAnswer]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    secret.chmod(0o600)
    path = tmp_path / "fetchd.yaml"
    path.write_text(f"""
state: {tmp_path}/fetchd.db
accounts:
  alice:
    host: 127.0.0.1
    user: alice
    password: {{file: {secret}}}
    deliver: {{maildir: {tmp_path}/Maildir}}
""")
    return path


@pytest.fixture
def daemon(config: Path) -> Iterator[list[PollAnswer]]:
    """A daemon that answers with what a test puts into the list."""
    answers: list[PollAnswer] = []

    def post(message: Message) -> None:
        assert isinstance(message, PollRequest)
        message.answer(answers.pop())

    with ControlServer(config.parent / "control", source=config, post=post, status=bytes, health=lambda: (True, "ok")):
        yield answers


def said(capsys: pytest.CaptureFixture[str], config: Path, *names: str) -> tuple[int, str, str]:
    code = cli.invoke(["-c", str(config), "poll", *names])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_each_named_account_gets_its_line(
    capsys: pytest.CaptureFixture[str], config: Path, daemon: list[PollAnswer]
) -> None:
    told = (Prompted("alice"), Prompted("b", 40.5), Prompted("c", running=True), Prompted("d", held=True))
    daemon.append(PollAnswer(told))
    assert said(capsys, config, "alice", "b", "c", "d") == (
        0,
        (
            "alice: now\n"
            "b: in 40 s, since the server wants no login before (LOGIN-DELAY)\n"
            "c: is being polled, and is polled again right after\n"
            "d: now, though it was on hold\n"
        ),
        "",
    )


def test_all_accounts_are_summed_up_with_those_that_have_to_wait(
    capsys: pytest.CaptureFixture[str], config: Path, daemon: list[PollAnswer]
) -> None:
    daemon.append(PollAnswer((Prompted("alice"), Prompted("b", 90.0), Prompted("c"))))
    assert said(capsys, config) == (
        0,
        "2 of 3 accounts: now\nb: in 1 min, since the server wants no login before (LOGIN-DELAY)\n",
        "",
    )


def test_a_misspelt_name_is_bad_usage_with_a_hint(
    capsys: pytest.CaptureFixture[str], config: Path, daemon: list[PollAnswer]
) -> None:
    daemon.append(PollAnswer(unknown=("alcie",), known=("alice", "bob")))
    assert said(capsys, config, "alcie") == (2, "", "fetchd: no account 'alcie'; did you mean \"alice\"?\n")
    daemon.append(PollAnswer(unknown=("zzz",), known=("bob", "alice")))
    assert said(capsys, config, "zzz") == (2, "", "fetchd: no account 'zzz'; there are: alice, bob\n")


def test_without_a_daemon_one_line_says_so(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out, err = said(capsys, config)
    assert (code, out) == (1, "")
    assert err.startswith("fetchd: no fetchd runs with this configuration: nobody listens at ")
    assert err.count("\n") == 1
