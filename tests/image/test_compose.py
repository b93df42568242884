"""``config/compose.yaml``, followed by hand: what it says of fetchd and Dovecot is handed to podman, word for word.

Docker Compose is not there to be asked; whether the file is well-formed is a matter of ``tests/packaging``.
"""

import imaplib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from fetchd.demo import DemoServer
from tests.image.conftest import PASSWORD
from tests.image.engine import Container, Engine
from tests.image.source import ROOT
from tests.interop.layers import UnavailableError

pytestmark = pytest.mark.image

FETCHD = "localhost/fetchd:compose"
DOVECOT = "localhost/dovecot:compose"
IMAP_PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def images(engine: Engine) -> None:
    """fetchd's image with the user that compose.yaml gives it, and one for Dovecot's."""
    compose = yaml.safe_load((ROOT / "config/compose.yaml").read_text())
    arguments: dict[str, str] = compose["services"]["fetchd"]["build"]["args"]
    engine.build(engine.context, *(f"{name}={value}" for name, value in arguments.items()), image=FETCHD)
    try:
        engine.import_dovecot(DOVECOT, users=("vmail:x:1000:1000::/srv/mail:/usr/sbin/nologin",))
    except UnavailableError as error:
        pytest.skip(f"no Dovecot to be had: {error}")


@pytest.fixture
def config(tmp_path: Path, pop3: DemoServer) -> Path:
    """What an operator has after the steps that compose.yaml names."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    own = config / "compose/fetchd.yaml"
    text = own.read_text()
    for old, new in (
        ("host: pop.gmx.net", f"host: 127.0.0.1\n    port: {pop3.port}\n    tls: none"),
        ("user: alice@gmx.net", "user: alice"),
    ):
        assert old in text
        text = text.replace(old, new)
    own.write_text(text)
    secrets = config / "compose/secrets"
    secrets.mkdir(mode=0o700)
    for name, content in (("gmx", PASSWORD), ("imap-users", f"alice:{{PLAIN}}{IMAP_PASSWORD}")):
        (secrets / name).write_text(f"{content}\n")
        (secrets / name).chmod(0o600)
        os.chown(secrets / name, 1000, 1000)
    return config


def start(engine: Engine, config: Path, name: str, image: str) -> Container:
    """Starts a service, by what the compose file says of it."""
    compose = yaml.safe_load((config / "compose.yaml").read_text())
    service: Mapping[str, Any] = compose["services"][name]
    options = ["--read-only"] if service["read_only"] else []
    options += [f"--cap-drop={capability}" for capability in service["cap_drop"]]
    options += [f"--security-opt={option.removesuffix(':true')}" for option in service["security_opt"]]
    options += [f"--tmpfs={where}:mode=1777" for where in service.get("tmpfs", [])]  # as Docker does
    options += [f"--user={service['user']}"] if "user" in service else []
    mounts: dict[Path | str, str] = dict(volume.split(":") for volume in service["volumes"])
    mounts |= {config / compose["configs"][one["source"]]["file"]: f"{one['target']}:ro" for one in service["configs"]}
    mounts |= {config / compose["secrets"][one]["file"]: f"/run/secrets/{one}:ro" for one in service["secrets"]}
    return engine.start(name, mounts, image=image, options=options)


@pytest.fixture
def services(engine: Engine, images: None, config: Path) -> Iterator[tuple[Container, Container]]:
    try:
        yield start(engine, config, "fetchd", FETCHD), start(engine, config, "dovecot", DOVECOT)
    finally:
        engine.podman("rm", "--force", "--time=0", "fetchd", "dovecot")


def read(expected: int) -> list[bytes]:
    """Returns the messages that IMAP gives, once there are so many; before that none."""
    with suppress(OSError, imaplib.IMAP4.error), imaplib.IMAP4("127.0.0.1", 31143, timeout=5) as imap:
        imap.login("alice", IMAP_PASSWORD)
        if imap.select("INBOX")[1] == [b"%d" % expected]:
            parts = imap.fetch("1:*", "(BODY[HEADER.FIELDS (SUBJECT)])")[1]
            return [part[1].strip() for part in parts if isinstance(part, tuple)]
    return []


def test_dovecot_serves_what_fetchd_delivers(services: tuple[Container, Container]) -> None:
    fetchd, dovecot = services
    fetchd.wait_until("the poll", lambda: "poll.done" in fetchd.log)
    dovecot.wait_until("the mail over IMAP", lambda: len(read(3)) == 3)
    assert sorted(read(3)) == [b"Subject: 0", b"Subject: 1", b"Subject: 2"]
    for container in services:
        done = container.engine.podman("exec", container.name, *health_of(container))
        assert done.code == 0, done.said
    assert [container.stop()[0] for container in services] == [0, 0]


def health_of(container: Container) -> list[str]:
    compose = yaml.safe_load((ROOT / "config/compose.yaml").read_text())
    test: list[str] = compose["services"][container.name]["healthcheck"]["test"]
    return test[1:]
