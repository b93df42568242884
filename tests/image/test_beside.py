"""Beside another project's mail server: as the user whose Maildirs these are (docs/docker-beside.md)."""

import os
from pathlib import Path

import pytest

from fetchd.demo import DemoServer
from tests.image.conftest import PASSWORD
from tests.image.engine import HARDENED, Engine
from tests.image.test_image import configuration

pytestmark = pytest.mark.image

MAILU = (8, 12)
"""The user and group ``mail`` in a container of Mailu's: no number that fetchd's image could be built with."""


def test_it_delivers_as_a_user_that_the_image_does_not_know(engine: Engine, pop3: DemoServer, tmp_path: Path) -> None:
    """As for Mailu: ``docker run --user``, and directories of that user's for the state and the mail."""
    config, secret = tmp_path / "fetchd.yaml", tmp_path / "secret"
    config.write_text(configuration(pop3, alice="right").replace("/srv/mail/alice", "/mail/alice@example.com"))
    secret.write_text(f"{PASSWORD}\n")
    secret.chmod(0o600)
    maildir, state = tmp_path / "mail/alice@example.com", tmp_path / "state"
    for directory in (maildir.parent, maildir, *(maildir / name for name in ("cur", "new", "tmp")), state):
        directory.mkdir(mode=0o700)
        os.chown(directory, *MAILU)
    os.chown(secret, *MAILU)
    mounts: dict[Path | str, str] = {
        config: "/etc/fetchd/fetchd.yaml:ro",
        secret: "/run/secrets/right:ro",
        maildir.parent: "/mail",
        state: "/var/lib/fetchd",
    }
    user = "--user={}:{}".format(*MAILU)
    container = engine.start("beside", mounts, options=(*HARDENED, user, "--stop-timeout=20"))
    try:
        container.wait_until("the mail", lambda: len(list((maildir / "new").iterdir())) == 3)
        assert {(file.stat().st_uid, file.stat().st_gid) for file in (maildir / "new").iterdir()} == {MAILU}
        code, _ = container.stop()
        assert code == 0, container.log
    finally:
        engine.podman("rm", "--force", "--time=0", "beside")
