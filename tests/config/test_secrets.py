"""Where secrets are had: real files, real commands, and everything that could hang, flood or leak. FAULTS 88, 115."""

import errno
import os
import pickle
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.config.secrets import LIMIT_OCTETS, SecretReader
from fetchd.errors import Retry, SecretError
from fetchd.model import Secret, SecretCommand, SecretCredential, SecretEnv, SecretFile, SecretSource, SecretValue
from fetchd.ports import Secrets

MARKER = "xyzzy-hunter2"
PATH = {"PATH": os.defpath}


def reveal(source: SecretSource, environ: dict[str, str] | None = None, timeout: float = 30.0) -> bytes:
    reader: Secrets = SecretReader({**PATH, **(environ or {})}, timeout=timeout)
    return reader.reveal(source).reveal()


def refusal(source: SecretSource, environ: dict[str, str] | None = None, timeout: float = 30.0) -> str:
    with pytest.raises(SecretError) as refused:
        reveal(source, environ, timeout)
    link: BaseException | None = refused.value
    while link is not None:
        assert MARKER not in f"{link!r} {getattr(link, '__dict__', '')}"
        link = link.__cause__ or link.__context__
    assert refused.value.retry is Retry.LATER
    return str(refused.value)


def python(*lines: str) -> SecretCommand:
    return SecretCommand((sys.executable, "-S", "-c", "\n".join(("import os, sys, time", *lines))))


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("octets", "secret"),
    [
        (b"hunter2", b"hunter2"),
        (b"hunter2\n", b"hunter2"),
        (b"hunter2\r\n", b"hunter2"),
        (b" two words \n", b" two words "),
        ("grün%\"'".encode(), "grün%\"'".encode()),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"x" * LIMIT_OCTETS, b"x" * LIMIT_OCTETS),
    ],
)
def test_a_file_gives_its_octets_less_one_line_end(octets: bytes, secret: bytes, tmp_path: Path) -> None:
    """FAULTS 87: a password may hold spaces, quotes, any octet."""
    (tmp_path / "s").write_bytes(octets)
    assert reveal(SecretFile(tmp_path / "s")) == secret


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (b"a\n\n", "holds a line break, which no POP3 command can carry"),
        (b"a\r", "holds a line break, which no POP3 command can carry"),
        (b"a\r\nDELE 1", "holds a line break, which no POP3 command can carry"),
        (b"a\0b", "holds a NUL, which no POP3 command can carry"),
    ],
)
def test_a_secret_that_no_command_can_carry_is_refused(octets: bytes, said: str, tmp_path: Path) -> None:
    """FAULTS 88: whatever the source, before connecting."""
    path = tmp_path / "s"
    path.write_bytes(octets)
    assert refusal(SecretFile(path)) == f"password file {path} {said}"
    (tmp_path / "cred").write_bytes(octets)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert refusal(SecretCredential("cred"), environ) == f'systemd credential "cred" {said}'
    command = SecretCommand(("cat", str(path)))
    assert refusal(command) == f'password command "cat" {said}'


@pytest.mark.parametrize("octets", [b"", b"a\r\nb", b"a\nb", b"a\0b", b"a\n", b"a\r"])
def test_a_plain_value_or_a_variable_is_held_to_the_same_rule(octets: bytes) -> None:
    """No line end is taken off these: nothing adds one by habit."""
    assert "the password in the configuration" in refusal(SecretValue(Secret(octets)))
    if b"\0" not in octets:
        assert "environment variable P" in refusal(SecretEnv("P"), {"P": octets.decode()})


def test_a_symlink_is_followed(tmp_path: Path) -> None:
    """Kubernetes and Docker mount secrets as symlinks."""
    (tmp_path / "real").write_bytes(b"hunter2\n")
    (tmp_path / "link").symlink_to("real")
    assert reveal(SecretFile(tmp_path / "link")) == b"hunter2"


def test_a_loop_of_symlinks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(SecretFile(tmp_path / "loop")) == (
        f"password file {tmp_path}/loop: Too many levels of symbolic links"
    )


def test_a_missing_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert refusal(SecretFile(tmp_path / "s")) == f"password file {tmp_path}/s: No such file or directory"


def test_a_fifo_is_refused_and_nobody_waits_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(SecretFile(tmp_path / "fifo")) == f"password file {tmp_path}/fifo: not a regular file"


def test_a_fifo_with_a_writer_is_refused_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(fd, MARKER.encode())
        assert "not a regular file" in refusal(SecretFile(tmp_path / "fifo"))
    finally:
        os.close(fd)


def test_a_directory_a_device_and_a_socket_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        assert "password file" in refusal(SecretFile(tmp_path / "sock"))
    assert "not a regular file" in refusal(SecretFile(tmp_path))
    assert "not a regular file" in refusal(SecretFile(Path("/dev/zero")))


