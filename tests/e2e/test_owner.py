"""One fetchd as root, many users: the real program, with the two capabilities that its unit gives it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.running import command, environment, maildir_content, write_config
from tests.faults.bench import message, stored, uid
from tests.faults.server import FaultyServer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can deliver as somebody else")
USERS = {"alice": 40_001, "bob": 40_002}
AS_IN_THE_UNIT = ("--bounding-set", "-all,+setuid,+setgid", "--inh-caps", "-all", "--no-new-privs", "--clear-groups")


@pytest.fixture
def home() -> Iterator[Path]:
    """That everybody may enter, with a home for each user."""
    with TemporaryDirectory(prefix="fetchd-owner-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        for name, number in USERS.items():
            (root / name).mkdir(mode=0o700)
            os.chown(root / name, number, number)
        yield root


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        running.mail += [(uid(number), message(number)) for number in (1, 2)]
        yield running


def configure(home: Path, server: FaultyServer, *, owned: bool = True) -> Path:
    accounts = {}
    for name, number in USERS.items():
        kind, file = ("maildir", "Maildir") if name == "alice" else ("mbox", "mbox")
        deliver = {kind: str(home / name / file), **({"owner": f"{number}:{number}"} if owned else {})}
        accounts[name] = {
            "host": "127.0.0.1",
            "port": server.port,
            "tls": "none",
            "user": name,
            "password": "open sesame",
            "deliver": deliver,
        }
    return write_config(home, accounts)


def run(home: Path, config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = command("-c", str(config), "--once")
    return subprocess.run(
        ["setpriv", *options, *program], capture_output=True, text=True, env=environment(home), cwd="/", check=False
    )


def test_root_with_two_capabilities_delivers_to_each_user(home: Path, server: FaultyServer) -> None:
    config = configure(home, server)
    first = run(home, config, *AS_IN_THE_UNIT)
    assert (first.returncode, first.stdout.split(" (")[0]) == (0, "2 accounts: 4 new messages"), first.stderr
    assert maildir_content(home / "alice/Maildir") == stored(1, 2)
    for name, number in USERS.items():
        assert {path.stat().st_uid for path in (home / name).rglob("*")} == {number}
    again = run(home, config, *AS_IN_THE_UNIT)
    assert (again.returncode, again.stdout) == (0, "2 accounts: nothing new\n"), again.stderr


def test_root_without_an_owner_delivers_to_no_user(home: Path, server: FaultyServer) -> None:
    ended = run(home, configure(home, server, owned=False))
    assert ended.returncode == 1
    assert "say whose the mail is, as in `owner: 40001`" in ended.stderr
    assert list((home / "alice").iterdir()) == list((home / "bob").iterdir()) == []
    assert server.retrieved == []


def test_a_user_with_anothers_mailbox_in_the_configuration_is_told_so(home: Path, server: FaultyServer) -> None:
    """Exit code 78, before anything is fetched; the line says where and what to do."""
    config = configure(home, server)
    os.chown(config, USERS["bob"], USERS["bob"])
    ended = run(home, config, "--reuid", "40002", "--regid", "40002", "--clear-groups")
    assert ended.returncode == 78
    assert "accounts.alice.deliver.owner: fetchd runs as uid 40002, and only root can deliver as anoth" in ended.stderr
    assert server.retrieved == []
