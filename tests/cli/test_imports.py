"""fetchd.cli: what a ``fetchd --once`` with nothing to do loads. Start-up is most of what such a run costs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.demo import DemoServer

TOP_LEVEL = frozenset(
    {
        # what the rest of this environment may need
        *("authlib", "httpx", "jinja2", "keyring", "psycopg", "requests", "cryptography", "pygments"),
        # ours, where they are used: a terminal, a log line, http:, a proxy, SCRAM
        *("rich", "structlog", "prometheus_client", "python_socks", "scramp"),
        # the standard library's heavy ones
        *("asyncio", "concurrent", "logging", "http", "wsgiref", "xml", "unittest"),
        *("bz2", "json", "lzma", "shutil", "tempfile", "zipfile"),
    }
)
MODULES = frozenset(
    {
        *("fetchd.cli.completion", "fetchd.cli.version", "fetchd.config.json_schema", "fetchd.config.keyring_entry"),
        *("fetchd.cli.check", "fetchd.cli.demo", "fetchd.cli.progress", "fetchd.demo"),
        *("fetchd.observe.console", "fetchd.observe.http", "fetchd.observe.metrics"),
        *("fetchd.delivery.mbox", "importlib.metadata"),
        *("fetchd.trial", "fetchd.hints", "fetchd.providers", "fetchd.config.hazards"),
        *(
            "fetchd.cli.health",
            "fetchd.cli.status",
            "fetchd.observe.ask",
            "fetchd.observe.board",
            "fetchd.observe.page",
        ),
    }
)

_RUN = """
import sys
from fetchd.cli import main
try:
    main()
finally:
    print("loaded", *sys.modules)
"""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    secret = tmp_path / "secret"
    secret.write_text("demo\n")
    secret.chmod(0o600)
    path = tmp_path / "fetchd.yaml"
    with DemoServer({"alice": ("demo", [(b"one", b"Subject: one\n\nx\n")])}) as server:
        path.write_text(f"""
state: {tmp_path}/state/
accounts:
  alice:
    host: 127.0.0.1
    port: {server.port}
    tls: none
    user: alice
    password: {{file: {secret}}}
    deliver: {{maildir: {tmp_path}/Maildir}}
""")
        yield path


def loaded_by_once(config: Path) -> tuple[str, frozenset[str]]:
    """Returns what ``fetchd --once`` printed, and the modules that were loaded when it ended."""
    command = [sys.executable, "-c", _RUN, "-c", str(config), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    summary, modules = done.stdout.splitlines()
    return summary, frozenset(modules.split()[1:])


def test_once_with_nothing_to_do_loads_nothing_that_it_does_not_use(config: Path) -> None:
    """SPEED, start-up: the heavy imports load only where they are used."""
    assert loaded_by_once(config)[0] == "1 account: 1 new message (16 bytes)"
    summary, modules = loaded_by_once(config)
    assert summary == "1 account: nothing new"
    assert sorted({name for name in modules if name.partition(".")[0] in TOP_LEVEL} | modules & MODULES) == []


def test_once_reads_its_configuration_with_pydantic_and_libyaml(config: Path) -> None:
    """The list above is worth something only while the run is the real one."""
    _, modules = loaded_by_once(config)
    assert {"pydantic", "yaml._yaml", "click", "sqlite3", "fetchd.pop3.session"} <= modules


@pytest.mark.parametrize(("form", "is_loaded"), [("json", False), ("console", True)])
def test_a_log_line_loads_structlog_where_a_human_reads_it(config: Path, *, form: str, is_loaded: bool) -> None:
    """The first poll delivers, which is worth a line; one of JSON takes no more than the standard library has."""
    config.write_text(config.read_text() + f"log: {form}\n")
    _, modules = loaded_by_once(config)
    assert ("structlog" in modules) is is_loaded
    assert "json" in modules