def test_a_large_file_is_refused_and_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: reading all of it would take hours
    assert refusal(SecretFile(path)) == f"password file {path}: larger than 64 KiB"


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    reader = SecretReader({})
    for secret in (b"old", b"new"):
        (tmp_path / "s").write_bytes(secret)
        assert reader.reveal(SecretFile(tmp_path / "s")) == Secret(secret)


def test_no_file_stays_open(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"a")

    def ours() -> list[str]:
        links = (os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
        return sorted(link for link in links if link.startswith((str(tmp_path), "pipe:", "anon_inode:[eventpoll]")))

    before = ours()
    for _ in range(5):
        reveal(SecretFile(tmp_path / "s"))
        refusal(SecretFile(tmp_path))
        reveal(SecretCommand(("echo", "a")))
        refusal(SecretCommand(("false",)))
        refusal(python("time.sleep(60)"), timeout=0.05)
    assert ours() == before


# ── the environment, systemd ─────────────────────────────────────────────────────────────────────────────────────


def test_a_variable_gives_its_value_as_it_is() -> None:
    assert reveal(SecretEnv("P"), {"P": " hunter2 "}) == b" hunter2 "
    assert reveal(SecretEnv("P"), {"P": os.fsdecode(b"\xff")}) == b"\xff"


def test_a_missing_variable_is_refused_by_name() -> None:
    assert refusal(SecretEnv("P")) == "environment variable P is not set"
    assert refusal(SecretEnv("P"), {"P": ""}) == "environment variable P is empty"


def test_a_credential_is_the_file_of_that_name(tmp_path: Path) -> None:
    """systemd.exec(5), $CREDENTIALS_DIRECTORY."""
    (tmp_path / "gmx").write_bytes(b"hunter2\n")
    assert reveal(SecretCredential("gmx"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == b"hunter2"


def test_a_credential_cannot_leave_its_directory(tmp_path: Path) -> None:
    (tmp_path / "creds").mkdir()
    (tmp_path / "s").write_bytes(MARKER.encode())
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "creds")}
    for name in ("../s", "/etc/shadow", "..", ".", ""):
        assert refusal(SecretCredential(name), environ) == f'systemd credential "{name}": that is a path, not a name'


def test_a_credential_without_systemd_says_what_to_add() -> None:
    assert refusal(SecretCredential("gmx")) == (
        'systemd credential "gmx": $CREDENTIALS_DIRECTORY is not set; add LoadCredential='
    )


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_gives_what_it_prints_less_one_line_end() -> None:
    assert reveal(SecretCommand(("echo", "hunter2"))) == b"hunter2"
    assert reveal(SecretCommand(("printf", "hunter2\\r\\n"))) == b"hunter2"


def test_no_shell_touches_a_command() -> None:
    assert reveal(SecretCommand(("echo", "$HOME `id` ; *"))) == b"$HOME `id` ; *"


def test_a_command_sees_the_environment_and_an_empty_input() -> None:
    """Ours may be a terminal: a command that asks there would wait for ever."""
    command = python("sys.stdout.write(os.environ['P'] + repr(sys.stdin.read()))")
    reading, writing = os.pipe()
    saved = os.dup(0)
    try:
        os.write(writing, b"typed")
        os.close(writing)
        os.dup2(reading, 0)
        assert reveal(command, {"P": "x"}) == b"x''"
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)


def test_a_command_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noexec").write_text("#!/bin/sh\n")
    missing, denied = str(tmp_path / "none"), str(tmp_path / "noexec")
    assert refusal(SecretCommand((missing, MARKER))) == (
        'password command "none" cannot be run: No such file or directory'
    )
    assert refusal(SecretCommand((denied, MARKER))) == 'password command "noexec" cannot be run: Permission denied'
    assert "hold a NUL" in refusal(SecretCommand(("echo", f"{MARKER}\0")))


def test_a_failing_command_tells_its_code_and_nothing_that_it_said(capfd: pytest.CaptureFixture[str]) -> None:
    """Its output may be the secret, and so may its words and what it says on stderr."""
    command = python(f"print('{MARKER}')", f"print('{MARKER}', file=sys.stderr)", "sys.exit(3)")
    said = refusal(command)
    assert said == f'password command "{Path(sys.executable).name}" failed with exit code 3'
    captured = capfd.readouterr()
    assert MARKER not in captured.out + captured.err


