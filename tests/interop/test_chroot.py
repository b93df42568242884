"""The chroots leave nothing behind, and a machine that cannot make them says why."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.interop.chroot import Chroot
from tests.interop.layers import Layers, UnavailableError

PATIENCE = 60.0

HOLD = """
import sys
from tests.interop.layers import Layers, cache_directory
with Layers(cache_directory()).chroot("popa3d", "openbsd-inetd") as chroot:
    print(chroot.pid, flush=True)
    sys.stdin.read()
"""


def processes(namespace: str) -> list[int]:
    """Returns the processes in a PID namespace."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "ns" / "pid") == namespace:
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended
    return found


def namespace_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/pid")


def mounts() -> str:
    return "".join(line for line in Path("/proc/self/mounts").read_text().splitlines() if "fetchd-interop" in line)


@pytest.fixture(scope="module")
def chroot(layers: Layers) -> Chroot:
    try:
        return layers.chroot("popa3d", "openbsd-inetd")
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.interop
def test_nothing_of_a_chroot_is_left_when_it_is_stopped(chroot: Chroot) -> None:
    with chroot:
        chroot.spawn("setsid", "sleep", "1000")
        namespace = namespace_of(chroot.pid)
        assert len(processes(namespace)) > 1
        assert mounts() == ""
    assert processes(namespace) == []


@pytest.mark.interop
def test_nothing_of_a_chroot_is_left_when_its_run_is_killed(chroot: Chroot) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        namespace = namespace_of(int(run.stdout.readline()))
        assert processes(namespace)
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while processes(namespace) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes(namespace) == []


@pytest.mark.interop
def test_what_a_chroot_changes_is_forgotten(chroot: Chroot) -> None:
    with chroot:
        chroot.write("/etc/changed", "yes")
        assert chroot.run("cat", "/etc/changed") == "yes"
    with chroot:
        assert not (chroot.root / "etc" / "changed").exists()


def test_only_root_makes_chroots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnavailableError, match="root"):
        Layers(tmp_path)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program, path: None if program == "mmdebstrap" else program)
    with pytest.raises(UnavailableError, match="mmdebstrap is missing: apt-get install mmdebstrap"):
        Layers(tmp_path)
