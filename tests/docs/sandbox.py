"""Where blocks of the documentation are run: a home directory, a shell, and a mail server behind every name they use.

Nothing in a block is rewritten but the paths that are the machine's own (``/etc/fetchd`` …), which stand below a root
of the sandbox; where root runs the tests, nothing else can be written to. The ``fetchd`` on its PATH is the real one
with a telephone book of its own: each name that a page may name leads to the test's Dovecot, whose certificate has that
name, and no other name leads anywhere. Whoever asks for a password on standard input is answered.
"""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from tests.docs.pages import ROOT
from tests.servers.dovecot import Dovecot

HOSTS: Final = ("pop.example.org", "pop.example.com", "pop.gmx.net", "mail.example.com")
"""The names that the pages' commands connect to."""
USERS: Final = ("alice@example.org", "alice@gmx.net", "alice")
PASSWORD: Final = "open sesame"
SYSTEM_PATHS: Final = ("/etc/fetchd", "/var/lib/fetchd", "/home/alice", "/srv/mail", "/backup")
"""Paths of the machine that are the sandbox's own in it."""
PATIENCE: Final = 60.0

MESSAGES: Final = tuple(
    f"From: bob@example.net\r\nTo: alice@example.org\r\nSubject: letter {number}\r\n\r\nRead me.\r\n".encode()
    for number in (1, 2)
)

_LAUNCHER: Final = '''\
#!{python}
"""fetchd, with a telephone book of the sandbox's own."""
import socket
import sys

BOOK, PORTS, asked = {hosts!r}, {ports!r}, socket.getaddrinfo

def getaddrinfo(host, port, *others, **more):
    if host in BOOK:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", PORTS.get(int(port), 9)))]
    if host in ("localhost", "127.0.0.1"):
        return asked(host, port, *others, **more)
    raise socket.gaierror(socket.EAI_NONAME, "the sandbox knows no such name")

socket.getaddrinfo = getaddrinfo
{body}
'''
_RUN_FETCHD: Final = "from fetchd.cli import main\nmain()\n"
_RUN_SCRIPT: Final = "exec(compile(sys.stdin.read(), 'the block', 'exec'), {'__name__': '__main__'})\n"

_MAKE: Final = """\
#!/bin/sh
# What make would do, and whether it has such a target: the tests of each target run it.
exec {make} --no-print-directory --dry-run -C {root} "$@" >/dev/null
"""
_SQLITE3: Final = """\
#!{python}
import re, sqlite3, sys
found = re.fullmatch(r"[.]backup '(.+)'", sys.argv[2])
with sqlite3.connect(f"file:{{sys.argv[1]}}?mode=rw", uri=True) as store, sqlite3.connect(found[1]) as copy:
    store.backup(copy)
"""
_NOT_HERE: Final = (
    "sudo systemctl journalctl docker podman apt apt-get pip pipx npm curl wget ssh useradd groupadd kill"
)
_REFUSE: Final = """\
#!/bin/sh
echo "the sandbox runs no ${0##*/}: say in decisions.py which other test does" >&2
exit 97
"""
_READ_ONLY: Final = """\
mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && cd "$PWD" && exec "$@"
"""
_AROUND: Final = """\
set -e
[ ! -e {session} ] || . {session}
cd "${{PWD_OF_PAGE:-$HOME}}"
{block}
PWD_OF_PAGE=$PWD; export PWD_OF_PAGE
export -p >{session}
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a block ended."""

    code: int
    output: str