def test_a_command_killed_by_a_signal_tells_which() -> None:
    assert refusal(python("os.kill(os.getpid(), 9)")).endswith("was ended by signal 9")


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = python(
        "child = os.fork()",
        "if child:",
        f"    open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child}}')",
        f"    print('{MARKER}', flush=True)",
        "time.sleep(600)",
    )
    said = refusal(command, timeout=2.0)
    assert said.endswith("did not end within 2 s")
    assert pids.exists(), "the command had no time to start: the claim was not tested"
    for pid in map(int, pids.read_text().split()):
        assert ended(pid)


def test_closing_ends_a_command_that_hangs_with_its_children(tmp_path: Path) -> None:
    """A worker that was abandoned waits for it; without this it would outlive fetchd."""
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    command = python(
        "child = os.fork()",
        "if child:",
        f"    open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child}}')",
        "time.sleep(600)",
    )
    reader = SecretReader(PATH, timeout=60.0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(reader.reveal, command)
        running = [int(pid) for pid in pids.read_text().split()]
        reader.close()
        with pytest.raises(SecretError, match="was ended by signal 9"):
            waiting.result(30)
    assert len(running) == 2
    assert all(ended(pid) for pid in running)


def test_a_command_that_may_not_be_killed_is_an_error_of_the_secret_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It became another user (sudo): EPERM."""
    killpg = os.killpg

    def denied(group: int, number: int) -> None:
        killpg(group, number)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "killpg", denied)
    assert refusal(python("time.sleep(600)"), timeout=0.5).endswith("did not end within 0.5 s")


def test_no_command_is_run_after_closing(tmp_path: Path) -> None:
    reader = SecretReader(PATH)
    reader.close()
    with pytest.raises(SecretError, match=r'^password command "touch" is not run: fetchd is ending$'):
        reader.reveal(SecretCommand(("touch", str(tmp_path / "ran"))))
    assert not (tmp_path / "ran").exists()


def test_a_command_that_began_while_the_reader_was_closed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SecretReader(PATH)
    popen = subprocess.Popen

    def close_then_run(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        reader.close()
        return popen(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", close_then_run)
    with pytest.raises(SecretError, match="was ended by signal 9"):
        reader.reveal(python("time.sleep(600)"))


def ended(pid: int) -> bool:
    """Returns whether a process is gone, or a zombie that nobody has waited for."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_a_command_that_ignores_signals_is_ended_all_the_same() -> None:
    command = python("import signal", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "time.sleep(600)")
    assert refusal(command, timeout=0.5).endswith("did not end within 0.5 s")


def test_a_command_that_closes_its_output_and_lingers_is_ended() -> None:
    command = python("os.write(1, b'x')", "os.close(1)", "time.sleep(600)")
    assert refusal(command, timeout=1.0).endswith("did not end within 1 s")


def test_a_child_that_keeps_the_output_open_is_ended() -> None:
    """The command itself ends at once; what it leaves behind holds the pipe."""
    command = python("if os.fork():", "    os.write(1, b'x')", "    os._exit(0)", "time.sleep(600)")
    assert refusal(command, timeout=1.0).endswith("did not end within 1 s")


def test_a_command_that_prints_a_gigabyte_is_cut_off() -> None:
    command = python("block = b'x' * 2**20", "for _ in range(1024): os.write(1, block)")
    assert refusal(command).endswith("printed more than 64 KiB")


def test_a_command_that_prints_for_ever_by_drops_is_ended() -> None:
    """The deadline is on the whole, not on each read."""
    command = python("while True:", "    os.write(1, b'x')", "    time.sleep(0.05)")
    assert refusal(command, timeout=0.5).endswith("did not end within 0.5 s")


def test_a_command_is_not_left_as_a_zombie() -> None:
    before = children()
    reveal(SecretCommand(("echo", "a")))
    refusal(SecretCommand(("false",)))
    refusal(python("time.sleep(600)"), timeout=0.05)
    assert children() <= before


def children() -> set[str]:
    """Returns our child processes, zombies included."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_a_command_does_not_get_the_signals_of_our_terminal() -> None:
    """Ctrl-C ends fetchd, which lets a session in hand come to its end; the command belongs to that."""
    assert reveal(python("print(os.getpid() == os.getpgrp() and os.getpgrp() != os.getppid())")) == b"True"


# ── in memory ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_shows_itself_to_nobody() -> None:
    source = SecretValue(SecretReader({}).reveal(SecretValue(Secret(MARKER.encode()))))
    assert MARKER not in f"{source} {source!r} {source.value} {source.value!r}"
    with pytest.raises(TypeError):
        pickle.dumps(source)


@given(st.binary(min_size=1, max_size=100))
def test_any_octets_but_cr_lf_and_nul_are_a_secret(octets: bytes) -> None:
    source = SecretValue(Secret(octets))
    if {0, 10, 13}.isdisjoint(octets):
        assert reveal(source) == octets
    else:
        refusal(source)
