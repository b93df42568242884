"""A container engine for the tests: buildah builds, podman runs, without a daemon, without any registry of images.

What the Dockerfile calls ``python:…-slim`` is imitated by a Debian with its own Python, out of the layers of
``tests/interop``; how this machine's pip reaches an index goes into it, so that the Dockerfile needs no word of that.
All images and containers are in one temporary directory, and are gone with it.
"""

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.image.source import AUTHORITIES, DOCKERFILE, base_name, octets, pip_configuration
from tests.interop.chroot import environment
from tests.interop.layers import Layers, UnavailableError, cache_directory

_SCRIPT: Final = Path(__file__).with_name("run.sh")
IMAGE: Final = "localhost/fetchd:test"
HARDENED: Final = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
"""As the README runs it."""
_PACKAGES: Final = ("python3", "python3-venv", "passwd", "netbase", "tzdata")
_BUILD_SECONDS: Final = 900.0
_SECONDS: Final = 60.0
_PATIENCE: Final = 0.05


class EngineError(Exception):
    """An image cannot be built, or a container not be run; the message holds what was said."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended: its exit code, and what it printed, standard error included."""

    code: int
    said: str


class Engine:
    """buildah and podman with a storage of their own in ``directory``.

    Raises:
        UnavailableError: this machine cannot run them.
    """

    def __init__(self, directory: Path) -> None:
        if os.geteuid():
            raise UnavailableError("images are built and run by root only")
        for program in ("buildah", "podman", "crun", "unshare"):
            if shutil.which(program, path=environment()["PATH"]) is None:
                raise UnavailableError(f"{program} is missing: apt-get install {program}")
        self._directory = directory
        storage = directory / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
        )
        registries = directory / "registries.conf"
        registries.write_text("unqualified-search-registries = []\n")
        kept = environment("http_proxy", "https_proxy", "no_proxy")
        self._environment = kept | {
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "BUILDAH_ISOLATION": "chroot",
        }
        self.context = directory
        """What the image is built of, once it is there."""
        self.base_octets = 0
        """The size of the imitated base image's file system."""

    # ── building ─────────────────────────────────────────────────────────────────────────────────────────────────

    def import_base(self) -> None:
        """Makes the image that the Dockerfile begins with.

        Raises:
            UnavailableError: there is no Debian to make it of.
            EngineError: it cannot be imported.
        """
        with self._debian(*_PACKAGES) as root:
            (root / "etc/pip.conf").write_text(pip_configuration())
            (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
            if Path(AUTHORITIES).exists():
                shutil.copyfile(AUTHORITIES, root / AUTHORITIES.removeprefix("/"))
            self.base_octets = octets(root)
            self._commit(root, base_name())

    def import_dovecot(self, image: str, *, users: Sequence[str]) -> None:
        """Makes an image that stands for Dovecot's own: the same program, with its users.

        Args:
            image: its name.
            users: lines of its passwd(5).

        Raises:
            UnavailableError: there is no Debian to make it of.
            EngineError: it cannot be imported.
        """
        with self._debian("dovecot-imapd") as root:
            with (root / "etc/passwd").open("a") as file:
                file.writelines(f"{line}\n" for line in users)
            with (root / "etc/group").open("a") as file:
                file.writelines(f"{line.split(':')[0]}:x:{line.split(':')[3]}:\n" for line in users)
            self._commit(root, image, "--entrypoint", '["dovecot", "-F"]')

    @contextmanager
    def _debian(self, *packages: str) -> Iterator[Path]:
        """Gives a copy of a Debian with these packages, for a while."""
        layers = Layers(cache_directory(), "trixie").directories(*packages)
        root = self._directory / "root"
        # The layers are overlays' own, with whiteouts: the kernel puts them together.
        script = 'mkdir -p "$1" "$3" && mount -t overlay -o "lowerdir=$2" overlay "$1" && cp -a "$1/." "$3"'
        view = self._directory / "view"
        lower = ":".join(map(str, layers))
        self._checked("unshare", "--mount", "sh", "-c", script, "sh", str(view), lower, str(root))
        try:
            yield root
        finally:
            shutil.rmtree(root)

    def _commit(self, root: Path, image: str, *options: str) -> None:
        container = self._checked("buildah", "from", "scratch").strip()
        self._checked("buildah", "copy", "--quiet", container, str(root), "/")
        self._checked("buildah", "config", "--env", f"PATH={environment()['PATH']}", *options, container)
        self._checked("buildah", "commit", "--quiet", "--rm", container, image)

    def build(self, context: Path, *arguments: str, image: str = IMAGE) -> None:
        """Builds an image out of a tree with a Dockerfile.

        Args:
            context: the tree.
            arguments: the Dockerfile's, each ``NAME=VALUE``.
            image: its name.

        Raises:
            EngineError: it cannot be built.
        """
        given = [f"--build-arg={argument}" for argument in arguments]
        options = ("--format", "docker", "--pull-never", "--layers", "--tag", image, *given)
        self._checked("buildah", "build", *options, str(context), seconds=_BUILD_SECONDS)

    def added_octets(self) -> int:
        """Returns how much larger the image's file system is than the base's."""
        container = self._checked("buildah", "from", "--pull-never", IMAGE).strip()
        try:
            return octets(Path(self._checked("buildah", "mount", container).strip())) - self.base_octets
        finally:
            self.call("buildah", "umount", container)
            self.call("buildah", "rm", container)

    def pulled_octets(self) -> int:
        """Returns the size of all the image's layers, compressed as a registry has them."""
        target = self._directory / "pushed"
        self._checked("buildah", "push", "--quiet", IMAGE, f"oci:{target}:test")
        try:
            return octets(target / "blobs")
        finally:
            shutil.rmtree(target)

    def volume(self, name: str) -> Path:
        """Returns where the content of a named volume is."""
        return self._directory / "graph/volumes" / name / "_data"

    def inspect(self, template: str) -> str:
        """Returns what the image says of itself, by a template of Go's."""
        return self._checked("podman", "image", "inspect", "--format", template, IMAGE).strip()

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start(
        self, name: str, mounts: Mapping[Path | str, str], *, image: str = IMAGE, options: Sequence[str] = HARDENED
    ) -> "Container":
        """Starts a container as ``docker run --detach`` would, in the host's network.

        Args:
            name: the container's.
            mounts: what is mounted → where, with its options.
            image: its name.
            options: more of ``docker run``.

        Raises:
            EngineError: it does not start.
        """
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        limits = (f"--ulimit=nofile={min(most, 20000)}", "--ulimit=nproc=4096")
        self._podman(
            *("run", "--detach", "--name", name, "--network=host", "--no-healthcheck", "--cgroups=disabled", *limits),
            # Docker mounts no memory of its own accord, as podman does where all is read-only.
            *("--log-driver=k8s-file", "--read-only-tmpfs=false", *options),
            *(f"--volume={what}:{where}" for what, where in mounts.items()),
            image,
        )
        return Container(self, name)

    def podman(self, *arguments: str) -> Done:
        """Runs podman to its end, whatever comes of it."""
        command = ("unshare", "--mount", "sh", str(_SCRIPT), "podman", "--cgroup-manager=cgroupfs")
        return self.call(*command, "--runtime=crun", *arguments)

    def _podman(self, *arguments: str) -> str:
        done = self.podman(*arguments)
        if done.code:
            raise EngineError(f"podman {arguments[0]} ended with {done.code}: {done.said.strip()[-1000:]}")
        return done.said

    def _checked(self, *command: str, seconds: float = 300.0) -> str:
        done = self.call(*command, seconds=seconds)
        if done.code:
            raise EngineError(f"{command[0]} {command[1]} ended with {done.code}: {done.said.strip()[-2000:]}")
        return done.said

    def call(self, *command: str, seconds: float = 300.0) -> Done:
        """Runs a command to its end, whatever comes of it. Who stays behind keeps a pipe open, but may have a file."""
        output = self._directory / "output"
        with output.open("wb") as file:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=self._environment,
                cwd="/",
                timeout=seconds,
                check=False,
            )
        return Done(ended.returncode, output.read_text(errors="replace"))

    def close(self) -> None:
        """Ends and removes whatever there still is."""
        self.podman("rm", "--all", "--force", "--time=0")
        self.podman("rmi", "--all", "--force")


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    engine: Engine
    name: str

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.engine.podman("logs", self.name).said

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._state("{{.State.Running}}") == "true"

    @property
    def pid(self) -> int:
        """Its first process, by the number that it has outside."""
        return int(self._state("{{.State.Pid}}"))

    def health(self) -> Done:
        """Runs the command of the image's HEALTHCHECK in it, as an engine does."""
        (command,) = re.findall(r"HEALTHCHECK .*CMD \[(.*)\]", DOCKERFILE.read_text())
        return self.engine.podman("exec", self.name, *re.findall(r'"([^"]+)"', command))

    def stop(self) -> tuple[int, float]:
        """Stops it as ``docker stop`` does; returns its exit code, and the seconds that it took."""
        begun = time.monotonic()
        done = self.engine.podman("stop", "--time=30", self.name)
        assert done.code == 0, done.said
        return self.exit_code(), time.monotonic() - begun

    def exit_code(self) -> int:
        """Waits for its end, and returns its exit code."""
        self.wait_until("its end", lambda: not self.is_running)
        return int(self._state("{{.State.ExitCode}}"))

    def wait_until(self, what: str, ask: Callable[[], bool]) -> None:
        """Returns once the answer is yes."""
        deadline = time.monotonic() + _SECONDS
        while not ask():
            assert time.monotonic() < deadline, f"{what} never came about:\n{self.log}"
            time.sleep(_PATIENCE)

    def _state(self, template: str) -> str:
        return self.engine.podman("inspect", "--format", template, self.name).said.strip()