@dataclass
class Sandbox:
    """A home for the blocks of one page, which are run one after the other, as in one terminal."""

    root: Path
    server: Dovecot
    ca_file: Path
    _background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("home", "bin", "logs"):
            (self.root / name).mkdir()
        # A checkout after `make demo`, as the pages have it.
        for name in ("config", "systemd", "docs"):
            (self.home / name).symlink_to(ROOT / name)
        (self.home / ".venv/bin").mkdir(parents=True)
        ports = {995: self.server.tls_port, 110: self.server.port}
        for program, body in (("fetchd", _RUN_FETCHD), ("python-block", _RUN_SCRIPT)):
            text = _LAUNCHER.format(python=sys.executable, hosts=HOSTS, ports=ports, body=body)
            self._install(program, text)
        (self.home / ".venv/bin/fetchd").symlink_to(self.root / "bin/fetchd")
        self._install("make", _MAKE.format(make="/usr/bin/make", root=ROOT))
        self._install("sqlite3", _SQLITE3.format(python=sys.executable))
        for program in _NOT_HERE.split():
            self._install(program, _REFUSE)
        self._install("editor", "#!/bin/sh\nexit 0 # nothing is left to be written in the sandbox\n")

    @cached_property
    def _confined(self) -> list[str]:
        """What to begin a command with so that it can write nothing outside the sandbox, where root may do that."""
        confined = ["unshare", "--mount", "--propagation=private", "sh", "-c", _READ_ONLY, "sh", str(self.root)]
        tried = subprocess.run([*confined, "true"], stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        return confined if tried.returncode == 0 else []

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which nothing of the machine's own fetchd can be found."""
        return {
            "HOME": str(self.home),
            # For root both would be the machine's own.
            "FETCHD_CONFIG": str(self.home / ".config/fetchd/fetchd.yaml"),
            "STATE_DIRECTORY": str(self.home / ".local/state/fetchd"),
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "SSL_CERT_FILE": str(self.ca_file),
        }

    def below_root(self, text: str) -> str:
        """Returns a text with the machine's paths below the sandbox's root."""
        for path in SYSTEM_PATHS:
            text = text.replace(path, str(self.root) + path)
        return text

    def write(self, name: str, text: str) -> Path:
        """Writes a file that a page shows, under the name that it gives it, for its owner alone."""
        path = Path(self.below_root(name).replace("~", str(self.home), 1))
        path = path if path.is_absolute() else self.home / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.below_root(text))
        path.chmod(0o600)
        return path

    def shell(self, text: str) -> Ended:
        """Runs commands to their end. What they export, and where they go, is there for the next ones too."""
        script = _AROUND.format(session=self.root / "session", block=self.below_root(text))
        return self._run(["/bin/sh", "-c", script])

    def interview(self, text: str, answers: Mapping[str, str]) -> Ended:
        """Runs commands on a terminal of their own, and answers their questions: see ``decisions.Asks``."""
        script = _AROUND.format(session=self.root / "session", block=self.below_root(text))
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.home)
            command = [*self._confined, "/bin/sh", "-c", script]
            os.execvpe(command[0], command, {**self.environment, "TERM": "dumb"})
        try:
            said = _answered(terminal, answers)
        finally:
            os.close(terminal)  # and who still reads or writes there is hung up
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Ended(code, said)

    def python(self, text: str) -> Ended:
        """Runs a Python program."""
        return self._run([str(self.root / "bin/python-block")], stdin=text)

    def start(self, text: str, *, until: str) -> None:
        """Runs one command that does not end by itself; returns once it has said ``until``."""
        log = self.root / "logs" / str(len(self._background))
        script = _AROUND.format(session=self.root / "session", block=f"exec {self.below_root(text)}")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._confined, "/bin/sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                cwd=self.home,
            )
        self._background.append(process)
        deadline = time.monotonic() + PATIENCE
        while until not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def stop(self) -> list[int]:
        """Asks what runs in the background to end; returns the exit codes."""
        for process in self._background:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(timeout=PATIENCE) for process in self._background]
        self._background.clear()
        return codes

    def kill(self) -> None:
        """Ends what was not stopped, since a test failed."""
        for process in self._background:
            process.kill()
            process.wait()

    def _run(self, command: list[str], *, stdin: str = PASSWORD + "\n") -> Ended:
        ended = subprocess.run(
            [*self._confined, *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=self.home,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout)

    def _install(self, name: str, text: str) -> None:
        program = self.root / "bin" / name
        program.write_text(text)
        program.chmod(0o755)


def _answered(terminal: int, answers: Mapping[str, str]) -> str:
    """Answers what ends in a colon and a blank, until the terminal is closed; returns all that was said there."""
    said, answered = "", 0
    while select.select([terminal], [], [], PATIENCE)[0]:
        try:
            said += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # Linux says EIO when the last program is gone
            return said
        question = said[answered:].rpartition("\n")[2]
        if question.endswith(": "):
            answered = len(said)
            answer = next((answer for part, answer in answers.items() if part in question), "")
            os.write(terminal, answer.encode() + b"\n")
    raise AssertionError(f"nothing more came:\n{said}")
