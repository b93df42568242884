"""Ctrl-C at any moment of a command: no traceback, no half-said line, and an exit code that a shell knows (130)."""

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

PATIENCE = 60.0

_INTERRUPTED_AT = """
import os, signal, sys

_, wanted, *arguments = sys.argv
sys.argv = ["fetchd", *arguments]

class AtImport:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, AtImport())
from fetchd.__main__ import main
main()
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose only account nobody answers."""
    path = tmp_path / "fetchd.yaml"
    path.write_text(f"""
state: {tmp_path}/state/
accounts:
  alice:
    host: 127.0.0.1
    port: 9
    tls: none
    user: alice
    password: {{env: HOME}}
    deliver: {{maildir: {tmp_path}/Maildir}}
""")
    return path


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    # Whom a signal ended, a shell tells by 128 and its number, as we do where there was something to put in order.
    # And click ends the line on which the terminal shows ^C.
    return (130 if process.returncode == -signal.SIGINT else process.returncode), out, err.removesuffix("\n")


def start(config: Path, *arguments: str, at: str = "") -> subprocess.Popen[str]:
    how = ["-c", _INTERRUPTED_AT, at] if at else ["-m", "fetchd"]
    environ = {"HOME": str(config.parent), "RUNTIME_DIRECTORY": str(config.parent), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, *how, "-c", str(config), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


@pytest.mark.parametrize(
    ("arguments", "at"),
    [
        *(
            ("--once", at)
            for at in ("fetchd.cli", "click", "fetchd.cli.run", "pydantic", "yaml", "fetchd.pop3.session")
        ),
        *(("check", at) for at in ("fetchd.cli.check", "pydantic_core", "fetchd.config.loader")),
        *(("check --connect", at) for at in ("fetchd.errands", "fetchd.trial")),
        *(("status", at) for at in ("fetchd.cli.status", "fetchd.store.sqlite")),
        *(("poll", at) for at in ("fetchd.cli.poll", "fetchd.config.schema")),
        ("schema", "fetchd.config.json_schema"),
        ("--version", "fetchd.cli.version"),
        ("--help", "fetchd.cli.status"),
    ],
)
def test_while_a_command_is_being_loaded(arguments: str, at: str, config: Path) -> None:
    """Most of a short run is imports, so that is where Ctrl-C comes."""
    code, out, err = ended(start(config, *arguments.split(), at=at))
    assert (code, out, [line for line in err.splitlines() if not line.startswith("warning: ")]) == (130, "", [])


def test_while_check_connect_waits_for_a_server(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        config.write_text(config.read_text().replace("port: 9", f"port: {silent.getsockname()[1]}"))
        process = start(config, "check", "--connect")
        line, _ = silent.accept()
        with line:
            process.send_signal(signal.SIGINT)
            code, _, err = ended(process)
    assert code == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["poll", "status", "health"])
def test_while_the_daemon_does_not_answer(command: str, config: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(config.parent / "control"))
        silent.listen()
        silent.settimeout(PATIENCE)
        process = start(config, command)
        line, _ = silent.accept()
        with line:
            process.send_signal(signal.SIGINT)
            assert ended(process) == (130, "", "")


def test_where_interrupts_are_ignored_they_stay_so(config: Path) -> None:
    """As a shell starts what is to run in its background."""
    script = f"trap '' INT; exec {sys.executable} -m fetchd -c {config} check"
    done = subprocess.run(
        ["sh", "-c", f"{script} & wait; kill -0 $$"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "1 account" in done.stdout


def test_ctrl_c_at_a_terminal_leaves_it_as_it_was(config: Path) -> None:
    """The real key, at a terminal of its own: the bars had hidden the cursor."""
    terminal, inner = pty.openpty()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        config.write_text(config.read_text().replace("port: 9", f"port: {silent.getsockname()[1]}"))
        command = ["setsid", "--ctty", "--wait", sys.executable, "-m", "fetchd", "-c", str(config), "--once"]
        environ = {"HOME": str(config.parent), "PATH": "/usr/bin:/bin", "TERM": "xterm"}
        process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environ)
        os.close(inner)
        line, _ = silent.accept()
        with line:
            os.write(terminal, b"\x03")
            # A second one saves us the seconds that a message in hand would be given; nothing hangs on when it comes.
            again = threading.Timer(0.3, os.write, (terminal, b"\x03"))
            again.start()
            seen = read_to_the_end(terminal)
            again.join()
            os.close(terminal)
            assert process.wait(PATIENCE) == 130
    assert b"1 account: nothing new, 1 account not finished" in seen
    assert b"Traceback" not in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")


def read_to_the_end(terminal: int) -> bytes:
    seen = b""
    try:
        while more := os.read(terminal, 65536):
            seen += more
    except OSError:  # EIO: nobody has the other side open any more
        pass
    return seen
