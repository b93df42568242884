"""The image, built once out of this tree; and a POP3 server on loopback that the containers reach."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.demo import DemoServer
from tests.image.engine import Engine
from tests.image.source import DOCKERFILE, ROOT, context_of
from tests.interop.layers import UnavailableError

PASSWORD = "correct horse"
MAIL = [(b"%d" % n, b"Subject: %d\n\nx\n" % n) for n in range(3)]
CONTEXT = ("pyproject.toml", "README.md", "LICENSE", "requirements.lock", "requirements-build.lock", "fetchd")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine that has built the image. Overlays on overlays do not mount everywhere: not in pytest's own place."""
    directory = Path(tempfile.mkdtemp(prefix="fetchd-image-", dir="/var/tmp"))
    try:
        try:
            engine = Engine(directory)
            engine.import_base()
        except UnavailableError as error:  # nothing of fetchd has run so far
            pytest.skip(f"no image can be built here: {error}")
        engine.context = context_of(ROOT, directory / "context", (DOCKERFILE.name, ".dockerignore", *CONTEXT))
        try:
            engine.build(engine.context)
            yield engine
        finally:
            engine.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def pop3() -> Iterator[DemoServer]:
    with DemoServer({"alice": (PASSWORD, MAIL), "bob": (PASSWORD, MAIL)}) as server:
        yield server
