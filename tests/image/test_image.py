"""The image, built and run: what an operator sees of it with ``docker run``."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from fetchd.demo import DemoServer
from tests.image.conftest import PASSWORD
from tests.image.engine import Container, Engine

pytestmark = pytest.mark.image

UID = 10001
PULLED_MB = 120
"""Issue 6: what has to be fetched for the image, compressed, as a registry holds it."""
ADDED_MB = 64
"""What the image holds beside its base, as it lies on a disk."""

Run = Callable[..., Container]


def configuration(pop3: DemoServer, **accounts: str) -> str:
    """Returns a configuration: account → the file with its password. The rest is what the image sets."""
    head = "accounts:\n"
    return head + "".join(
        f"""  {name}:
    host: 127.0.0.1
    port: {pop3.port}
    tls: none
    user: {name}
    interval: 5s
    password: {{file: /run/secrets/{secret}}}
    deliver: {{maildir: /srv/mail/{name}}}
"""
        for name, secret in accounts.items()
    )


@pytest.fixture
def run(engine: Engine, tmp_path: Path) -> Iterator[Run]:
    """Runs containers with a configuration, secrets, and two new named volumes, as the README does."""
    started: list[Container] = []
    number = count()

    def start(text: str | None) -> Container:
        name = f"{tmp_path.name}-{next(number)}".replace("_", "-")
        mounts: dict[Path | str, str] = {f"{name}-state": "/var/lib/fetchd", f"{name}-mail": "/srv/mail"}
        if text is not None:
            config = tmp_path / "fetchd.yaml"
            config.write_text(text)
            config.chmod(0o644)
            mounts[config] = "/etc/fetchd/fetchd.yaml:ro"
        for secret, value in (("right", PASSWORD), ("wrong", "battery staple")):
            file = tmp_path / secret
            file.write_text(f"{value}\n")
            file.chmod(0o400)
            os.chown(file, UID, UID)
            mounts[file] = f"/run/secrets/{secret}:ro"
        started.append(engine.start(name, mounts))
        return started[-1]

    yield start
    for container in started:
        engine.podman("rm", "--force", "--volumes", "--time=0", container.name)
        engine.podman("volume", "rm", "--force", f"{container.name}-state", f"{container.name}-mail")


def delivered(engine: Engine, container: Container, account: str) -> list[Path]:
    """Returns the files of the messages in the volume."""
    return sorted(engine.volume(f"{container.name}-mail").glob(f"{account}/new/*"))


def test_the_image_says_how_it_is_to_be_run(engine: Engine) -> None:
    config = json.loads(engine.inspect("{{json .Config}}"))
    assert config["User"] == f"{UID}:{UID}"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["fetchd"]
    assert set(config["Volumes"]) == {"/var/lib/fetchd"}
    health = json.loads(engine.inspect("{{json .HealthCheck}}"))
    assert health["Test"] == ["CMD", "fetchd", "health"]


def test_the_image_is_small(engine: Engine, record_property: Callable[[str, object], None]) -> None:
    pulled, added = engine.pulled_octets() / 1e6, engine.added_octets() / 1e6
    record_property("pulled_mb", pulled)
    record_property("added_mb", added)
    print(f"to be pulled: {pulled:.1f} MB, with an imitated base; on disk: {added:.1f} MB and the base")
    assert pulled < PULLED_MB
    assert added < ADDED_MB


def test_mail_arrives_and_sigterm_ends_it_well(engine: Engine, run: Run, pop3: DemoServer) -> None:
    container = run(configuration(pop3, alice="right"))
    container.wait_until("the mail", lambda: len(delivered(engine, container, "alice")) == 3)
    assert {file.stat().st_uid for file in delivered(engine, container, "alice")} == {UID}
    code, seconds = container.stop()
    print(f"stopped within {seconds:.1f} s")
    assert code == 0, container.log


def test_it_runs_as_nobody_with_no_rights_on_a_file_system_that_cannot_be_written(run: Run, pop3: DemoServer) -> None:
    container = run(configuration(pop3, alice="right"))
    container.wait_until("the first poll", lambda: "poll.done" in container.log)
    status = Path(f"/proc/{container.pid}/status").read_text()
    assert f"\nUid:\t{UID}\t{UID}\t{UID}\t{UID}\n" in status
    assert "\nNSpid:\t" in status
    assert status.partition("\nNSpid:")[2].splitlines()[0].split()[-1] == "1", "signals go to fetchd itself"
    assert "\nCapEff:\t0000000000000000\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    mounts = Path(f"/proc/{container.pid}/mounts").read_text().splitlines()
    (root,) = [line.split()[3] for line in mounts if line.split()[1] == "/"]
    assert "ro" in root.split(",")


def test_the_health_check_is_passed_while_the_main_loop_turns_and_only_then(run: Run, pop3: DemoServer) -> None:
    container = run(configuration(pop3, alice="right"))
    container.wait_until("the first poll", lambda: "poll.done" in container.log)
    well = container.health()
    assert (well.code, well.said) == (0, "healthy\n")
    pid = container.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        hung = container.health()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (hung.code, hung.said.partition(":")[0]) == (1, "unhealthy"), hung.said
    assert [line for line in hung.said.splitlines() if line.startswith("unhealthy: ")] == hung.said.splitlines()[:1]
    again = container.health()
    assert (again.code, again.said) == (0, "healthy\n")


def test_a_wrong_account_neither_stops_the_container_nor_makes_it_unhealthy(
    engine: Engine, run: Run, pop3: DemoServer
) -> None:
    container = run(configuration(pop3, alice="right", bob="wrong"))
    container.wait_until("the refusal", lambda: "poll.failed" in container.log)
    container.wait_until("the mail of the other", lambda: len(delivered(engine, container, "alice")) == 3)
    assert delivered(engine, container, "bob") == []
    assert container.health().said == "healthy\n"
    assert container.is_running
    assert container.stop()[0] == 0


def test_the_state_survives_the_container(engine: Engine, run: Run, pop3: DemoServer) -> None:
    """Nothing twice: a new container with the same volumes fetches nothing again."""
    container = run(configuration(pop3, alice="right"))
    container.wait_until("the mail", lambda: len(delivered(engine, container, "alice")) == 3)
    container.stop()
    assert engine.podman("start", container.name).code == 0
    container.wait_until("a second first poll", lambda: container.log.count("daemon.started") == 2)
    container.wait_until("health", lambda: container.health().code == 0)
    assert engine.podman("exec", container.name, "fetchd", "poll").code == 0
    assert container.stop()[0] == 0
    assert len(delivered(engine, container, "alice")) == 3


def test_a_wrong_configuration_ends_the_container_with_one_clear_line(run: Run, pop3: DemoServer) -> None:
    container = run(configuration(pop3, alice="right").replace("interval:", "intervall:"))
    assert container.exit_code() == 78
    (line,) = container.log.splitlines()
    assert line.startswith("/etc/fetchd/fetchd.yaml:7:")
    assert "intervall" in line
    assert "interval" in line.replace("intervall", "")


def test_without_a_configuration_one_line_says_where_it_belongs(run: Run) -> None:
    container = run(None)
    assert container.exit_code() == 78
    (line,) = container.log.splitlines()
    assert "/etc/fetchd/fetchd.yaml" in line
