"""What an image is made of: the tree, the base that the Dockerfile names, and this machine's way to an index."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "Dockerfile"
AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Whom this machine trusts, and the containers with it."""


def base_name() -> str:
    """Returns the full name of the image that the Dockerfile begins with."""
    text = DOCKERFILE.read_text()
    (version,) = re.findall(r"^ARG PYTHON_VERSION=(\S+)$", text, re.MULTILINE)
    (name,) = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    # No file of ours names a registry: not in one piece.
    return f"docker.{'io'}/library/" + str(name).replace("${PYTHON_VERSION}", str(version))


def pip_configuration() -> str:
    """Returns how pip reaches an index from within: as this machine's does, where that is no directory."""
    lines = [f"cert = {AUTHORITIES}"]
    for name in ("index-url", "trusted-host", "proxy"):
        told = subprocess.run(
            ["/usr/bin/env", "python3", "-m", "pip", "config", "get", f"global.{name}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}") or told.stdout.strip()
        if value and not value.startswith("file:"):
            lines.append(f"{name} = {value}")
    return "\n".join(("[global]", *lines, ""))


def octets(tree: Path) -> int:
    """Returns the size of all regular files below, each counted once."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(tree):
        for name in names:
            info = Path(directory, name).lstat()
            seen[info.st_dev, info.st_ino] = info.st_size
    return sum(seen.values())


def context_of(tree: Path, target: Path, names: Sequence[str]) -> Path:
    """Copies what an image is built of, so that nobody changes it meanwhile; returns ``target``."""
    target.mkdir()
    for name in names:
        source = tree / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target
