"""The JSON Schema: an independent validator takes with it what the loader takes, and refuses typical mistakes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from fetchd.config.json_schema import json_schema
from tests.config.mistakes import GOOD, SECRET, good

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(path for path in CONFIG.rglob("*.yaml") if "accounts:" in path.read_text())


def problems(document: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(document)]


def test_it_is_a_schema_of_the_dialect_that_it_names() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_the_command_prints_what_is_shipped() -> None:
    printed = subprocess.run([sys.executable, "-m", "fetchd", "schema"], capture_output=True, timeout=60, check=True)
    assert printed.stdout == (CONFIG / "fetchd.schema.json").read_bytes()
    assert json.loads(printed.stdout) == json_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(CONFIG)))
def test_every_example_is_fine_with_it_and_names_it_to_editors(path: Path) -> None:
    text = path.read_text()
    assert problems(yaml.safe_load(text)) == []
    name = text.partition("\n")[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / name).resolve() == CONFIG / "fetchd.schema.json"


def test_the_examples_are_there() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        good(SECRET, "hunter2"),
        good(SECRET, "{keyring: gmx}"),
        good(after="tls: {mode: starttls}"),
        good(after="proxy: none"),
        good(after="max_size: none"),
        good(after="leave_on_server: 14d"),
        good(before="log: debug\n"),
        good(before="http: 9725\n"),
        good(before="defaults: {interval: 5m}\n"),
    ],
)
def test_what_the_loader_takes_it_takes(text: str) -> None:
    assert problems(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "accounts: {}",
        "accounts: {'a b': {}}",
        good(after="intervall: 5m"),
        good(after="interval: 300"),
        good(after="port: 70000"),
        good(after="tls: ssl"),
        good(SECRET, "{env: A, file: /a}"),
        good(SECRET, "{keyring: {user: a}}"),
        good("{maildir: /home/alice/Maildir}", "{maildir: /a, mbox: /b}"),
        good("{maildir: /home/alice/Maildir}", "{create_parents: true}"),
        good(after="proxy: {password: {env: A}}"),
        good(after="max_size: lots"),
        good(before="log: loud\n"),
        good(before="notices: {after: 3}\n"),
    ],
)
def test_an_editor_marks_a_mistake(text: str) -> None:
    assert problems(yaml.safe_load(text))


def test_every_example_and_default_within_is_fine_with_it() -> None:
    schema = json_schema()
    parts = [schema, *schema["$defs"].values()]
    keys = [(name, key) for part in parts for name, key in part.get("properties", {}).items()]
    assert len(keys) > 40
    for name, key in keys:
        validator = Draft202012Validator({**key, "$defs": schema["$defs"]})
        for sample in [*key.get("examples", ()), *([key["default"]] if "default" in key else [])]:
            assert validator.is_valid(sample), (name, sample)
