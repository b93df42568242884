"""config/grafana/fetchd.json: Grafana can load it, and each of its queries tells something of a fetchd that runs."""

import json
import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fetchd.model import Secret, SecretOAuth
from fetchd.oauth.files import TokenFiles
from fetchd.oauth.tokens import Tokens
from tests.conftest import MakeMailbox
from tests.e2e.running import Running, http_get, write_config
from tests.monitoring.prometheus import CONFIG, Prometheus, program, promtool
from tests.servers.dovecot import Mailbox
from tests.servers.pki import TestAuthority

BOARD: dict[str, Any] = json.loads((CONFIG / "grafana" / "fetchd.json").read_text())
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
BUILT_IN = {"$__rate_interval": "10s", "$__range": "60s"}
"""What Grafana puts in place of its own variables, at a scrape a second."""
ACCOUNTS = ["alice", "by-token", "locked-out", "mislaid", "nowhere", "silent", "unreachable"]
UNITS = {"short", "s", "decbytes", "Bps", "dateTimeFromNow"}
"""Of Grafana's units, those that we use: it takes any text, and shows one that it does not know behind the number."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def variables() -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in BOARD["templating"]["list"]}


def queries() -> list[tuple[str, str]]:
    """Returns (title of the panel and its query, PromQL)."""
    found = [
        (f"{panel['title']} {target['refId']}", target["expr"]) for panel in panels() for target in panel["targets"]
    ]
    return found + [(one["name"], one["expr"]) for one in BOARD["annotations"]["list"]]


def filled_in(expression: str, chosen: dict[str, str]) -> str:
    for name, value in (BUILT_IN | {f"${name}": value for name, value in chosen.items()}).items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


# ── its structure ────────────────────────────────────────────────────────────────────────────────────────────────


def test_ids_and_query_letters_are_unique() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert len(set(letters)) == len(letters)


def test_everything_asks_the_data_source_that_the_reader_chooses() -> None:
    """A fixed one would be a name of our own Grafana."""
    assert variables()["datasource"] == variables()["datasource"] | {"type": "datasource", "query": "prometheus"}
    asking = [*panels(), *BOARD["annotations"]["list"], variables()["instance"], variables()["account"]]
    asking += [target for panel in panels() for target in panel["targets"]]
    assert all(one["datasource"] == SOURCE for one in asking)
    assert "__inputs" not in BOARD


def test_every_panel_has_a_title_a_description_and_a_unit() -> None:
    for panel in panels():
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        units = {panel["fieldConfig"]["defaults"]["unit"]}
        units |= {
            setting["value"]
            for override in panel["fieldConfig"]["overrides"]
            for setting in override["properties"]
            if setting["id"] == "unit"
        }
        assert units <= UNITS, panel["title"]


def test_no_panel_lies_upon_another_or_sticks_out() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]


def test_what_is_renamed_or_overridden_in_the_table_is_there() -> None:
    (table,) = (panel for panel in panels() if panel["type"] == "table")
    organize = next(one["options"] for one in table["transformations"] if one["id"] == "organize")
    columns = {f"Value #{target['refId']}" for target in table["targets"]} | {"account", "instance"}
    assert organize["renameByName"].keys() == organize["indexByName"].keys() == columns
    overridden = {override["matcher"]["options"] for override in table["fieldConfig"]["overrides"]}
    assert overridden <= set(organize["renameByName"].values())
    assert {"State", "Last success", "Next poll"} <= overridden


def test_every_query_obeys_the_choice_of_instances_and_accounts() -> None:
    for title, expression in queries():
        assert 'instance=~"$instance"' in expression, title
        about_accounts = "duration" not in expression and "sessions" not in expression and "build" not in expression
        assert ('account=~"$account"' in expression) is (about_accounts and "ALERTS" not in expression), title


def test_every_query_is_promql(tmp_path: Path) -> None:
    chosen = {"instance": ".*", "account": ".*"}
    rules = [{"record": f"q{n}", "expr": filled_in(text, chosen)} for n, (_, text) in enumerate(queries())]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = promtool("check", "rules", str(tmp_path / "queries.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


# ── its answers ──────────────────────────────────────────────────────────────────────────────────────────────────


def account(box: Mailbox, authority: TestAuthority, maildir: Path, **more: Any) -> dict[str, Any]:
    return {
        "host": "localhost",
        "port": box.server.tls_port,
        "tls": {"mode": "implicit", "ca_file": str(authority.ca_file)},
        "user": box.user,
        "password": box.password,
        "interval": "1s",
        "deliver": {"maildir": str(maildir)},
        **more,
    }


def by_token(home: Path, **account: Any) -> dict[str, Any]:
    """Returns an account that somebody has logged in by OAuth 2, and leaves its tokens in the state directory."""
    url = "http://127.0.0.1:1/token"
    source = SecretOAuth("by-token", account["user"], "custom", "id", token_endpoint=url)
    tokens = Tokens(
        source.user,
        source.client_id,
        source.token_endpoint,
        access_token=Secret(b"access"),
        refresh_token=Secret(b"refresh"),
        obtained_at=time.time(),
        login_expires_at=time.time() + 90 * 86_400,
    )
    with TokenFiles.beside(home / "state" / "fetchd.db").locked("by-token") as file:
        file.write(tokens)
    del account["password"]
    oauth = {"provider": "custom", "client_id": "id", "token_endpoint": url, "authorization_endpoint": url}
    return {**account, "oauth": oauth}


class Scene:
    """A fetchd that gets mail, skips, deletes and fails; and a Prometheus that has begun to watch it."""

    def __init__(self, box: Mailbox, daemon: Running, address: str, prometheus: Prometheus) -> None:
        self.box, self.daemon, self.address, self.prometheus = box, daemon, address, prometheus

    def answered(self, expression: str) -> list[float]:
        """Returns the first answer that is more than nothing and zeros, while mail keeps coming."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            values = [float(one["value"][1]) for one in self.prometheus.query(expression)]
            if any(math.isfinite(value) and value > 0 for value in values):
                return values
            self.box.put(b"Subject: news\n\nx\n")
            time.sleep(0.2)
        raise AssertionError(f"nothing ever came of {expression}")


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word: there is always a session in hand."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def scene(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path, silent_server: int) -> Iterator[Scene]:
    program("prometheus")
    box = mailbox(b"Subject: one\n\n", b"Subject: large\n\n" + b"x" * 20_000)
    accounts = {
        "alice": account(box, authority, tmp_path / "alice", leave_on_server=False, max_size="10KB"),
        "by-token": by_token(tmp_path, **account(mailbox(), authority, tmp_path / "by-token")),
        "locked-out": account(mailbox(), authority, tmp_path / "locked", password="not this one"),
        "unreachable": account(box, authority, tmp_path / "unreachable", port=1),
        "nowhere": account(mailbox(), authority, tmp_path / "not" / "there"),
        "silent": account(box, authority, tmp_path / "silent", port=silent_server, tls="none", host="127.0.0.1"),
        "mislaid": account(mailbox(b"Subject: one\n\n"), authority, tmp_path / "mislaid"),
    }
    config = write_config(tmp_path, accounts, http="127.0.0.1:0")
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        (listening,) = daemon.wait_for_event("http.listening")
        daemon.wait_for(lambda: any(one["account"] == "mislaid" for one in daemon.events("poll.done")))
        (tmp_path / "mislaid").rename(tmp_path / "elsewhere")
        with Prometheus(tmp_path, listening["address"]) as prometheus:
            yield Scene(box, daemon, listening["address"], prometheus)


def test_a_real_prometheus_that_scraped_a_real_fetchd_answers_every_query(scene: Scene) -> None:
    """And the alerts that are due fire, once nothing has to last (`for`)."""
    lint = promtool("check", "metrics", given=http_get(scene.address, "/metrics"))
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")
    scene.answered("fetchd_build_info")
    for name, values in {"instance": [scene.address], "account": ACCOUNTS}.items():
        variable = variables()[name]
        assert variable["query"]["query"] == variable["definition"]
        assert scene.prometheus.label_values(filled_in(variable["definition"], {"instance": ".*"})) == values
    chosen = {"instance": scene.address, "account": "|".join(ACCOUNTS)}
    for title, expression in queries():
        # What shows 0 where there is nothing is to show something.
        assert scene.answered(filled_in(expression, chosen).removesuffix(" or vector(0)")), title
    for alert in ("FetchdAccountFailing", "FetchdAccountStale", "FetchdDeliveryFailing"):
        assert scene.answered(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')
    assert scene.prometheus.query('ALERTS{alertname=~"FetchdDown|FetchdAbsent|FetchdStoreFailing"}') == []
    scene.daemon.process.kill()
    assert scene.answered('ALERTS{alertname="FetchdDown", alertstate="firing"}')
