"""What is shipped: one version, locks that anybody's index can serve, nothing of the machine that it was made on."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import fetchd

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock", "requirements-bench.lock")
LOCKED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<marker> ; [^\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]

# In pieces, so that this file does not hold what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("deb", "debian", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
)
MACHINE_PATHS = tuple(
    "/".join(("", *parts))
    for parts in (
        ("work", "main"),
        ("work", "shared"),
        ("work", ".library"),
        ("farm", "in"),
        ("root", ".pyenv"),
        ("opt", "pypi"),
        ("opt", "wheels"),
    )
)


def requirements(lock: str) -> Iterator[list[str]]:
    """Yields each requirement of a lock with its hashes: its lines, continuations joined."""
    for line in (ROOT / lock).read_text().replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield re.split(r"\s+(?=--)", line.strip())


def pins(lock: str) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for pinned, *_ in requirements(lock):
        match = LOCKED.fullmatch(pinned)
        assert match is not None, f"{lock}: not an exact version: {pinned}"
        found[canonicalize_name(match["name"])] = Version(match["version"])
    return found


def extra(name: str) -> list[str]:
    """Returns an extra's requirements, its references to other extras resolved."""
    listed: list[str] = PROJECT["optional-dependencies"][name]
    own = [line for line in listed if not line.startswith("fetchd[")]
    other = [line.removeprefix("fetchd[").removesuffix("]") for line in listed if line.startswith("fetchd[")]
    return own + [line for reference in other for name in reference.split(",") for line in extra(name)]


def project_files() -> list[Path]:
    """Returns the files that are in the repository, or would be: what git does not ignore."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git work tree")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


# ── the version, the command ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_version_has_one_source() -> None:
    assert "version" in PROJECT["dynamic"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "fetchd/__init__.py"
    assert metadata.version("fetchd") == fetchd.__version__
    assert str(Version(fetchd.__version__)) == fetchd.__version__


def test_the_console_script_is_declared_and_can_be_called() -> None:
    scripts = metadata.entry_points(group="console_scripts", name="fetchd")
    assert PROJECT["scripts"] == {"fetchd": "fetchd.__main__:main"}
    assert [script.value for script in scripts] == ["fetchd.__main__:main"]
    assert all(callable(script.load()) for script in scripts)


def test_the_module_runs_too_and_says_its_version() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "fetchd", "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert fetchd.__version__ in told.stdout


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "fetchd" / "py.typed").exists()


def test_the_status_page_is_in_the_wheel(tmp_path: Path) -> None:
    """A template, a style, a script and an icon: no file of Python's."""
    shutil.copytree(ROOT / "fetchd", tmp_path / "fetchd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        shipped = {name for name in files.namelist() if name.startswith("fetchd/observe/page/")}
    page = ROOT / "fetchd/observe/page"
    assert shipped == {f"fetchd/observe/page/{file.name}" for file in page.iterdir() if file.is_file()}
    assert "fetchd/observe/page/status.html" in shipped


# ── the locks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_requirement_is_exact_and_hashed(lock: str) -> None:
    assert pins(lock)
    for pinned, *hashes in requirements(lock):
        assert hashes, f"{lock}: no hash: {pinned}"
        assert all(HASH.fullmatch(entry) for entry in hashes), f"{lock}: {pinned}: {hashes}"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host)\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        ("requirements-dev.lock", PROJECT["dependencies"] + extra("dev")),
        ("requirements-build.lock", PYPROJECT["build-system"]["requires"]),
        ("requirements-bench.lock", PROJECT["dependencies"] + extra("bench")),
    ],
    ids=LOCKS,
)
def test_a_lock_holds_what_pyproject_asks_for_in_its_range(lock: str, wanted: list[str]) -> None:
    pinned = pins(lock)
    for requirement in map(Requirement, wanted):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, f"{lock}: run make lock"


def test_two_locks_never_disagree() -> None:
    run, dev, build, bench = map(pins, LOCKS)
    assert run.items() <= dev.items()
    assert {name: bench[name] for name in bench.keys() & dev.keys()} == {
        name: dev[name] for name in bench.keys() & dev.keys()
    }
    assert {name: build[name] for name in build.keys() & dev.keys()} == {
        name: dev[name] for name in build.keys() & dev.keys()
    }


# ── the files ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_file_names_a_registry_or_a_path_of_this_machine() -> None:
    found = []
    for path in project_files():
        content = path.read_bytes()
        found += [
            f"{path.relative_to(ROOT)}: {needle}"
            for needle in (*REGISTRY_HOSTS, *MACHINE_PATHS)
            if needle.encode() in content
        ]
    assert found == []


def test_the_top_level_holds_what_the_design_names() -> None:
    allowed = {
        "pyproject.toml",
        "README.md",
        "fetchd",
        "config",
        "systemd",
        "tests",
        "Dockerfile",
        "Makefile",
        "LICENSE",
    }
    allowed |= {"CHANGELOG.md", "docs", *LOCKS}
    found = {path.relative_to(ROOT).parts[0] for path in project_files()}
    assert {name for name in found if not name.startswith(".")} <= allowed


def test_every_command_of_the_readme_is_one() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    named = set(
        re.findall(r"\bmake ([a-z]+)\b(?=[ `\n])", "\n".join(re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)))
    )
    assert named >= {"demo", "test"}
    assert named <= set(re.findall(r"^([a-z]+):.* ## ", makefile, re.MULTILINE))


def test_the_examples_are_in_place() -> None:
    assert list((ROOT / "config").glob("*.yaml")), "config/ holds commented example configurations"


def test_the_changelog_has_an_entry_for_this_version_or_for_the_next() -> None:
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0] in {"Unreleased", fetchd.__version__}
