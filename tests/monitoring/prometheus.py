"""A real Prometheus on loopback, out of a temporary directory, and promtool."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest
import yaml

CONFIG: Final = Path(__file__).parents[2] / "config"
START_SECONDS: Final = 60.0


def program(name: str) -> str:
    """Returns where a program is; skips the test where it is missing, and says what to install."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing on this machine: apt-get install prometheus")
    return found


def promtool(*arguments: str, given: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *arguments]
    return subprocess.run(command, input=given, text=True, capture_output=True, cwd=cwd, timeout=60, check=False)


def _at_once(rules: str) -> str:
    """Returns alert rules for which nothing has to last."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
    return yaml.safe_dump(document)


class Prometheus:
    """Scrapes one target every second, and evaluates the shipped alert rules as often.

    It is configured by the shipped example: only the target and the intervals are others, and an alert fires at once.
    """

    def __init__(self, home: Path, target: str) -> None:
        self._program = program("prometheus")
        self._home = home
        config = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        (rules,) = config["rule_files"]
        (home / rules).write_text(_at_once((CONFIG / "prometheus" / rules).read_text()))
        (job,) = config["scrape_configs"]
        job["static_configs"] = [{"targets": [target]}]
        (home / "prometheus.yml").write_text(yaml.safe_dump(config))

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = (self._home / "prometheus.log").open("wb")
        command = [
            self._program,
            f"--config.file={self._home / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._home / 'tsdb'}",
            f"--web.listen-address={self.address}",
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, cwd=self._home
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Returns the result of an instant query now; nothing while the server is starting.

        Raises:
            AssertionError: it is no PromQL, or the server ended.
        """
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except OSError:
            assert self._process.poll() is None, (self._home / "prometheus.log").read_text()[-3000:]
            return []
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def label_values(self, query: str) -> list[str]:
        """Returns what Grafana's ``label_values(SERIES, LABEL)`` would."""
        asked = re.fullmatch(r"label_values\((?P<series>.+), *(?P<label>\w+)\)", query)
        assert asked is not None, query
        return sorted({one["metric"][asked["label"]] for one in self.query(asked["series"])})

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """Returns the first result that is not empty."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = self.query(expression)
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"nothing ever came of {expression}")
