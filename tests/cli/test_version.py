"""``fetchd --version``: what somebody who helps asks for first."""

import sqlite3
import ssl
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fetchd
from fetchd.cli.version import PACKAGES, versions

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_it_names_every_dependency_and_the_extra_that_a_user_may_have() -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["keyring"]]
    assert sorted(PACKAGES) == sorted(Requirement(line).name for line in wanted)


def test_it_tells_what_fetchd_stands_on() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "fetchd", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    lines = told.stdout.splitlines()
    assert lines[0] == f"fetchd {fetchd.__version__}"
    assert sys.version.split()[0] in lines[1]
    assert lines[2:4] == [ssl.OPENSSL_VERSION, f"SQLite {sqlite3.sqlite_version}"]
    assert f"click {metadata.version('click')}" in lines
    assert told.stderr == ""


def test_a_missing_extra_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without(name: str) -> str:
        if name == "keyring":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    assert "keyring not installed" in versions()
