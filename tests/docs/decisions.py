"""The blocks of the documentation that are not simply run or read: one table, with the reason for each.

A block is known by its page and its first line. Without a line here a block of ``sh`` is run in the sandbox and must
succeed, ``yaml`` is read by fetchd's own loader and must have no error, ``python`` is run, ``ini`` is a drop-in that
systemd reads. Any other language, or none, needs a line.
"""

from dataclasses import dataclass
from typing import Final

from tests.docs.sandbox import PASSWORD


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """It cannot run here. Another test runs it: its path in the tree, or a target of ``make``."""

    reason: str
    run_by: str


@dataclass(frozen=True, slots=True)
class Shown:
    """It is nothing to be run: a picture in letters, or what a program says."""

    what: str


@dataclass(frozen=True, slots=True)
class Stays:
    """One command that runs until it is stopped, beside the blocks that follow; it must then end with exit code 0.

    Attributes:
        until: what it says once it is up.
    """

    until: str


@dataclass(frozen=True, slots=True)
class After:
    """It is run once something is there that its page takes for granted.

    Attributes:
        before: commands that put it there.
        code: the exit code that the page says it has.
    """

    before: str = ""
    code: int = 0


@dataclass(frozen=True, slots=True)
class Asks:
    """It is run on a terminal, and asks.

    Attributes:
        answers: to questions, by a part of each; Enter is the answer to all others.
    """

    answers: dict[str, str]


Decision = Elsewhere | Shown | Stays | After | Asks

_ENGINE: Final = "a container engine"
_STACK: Final = "another project's containers"
_STORE: Final = """\
mkdir -p /var/lib/fetchd /backup
cat >fetchd.yaml <<EOF
state: /var/lib/fetchd/fetchd.db
accounts:
  alice:
    host: pop.example.org
    user: alice@example.org
    password: {command: "echo 'open sesame'"}
    deliver: {maildir: mail}
EOF
fetchd -c fetchd.yaml --once
"""
_SWITCHED: Final = Elsewhere("it needs the old fetcher's own files", "tests/e2e/test_switch.py")
_SERVICE: Final = "it changes this machine's services"

DECISIONS: Final[dict[tuple[str, str], Decision]] = {
    ("README.md", 'export PATH="$PWD/.venv/bin:$PATH"'): Asks({"E-mail address": "alice@gmx.net", "assword": PASSWORD}),
    ("README.md", "fetchd"): Stays(until="daemon.started"),
    ("README.md", "docker build --tag fetchd .     # or: make image"): Elsewhere(_ENGINE, "make image-test"),
    ("docs/architecture.md", "daemon.py      an account is due: a worker (crew.py) calls the use case"): Shown(
        "the path"
    ),
    (
        "docs/architecture.md",
        "cli/            one module a command (init/ is a room of its own); progress bars; exit codes",
    ): Shown("the layers"),
    (
        "docs/logs.md",
        "14:03:07 info    poll.done  account=alice new=3 bytes=48211 deleted=0 skipped=0 took=0.82",
    ): Shown("what a terminal shows; tests/observe/test_vocabulary.py knows the events"),
    ("docs/durability.md", "sqlite3 /var/lib/fetchd/fetchd.db \".backup '/backup/fetchd.db'\""): After(_STORE),
    ("docs/docker-beside.md", "docker exec mailserver doveadm user alice@example.com"): Elsewhere(
        _STACK, "tests/docs/test_beside.py"
    ),
    ("docs/docker-beside.md", "docker build --tag fetchd --build-arg UID=5000 ."): Elsewhere(
        _ENGINE, "tests/image/test_compose.py"
    ),
    ("docs/docker-beside.md", "docker compose exec imap id mail   # uid=8(mail) gid=12(mail), say"): Elsewhere(
        _STACK, "tests/image/test_beside.py"
    ),
    ("docs/coming-from.md", "account            remembered  matched  new  gone"): Shown("what --seen says"),
    ("docs/coming-from.md", "fetchmail --quit || true    # and out of crontab, or disable its service"): _SWITCHED,
    ("docs/coming-from.md", "mkdir -p ~/.config/fetchd   # once getmail is out of crontab"): _SWITCHED,
    ("docs/coming-from.md", "mkdir -p ~/.config/fetchd   # once mpop is out of crontab"): _SWITCHED,
    ("docs/systemd.md", "python3 -m venv /opt/fetchd"): Elsewhere(_SERVICE, "make systemd-test"),
    (
        "docs/systemd.md",
        (
            "install -Dm644 systemd/notify-reload.conf /etc/systemd/system/fetchd.service.d/notify-reload.conf "
            "&& systemctl daemon-reload"
        ),
    ): Elsewhere(_SERVICE, "make systemd-test"),
    ("docs/systemd.md", "journalctl -u fetchd FETCHD_EVENT=poll.failed FETCHD_ACCOUNT=gmx"): Elsewhere(
        "it reads the journal of a machine that runs fetchd", "make systemd-test"
    ),
    ("docs/first-steps.md", "$ fetchd init"): Elsewhere("it asks, and shows a table", "tests/e2e/test_init.py"),
    ("docs/first-steps.md", "$ fetchd --once"): Elsewhere("it shows what comes out", "tests/e2e/test_init.py"),
    (
        "docs/first-steps.md",
        "fetchd init fetchd.yaml --address alice@example.org --host pop.example.org --maildir ~/Maildir \\",
    ): After(f"echo {PASSWORD} >password.txt"),
}
