"""``fetchd --once --textfile``: the runs of a timer, as node_exporter tells them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fetchd.demo import DemoServer
from tests.e2e.running import fetchd, write_config


def account(server: DemoServer, tmp_path: Path, **more: Any) -> dict[str, Any]:
    common = {"host": "127.0.0.1", "port": server.port, "tls": "none", "user": "alice", "password": "demo"}
    return {**common, "deliver": {"maildir": str(tmp_path / "Maildir")}, **more}


def samples(path: Path) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(path.read_text())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_each_run_adds_what_it_counted(tmp_path: Path) -> None:
    """An account that fails is counted too, and the exit code is as without the file."""
    path = tmp_path / "fetchd.prom"
    with DemoServer({"alice": ("demo", [(b"one", b"Subject: one\n\nx\n")])}) as server:
        accounts = {"alice": account(server, tmp_path), "bob": account(server, tmp_path, password="wrong")}
        config = write_config(tmp_path, accounts)
        for _ in range(3):
            ended = fetchd(tmp_path, "-c", str(config), "--once", "--textfile", str(path))
            assert ended.code == 1, ended.err
            assert ended.out.startswith("2 accounts: ")
        assert fetchd(tmp_path, "-c", str(config), "--once", "-a", "alice", "--textfile", str(path)).code == 0
    found = samples(path)
    assert found["fetchd_messages_delivered_total", "alice"] == 1
    assert (found["fetchd_polls_total", "alice", "ok"], found["fetchd_polls_total", "bob", "auth"]) == (4, 3)
    assert (found["fetchd_account_up", "alice"], found["fetchd_account_up", "bob"]) == (1, 0)
    assert found["fetchd_poll_duration_seconds_count",] == 7
    if promtool := shutil.which("promtool"):  # see tests/monitoring
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=path.read_text(), text=True, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--textfile", "x.prom"], "-a and --textfile go with --once"),
        (["--once", "--textfile", "x.txt"], "does not end in .prom"),
        (["--textfile", "x.prom", "check"], "do not go with the command 'check'"),
    ],
)
def test_what_could_not_work_is_bad_usage(tmp_path: Path, arguments: list[str], says: str) -> None:
    ended = fetchd(tmp_path, *arguments)
    assert ended.code == 2
    assert says in " ".join(ended.err.split())


def test_a_file_that_cannot_be_written_fails_the_run_after_its_summary(tmp_path: Path) -> None:
    with DemoServer({"alice": ("demo", [])}) as server:
        config = write_config(tmp_path, {"alice": account(server, tmp_path)})
        ended = fetchd(tmp_path, "-c", str(config), "--once", "--textfile", str(tmp_path / "no" / "x.prom"))
    assert ended.code == 1
    assert ended.out == "1 account: nothing new\n"
    assert "x.prom: cannot be written: No such file or directory" in ended.err.splitlines()[-1]
