"""A machine with a real systemd: a Debian of layers that systemd-nspawn boots in a second, with fetchd installed in it.

As with the chroots, nothing has to be tidied up but cgroups: the kernel ends all of it along with us.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.interop.chroot import Chroot, ChrootError, environment
from tests.interop.layers import Layers, UnavailableError, cache_directory

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = Path(__file__).with_name("boot.sh")
PACKAGES: Final = ("systemd", "systemd-sysv", "dbus", "python3")
_SECONDS: Final = 60.0
_PATIENCE: Final = 0.05
_STARTER: Final = """#!/usr/bin/python3
import sys
sys.path.insert(0, "/usr/lib/fetchd")
from fetchd.cli import main
main()
"""

Found = TypeVar("Found")


class Machine(Chroot):
    """A booted Debian. What runs in it is started through its systemd."""

    def __init__(self, layers: Sequence[Path], mount_point: Path) -> None:
        super().__init__(layers, mount_point)
        self._cgroups: list[Path] = []

    def start(self) -> None:
        """Boots, and returns once systemd has started what it was to start.

        Raises:
            ChrootError: it does not boot.
        """
        self._cgroups = list(_make_cgroups())
        self._holder = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=KILL", "--"),
                *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--"),
                *("sh", str(SCRIPT), str(self._mount_point), self._lower, *map(str, self._cgroups)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
        try:
            self.pid = self.wait_until("the first process", self._find_init)
            self.wait_until("the system bus", (self.root / "run/dbus/system_bus_socket").exists)
            self.wait_until("a running system", self._is_up)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all that runs inside; may be called twice."""
        super().stop()
        for cgroup in self._cgroups:
            _remove_cgroup(cgroup)
        self._cgroups = []

    @property
    def log(self) -> str:
        """What the journal has of fetchd."""
        return self.call("journalctl", "-q", "--no-pager", "-n", "40").stdout if self.pid else ""

    def call(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Runs a command inside to its end, whatever comes of it; standard error is in its output."""
        return subprocess.run(
            self._inside(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def shows(self, unit: str, name: str) -> str:
        """Returns one of a unit's properties."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str, *options: str) -> list[dict[str, Any]]:
        """Returns the entries of a unit's own processes, the oldest first."""
        lines = self.run("journalctl", "-q", "--no-pager", "-o", "json", f"_SYSTEMD_UNIT={unit}", *options)
        return [json.loads(line) for line in lines.splitlines()]

    def wait_until(self, what: str, ask: Callable[[], Found | None]) -> Found:
        """Returns the first answer that says something.

        Raises:
            ChrootError: there never is one, or the machine has gone.
        """
        deadline = time.monotonic() + _SECONDS
        while not (answer := ask()):
            if self._holder is None or self._holder.poll() is not None or time.monotonic() > deadline:
                raise ChrootError(f"{what} never came about: {self._said()}")
            time.sleep(_PATIENCE)
        return answer

    def _said(self) -> str:
        if self._holder is not None and self._holder.poll() is not None:
            assert self._holder.stderr is not None
            return self._holder.stderr.read().decode(errors="replace").strip()
        return self.log

    def _find_init(self) -> int | None:
        """Returns the first process inside: the child of nspawn, which is the child of ``unshare``."""
        assert self._holder is not None
        for nspawn in _children(self._holder.pid):
            for init in _children(nspawn):
                with suppress(OSError):
                    if Path(f"/proc/{init}/comm").read_text().strip() == "systemd":
                        return init
        return None

    def _is_up(self) -> bool:
        return self.call("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}

    def _inside(self, *argv: str) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--all", "--", *argv]


def debian(suite: str, scratch: Path) -> Machine:
    """Returns a machine with fetchd in it, ready to be booted; making its layers may take a minute.

    Args:
        suite: the Debian's.
        scratch: a directory for the layer with fetchd itself.

    Raises:
        UnavailableError: this machine cannot make it.
    """
    if shutil.which("systemd-nspawn", path=environment()["PATH"]) is None:
        raise UnavailableError("systemd-nspawn is missing: apt-get install systemd-container")
    system = Layers(cache_directory(), suite).directories(*PACKAGES)
    (python,) = {path.name for path in (system[0] / "usr/bin").glob("python3.*") if path.name[8:].isdigit()}
    version = python.removeprefix("python")
    mount_point = scratch / "mount-point"
    mount_point.mkdir()
    layers = [_package(scratch / "fetchd"), _libraries(version), *system]
    return Machine(layers, mount_point)


def _package(layer: Path) -> Path:
    """Installs fetchd, built from this tree, as the README says: the package, the units, the user."""
    library = layer / "usr/lib/fetchd"
    wheels = layer.with_name("wheels")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT))
    (wheel,) = wheels.iterdir()
    _pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(library), str(wheel))
    starter = layer / "usr/bin/fetchd"
    starter.parent.mkdir(parents=True)
    starter.write_text(_STARTER)
    starter.chmod(0o755)
    for source, target in (
        ("fetchd.service", "etc/systemd/system/fetchd.service"),
        ("fetchd@.service", "etc/systemd/system/fetchd@.service"),
        ("notify-reload.conf", "usr/share/doc/fetchd/notify-reload.conf"),
        ("fetchd.sysusers", "usr/lib/sysusers.d/fetchd.conf"),
    ):
        (layer / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "systemd" / source, layer / target)
    return layer


def _libraries(version: str) -> Path:
    """Returns the layer with what fetchd needs, for an interpreter of this version: kept like the others."""
    lock = ROOT / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()[:12]
    made = cache_directory() / f"libraries-{digest}"
    if not made.exists():
        build = cache_directory() / f"libraries-{digest}.{os.getpid()}"
        wanted = ("--require-hashes", "-r", str(lock), "--only-binary=:all:", f"--python-version={version}")
        _pip("install", "--no-deps", "--no-compile", *wanted, "--target", str(build / "usr/lib/fetchd"))
        with suppress(OSError):  # another run was faster
            build.rename(made)
        shutil.rmtree(build, ignore_errors=True)
    return made


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(f"pip {arguments[0]} failed: {done.stdout.strip()[-500:]}")


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    yield int(entry.name)


def _make_cgroups() -> Iterator[Path]:
    """Makes a cgroup of ours, in the unified hierarchy and in systemd's own where there is one beside it.

    Else nspawn would leave its two in the machine's topmost.

    Raises:
        UnavailableError: they cannot be made here.
    """
    found = False
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split()[-1].split(",")):
            found = True
            cgroup = Path(before.split()[4], f"fetchd-systemd-{os.getpid()}")
            try:
                cgroup.mkdir(exist_ok=True)
            except OSError as error:
                raise UnavailableError(f"{cgroup}: {error.strerror}: nspawn needs cgroups of its own") from error
            yield cgroup
    if not found:
        raise UnavailableError("there is no cgroup2 here, which systemd-nspawn needs")


def _remove_cgroup(cgroup: Path) -> None:
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with suppress(OSError):  # it is tidiness, no more
            Path(directory).rmdir()
