"""The file systems of the chroots: one minimal Debian, and on top of it a layer for each set of packages.

They are made once and kept in a directory outside the repository, which may be deleted at any time. Their source is
the Debian mirror that this machine itself uses.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.interop.chroot import SCRIPT, Chroot, environment, namespaces

SUITE: Final = "bookworm"
"""The last Debian that has all servers; its release, not the machine's."""
_BUILD_SECONDS: Final = 1800.0
_TAIL: Final = 15
_PROGRAMS: Final = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "mmdebstrap": "mmdebstrap",
    "apt-get": "apt",
}
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_INDEX: Final = re.compile(r"'(?P<address>[^']+/)dists/(?P<release>[^/']+)/main/binary-[^/']+/Packages")
_PROXIES: Final = tuple(f"{scheme}_proxy" for scheme in ("http", "https", "all", "no"))
_PASSED_ON: Final = re.compile(
    r'(Acquire::(?:(?:https?|ftp)::[\w:.-]+|Retries|Check-Date|Check-Valid-Until|ForceIPv[46]) "[^"]+");'
)


class UnavailableError(Exception):
    """This machine cannot make or mount the chroots; the message says why."""


def cache_directory() -> Path:
    """Returns where layers are kept: ``$FETCHD_INTEROP_CACHE``, or ``fetchd-interop`` among the machine's caches."""
    named = os.environ.get("FETCHD_INTEROP_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache") / "fetchd-interop"


class Layers:
    """The layers that are kept in ``directory``, of the Debian ``suite``.

    Raises:
        UnavailableError: this is no machine for it.
    """

    def __init__(self, directory: Path, suite: str = SUITE) -> None:
        if os.geteuid():
            raise UnavailableError("chroots are made and mounted by root only")
        for program, package in _PROGRAMS.items():
            if shutil.which(program, path=environment()["PATH"]) is None:
                raise UnavailableError(f"{program} is missing: apt-get install {package}")
        self._directory = directory
        self._suite = suite
        self._mount_point = directory / "mount-point"
        try:
            self._mount_point.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"no layers can be kept in {directory}: {error}") from error
        with self._building() as build:
            _run("overlays cannot be mounted (see FETCHD_INTEROP_CACHE)", "probe", str(build))

    def chroot(self, *packages: str) -> Chroot:
        """Returns a Debian with these packages, ready to be started; making their layer may take minutes.

        Raises:
            UnavailableError: they cannot be installed.
        """
        return Chroot(self.directories(*packages), self._mount_point)

    def directories(self, *packages: str) -> Sequence[Path]:
        """Returns what such a Debian is made of, the topmost first.

        Raises:
            UnavailableError: they cannot be installed.
        """
        base = self._base()
        return [self._layer(base, packages), base]

    def _base(self) -> Path:
        made = self._directory / _name("base", self._suite)
        with self._building() as build:
            if not made.exists():
                options = [f"--aptopt={option}" for option in _apt_options()]
                what = "the base of the chroots cannot be made"
                _run(what, "base", str(build / "root"), self._suite, _source(self._suite), *options)
                (build / "root").rename(made)
        return made

    def _layer(self, base: Path, packages: Sequence[str]) -> Path:
        made = self._directory / _name(packages[0], base.name, *packages)
        with self._building() as build:
            if not made.exists():
                _run(f"{packages[0]} cannot be installed", "layer", str(build), str(base), *packages)
                (build / "upper").rename(made)
        return made

    @contextmanager
    def _building(self) -> Iterator[Path]:
        """Gives a directory to build in. One run builds at a time, so what an earlier one left was never finished."""
        with (self._directory / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self._directory.glob("building-*"):
                shutil.rmtree(left)
            build = Path(tempfile.mkdtemp(prefix="building-", dir=self._directory))
            try:
                build.chmod(0o755)
                yield build
            finally:
                shutil.rmtree(
                    build, ignore_errors=True
                )  # what a step that was killed still wrote, the next run removes


def _name(what: str, *recipe: str) -> str:
    """Names a layer after all that it is made from; another recipe makes another layer."""
    text = "\0".join((SCRIPT.read_text(), *recipe))
    return f"{what}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _run(what: str, *arguments: str) -> None:
    """Runs a step; what it says is shown where it fails, and only then."""
    with tempfile.TemporaryFile() as output:
        # An own session: the terminal's Ctrl-C is for us, and we end the step.
        done = subprocess.run(
            namespaces(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(*_PROXIES, *map(str.upper, _PROXIES)),
            cwd="/",
            start_new_session=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    if done.returncode:
        raise UnavailableError("\n".join((f"{what}:", *lines[-_TAIL:])))


def _source(suite: str) -> str:
    """Returns the line of ``sources.list`` for the suite, with the mirror of the machine's own apt sources."""
    # Asked like this, apt tells what it would fetch: on a machine where it never fetched anything, too.
    listed = [_INDEX.match(line) for line in _ask("apt-get", "--print-uris", "update")]
    mirrors = [(index["release"], index["address"]) for index in listed if index is not None]
    # Others may publish for the same release; Debian's own mirrors are called so.
    mirrors.sort(key=lambda mirror: not mirror[1].endswith("/debian/"))
    system = platform.freedesktop_os_release()
    own = system.get("VERSION_CODENAME", "") if system.get("ID") == "debian" else ""
    for wanted in (suite, own, "stable", "testing"):
        for release, address in mirrors:
            if release == wanted:
                signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
                return f"deb {signed}{address} {suite} main"
    raise UnavailableError("this machine's apt sources name no Debian mirror")


def _apt_options() -> list[str]:
    """Returns how this machine's apt reaches its mirror, as far as that holds in a chroot too."""
    return [match[1] for line in _ask("apt-config", "dump") if (match := _PASSED_ON.fullmatch(line))]


def _ask(*command: str) -> list[str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=environment(), timeout=60, check=False
    )
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace").splitlines()
