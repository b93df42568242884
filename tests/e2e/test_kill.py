"""SIGKILL in the middle of a poll, ten times, against a real Dovecot: every message is there exactly once."""

import mailbox as mailboxes
import random
import re
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import MakeMailbox
from tests.e2e.running import PATIENCE, command, environment, fetchd, maildir_content, write_config

KILLS = 10
EACH = 40
MOST_RUNS = 60
"""A poll that has ended before the kill comes proves nothing, and is followed by another one."""


def message(number: int) -> bytes:
    return b"Subject: %d\n\nFrom here\n" % number + b"%d" % number * (number * 37 % 4000) + b"\n"


def files(*places: Path) -> int:
    """Counts the files anywhere under these places; those that vanish while we look do not matter."""
    found = (path for place in places if place.exists() for path in place.rglob("*"))
    return sum(path.is_file() and path.suffix != ".lock" for path in found)


def run_and_kill(home: Path, config: Path, *, after: int) -> bool:
    """Runs a poll, and kills it once that many more files are staged or delivered; returns whether it still ran."""
    watched = [home / "Maildir", home / "state" / "mbox-staging"]
    before = files(*watched)
    with subprocess.Popen(
        command("-c", str(config), "--once"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(home)
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and files(*watched) < before + after and time.monotonic() < deadline:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return process.returncode == -signal.SIGKILL


def read_back(home: Path, target: str) -> list[bytes]:
    if target == "maildir":
        return maildir_content(home / "Maildir")
    with closing(mailboxes.mbox(home / "mbox", create=False)) as box:
        return sorted(re.sub(rb"(?m)^>(>*From )", rb"\1", box.get_bytes(key)) for key in box.iterkeys())


@pytest.mark.parametrize("target", ["maildir", "mbox"])
@pytest.mark.parametrize("leave", [True, False], ids=["keep", "delete"])
def test_killed_ten_times_every_message_is_there_exactly_once(
    mailbox: MakeMailbox, tmp_path: Path, leave: bool, target: str
) -> None:
    dice = random.Random(f"{leave} {target}")
    box = mailbox()
    account = {
        "host": box.server.host,
        "port": box.server.port,
        "tls": "none",
        "user": box.user,
        "password": box.password,
        "leave_on_server": leave,
        "deliver": {target: str(tmp_path / ("Maildir" if target == "maildir" else "mbox"))},
    }
    config = write_config(tmp_path, {"alice": account})
    sent: list[bytes] = []
    landed = runs = 0
    while landed < KILLS:
        assert runs < MOST_RUNS, "the polls end before they can be killed: this proves nothing"
        runs += 1
        new = [message(len(sent) + number) for number in range(EACH)]
        box.put(*new)
        sent += new
        landed += run_and_kill(tmp_path, config, after=dice.randrange(EACH))
    print(f"{landed} of {runs} polls were killed while they ran")
    last = fetchd(tmp_path, "-c", str(config), "--once")
    assert last.code == 0, last.err
    assert read_back(tmp_path, target) == sorted(sent)
    assert len(box.messages()) == (len(sent) if leave else 0)
    assert files(tmp_path / "Maildir" / "tmp", tmp_path / "state" / "mbox-staging") == 0
    assert fetchd(tmp_path, "-c", str(config), "--once").out == "1 account: nothing new\n"
