"""fetchd.cli.health: what a HEALTHCHECK is told of a daemon that the test plays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd import cli
from fetchd.control import ControlServer
from fetchd.model import UNIX_PREFIX, HttpAddress
from fetchd.observe.http import HttpServer
from fetchd.observe.pages import health_page

Check = Callable[[], tuple[bool, str]]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    path = tmp_path / "fetchd.yaml"
    path.write_text(f"""
http: {UNIX_PREFIX}{tmp_path}/http
accounts:
  alice:
    host: 127.0.0.1
    user: alice
    password: {{command: cat}}
    deliver: {{maildir: {tmp_path}/Maildir}}
""")
    return path


def daemon(config: Path, check: Check) -> ControlServer:
    return ControlServer(config.parent / "control", source=config, post=print, status=bytes, health=check)


def said(capsys: pytest.CaptureFixture[str], config: Path) -> tuple[int, str, str]:
    code = cli.invoke(["-c", str(config), "health"])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_a_daemon_that_works_is_healthy(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    with daemon(config, lambda: (True, "ok")):
        assert said(capsys, config) == (0, "healthy\n", "")


def test_a_daemon_that_does_not_work_says_why(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    with daemon(config, lambda: (False, "the store cannot be written")):
        assert said(capsys, config) == (1, "unhealthy: the store cannot be written\n", "")


def test_no_daemon_is_unhealthy(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out, err = said(capsys, config)
    assert (code, err, out.count("\n")) == (1, "", 1)
    assert out.startswith("unhealthy: no fetchd runs with this configuration")


def test_a_file_that_was_broken_after_the_start_makes_nobody_unhealthy(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    """The daemon goes on with what it had: restarting it for that would end it, with exit code 78."""
    with daemon(config, lambda: (True, "ok")):
        config.write_text("accounts: [\n")
        assert said(capsys, config) == (0, "healthy\n", "")


@pytest.mark.parametrize(
    ("check", "answer"),
    [((True, "ok"), (0, "healthy\n", "")), ((False, "the loop hangs"), (1, "unhealthy: the loop hangs\n", ""))],
)
def test_without_a_control_socket_the_http_endpoint_is_asked(
    capsys: pytest.CaptureFixture[str], config: Path, check: tuple[bool, str], answer: tuple[int, str, str]
) -> None:
    address = HttpAddress(f"{UNIX_PREFIX}{config.parent}/http", 0)
    with HttpServer(address, {"/healthz": health_page(lambda: check)}):
        assert said(capsys, config) == answer
