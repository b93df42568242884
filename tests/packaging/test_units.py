"""The systemd units are what systemd takes them for."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


class _Unit(configparser.RawConfigParser):
    """A unit whose keys are unique but for SystemCallFilter, which only systemd-analyze reads here."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters="=", comment_prefixes=("#", ";"), interpolation=None)
        self.read(path)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_LOG_LEVEL": "notice", "LC_ALL": "C.UTF-8"},
    )


@pytest.fixture(params=UNITS, ids=[unit.name for unit in UNITS])
def unit(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def runnable(unit: Path, tmp_path: Path) -> Path:
    """The unit, with programs that every machine has in the place of its own: systemd looks whether they exist."""
    copied = tmp_path / unit.name
    text = unit.read_text()
    assert "=/usr/bin/fetchd" in text
    copied.write_text(text.replace("=/usr/bin/fetchd", "=/bin/true"))
    return copied


def settings(path: Path) -> list[str]:
    """Returns the lines of a unit without its comments."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def test_there_is_a_unit_and_a_template() -> None:
    assert [path.name for path in UNITS] == ["fetchd.service", "fetchd@.service"]


def test_the_template_is_the_unit_with_names_of_its_own() -> None:
    """So that what is hardened in one is hardened in the other."""
    of_instance = {
        "Description=fetchd,": "Description=fetchd for %i,",
        "/etc/fetchd/fetchd.yaml": "/etc/fetchd/%i.yaml",
        "StateDirectory=fetchd": "StateDirectory=fetchd-%i",
        "RuntimeDirectory=fetchd": "RuntimeDirectory=fetchd-%i",
    }
    expected = settings(SYSTEMD / "fetchd.service")
    for old, new in of_instance.items():
        expected = [line.replace(old, new) for line in expected]
    assert settings(SYSTEMD / "fetchd@.service") == expected


@needs_systemd
def test_systemd_finds_nothing_to_say(runnable: Path) -> None:
    """``verify`` exits 0 on a misspelt key: its silence is what counts."""
    verified = analyze("verify", "--man=no", str(runnable))
    assert (verified.returncode, verified.stdout) == (0, "")


@needs_systemd
def test_systemd_would_say_something_of_a_misspelt_key(runnable: Path) -> None:
    runnable.write_text(runnable.read_text().replace("ProtectSystem=", "ProtectSytem="))
    assert "ProtectSytem" in analyze("verify", "--man=no", str(runnable)).stdout


@needs_systemd
def test_the_service_is_exposed_to_little(runnable: Path) -> None:
    """systemd's own score, in tenths of a point, 100 being no protection at all."""
    scored = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(runnable))
    assert scored.returncode == 0, scored.stdout


@needs_systemd
def test_the_drop_in_for_newer_systemd_is_one_where_systemd_is_newer(runnable: Path) -> None:
    """Elsewhere nothing is said but that the type is not known: nothing in it is misspelt."""
    drop_ins = runnable.with_name(f"{runnable.name}.d")
    drop_ins.mkdir()
    shutil.copy(SYSTEMD / "notify-reload.conf", drop_ins)
    said = analyze("verify", "--man=no", str(runnable)).stdout.splitlines()
    version = int(analyze("--version").stdout.split()[1])
    assert [line for line in said if "notify-reload" not in line] == []
    assert bool(said) == (version < 253)


def test_the_service_stops_reloads_and_restarts_as_the_daemon_promises(unit: Path) -> None:
    service = _Unit(unit)["Service"]
    reloads = [line for line in settings(unit) if line.startswith("ExecReload=")]
    assert reloads[0] == f"ExecReload={service['ExecStart']} check --quiet"
    assert reloads[1].endswith("'kill -HUP $MAINPID'"), "the shell's own kill: not every machine has /bin/kill"
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 30
    assert int(service["TimeoutStopSec"]) > 10, "the daemon may take 10 s to stop"
    assert service["Restart"] == "on-failure"
    assert set(service["RestartPreventExitStatus"].split()) == {"2", "78"}


def test_mailboxes_under_home_stay_writable_and_the_rest_does_not(unit: Path) -> None:
    service = _Unit(unit)["Service"]
    assert service["ProtectSystem"] == "strict"
    assert "-/home" in service["ReadWritePaths"].split()
    assert service.get("ProtectHome", "no") == "no"
    assert service["StateDirectory"] in {"fetchd", "fetchd-%i"}


def test_the_services_user_is_declared(unit: Path) -> None:
    declared = [line.split()[1] for line in (SYSTEMD / "fetchd.sysusers").read_text().splitlines() if line[:1] == "u"]
    assert _Unit(unit)["Service"]["User"] in declared
