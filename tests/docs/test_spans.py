"""Commands and settings that stand in the text of a page, in backticks, are such: their options, keys and values."""

import re
import shlex
from pathlib import Path
from typing import Final

import click
import pytest
import yaml

from fetchd.cli import cli
from fetchd.config.schema import AccountKeys, FileKeys
from fetchd.config.sections import DeliverKeys, PasswordKeys
from tests.docs.configurations import errors
from tests.docs.messages import quoted
from tests.docs.pages import pages, spans

OURS: Final = re.compile(r"(?:docker exec fetchd )?fetchd ((?:-|[a-z]).*)")
SETTING: Final = re.compile(r"[a-z_]+: \S.*")
OPEN: Final = re.compile(r"…| [|] |[A-Z]{3}")
"""Something is left out, or to be chosen."""


def commands_in(page: str) -> list[str]:
    said = set(quoted())  # "fetchd cannot …" is no command
    return [found[1] for span in spans(page) if span not in said and (found := OURS.fullmatch(span))]


@pytest.mark.parametrize("page", [page for page in pages() if commands_in(page)])
def test_every_command_in_the_text_is_one(page: str) -> None:
    assert {f"fetchd {command}": unknown(command) for command in commands_in(page) if unknown(command)} == {}


def unknown(command: str) -> list[str]:
    """Returns the words of a command line that fetchd does not know."""
    context = click.Context(cli)
    known, words = options(cli), shlex.split(command.replace("…", ""))
    name = next((word for word in words if word in cli.list_commands(context)), None)
    if name is not None:
        found = cli.get_command(context, name)
        assert found is not None
        known |= options(found)
    elif not words[0].startswith("-"):
        return words[:1]
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]


def options(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}


def settings_in(page: str) -> list[str]:
    """What looks like a setting, and leaves nothing open."""
    known = FileKeys.model_fields.keys() | AccountKeys.model_fields.keys()
    nested = DeliverKeys.model_fields.keys() | PasswordKeys.model_fields.keys()
    found = [span for span in spans(page) if SETTING.fullmatch(span) and not OPEN.search(span)]
    return [span for span in found if span.partition(":")[0] in known | nested]


@pytest.mark.parametrize("page", [page for page in pages() if settings_in(page)])
def test_every_setting_in_the_text_is_one(page: str, tmp_path: Path) -> None:
    path = tmp_path / "fetchd.yaml"
    assert {setting: said for setting in settings_in(page) if (said := errors(in_place(setting), path))} == {}


def in_place(setting: str) -> str:
    """Returns a setting within the key that it belongs to."""
    key = setting.partition(":")[0]
    if key in FileKeys.model_fields or key in AccountKeys.model_fields:
        return setting
    value = yaml.safe_load(setting)
    if key in PasswordKeys.model_fields:
        return yaml.safe_dump({"password": value})
    return yaml.safe_dump({"deliver": {"maildir": "/home/alice/Maildir"} | value})
