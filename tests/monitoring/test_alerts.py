"""config/prometheus: the alert rules fire when they should, and the example configuration is one."""

import re
from typing import Any

import pytest
import yaml

from tests.monitoring.prometheus import CONFIG, promtool
from tests.observe.test_metrics import DESIGN, OURS

RULES = CONFIG / "prometheus" / "alerts.yml"
TESTS = CONFIG / "prometheus" / "alerts_test.yml"


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_the_rules_pass_their_own_tests() -> None:
    ran = promtool("test", "rules", TESTS.name, cwd=TESTS.parent)
    assert (ran.returncode, "FAILED" in ran.stdout + ran.stderr) == (0, False), ran.stdout + ran.stderr


@pytest.mark.parametrize("name", [rule["alert"] for rule in rules()])
def test_there_is_a_test_in_which_each_alert_fires(name: str) -> None:
    fired = set()
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        fired |= {one["alertname"] for one in test.get("alert_rule_test", ()) if one["exp_alerts"]}
        samples = [sample["labels"] for one in test.get("promql_expr_test", ()) for sample in one["exp_samples"]]
        fired |= {name for labels in samples if f'alertname="{name}"' in labels}
    assert name in fired


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["for"], "a passing fault wakes nobody"
    assert len(rule["annotations"]["summary"]) < 100
    assert len(rule["annotations"]["description"]) > 100
    assert set(rule["annotations"]) == {"summary", "description"}


def test_the_example_configuration_loads_the_rules() -> None:
    checked = promtool("check", "config", "prometheus.yml", cwd=RULES.parent)
    assert checked.returncode == 0, checked.stderr
    assert "1 rule files found" in checked.stdout


def test_a_rule_knows_no_metric_that_fetchd_does_not_have() -> None:
    sums = {"fetchd_accounts"}
    known = DESIGN.keys() | OURS.keys() | sums
    named = {name for rule in rules() for name in re.findall(r"fetchd_[a-z_]+", rule["expr"])}
    assert named
    assert named <= known
