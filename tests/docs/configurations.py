"""A configuration as a page shows it, made whole: a page shows what it speaks of, and leaves out the rest."""

from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import yaml

from fetchd.config import examine
from fetchd.config.checks import Candidate
from fetchd.config.report import Report
from fetchd.config.schema import AccountKeys, FileKeys
from fetchd.model import Owner

_REST: Final = {
    "host": "localhost",
    "user": "alice@example.org",
    "password": {"env": "ALICE_PASSWORD"},
    "deliver": {"maildir": "/home/alice/Maildir"},
}


def errors(text: str, path: Path) -> tuple[str, ...]:
    """Returns what the loader has against a configuration, or against a part of one that a page shows.

    Args:
        text: a whole file; sections of a file; or keys of one account.
        path: where the file is written.
    """
    path.write_text(whole(text))
    path.chmod(0o600)
    with patch("fetchd.config.loader.find_owner", _anybody):
        return examine(path, environ={"HOME": "/home/alice", "ALICE_PASSWORD": "open sesame"}).problems


def _anybody(candidate: Candidate, _report: Report) -> Owner | None:
    """The users whom the pages name are there, and fetchd is root."""
    owner = candidate.keys.deliver.owner if candidate.keys.deliver else None
    return None if owner is None else Owner(owner, 1000, 1000, (1000,))


def whole(text: str) -> str:
    """Returns a text with what a file needs beside it; as it is where it is a file, or no part of one."""
    keys = yaml.safe_load(text)
    if not isinstance(keys, dict) or "accounts" in keys:
        return text
    if keys.keys() & AccountKeys.model_fields.keys() and not keys.keys() & (FileKeys.model_fields.keys() - {"proxy"}):
        account = "".join(f"    {line}\n" for line in text.splitlines())
        return f"accounts:\n  alice:\n{account}{_dumped(_missing(keys), 4)}"
    return f"{text}\n{_dumped({'accounts': {'alice': _REST}}, 0)}"


def _missing(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _REST.items() if key not in keys}


def _dumped(keys: dict[str, Any], indent: int) -> str:
    text = yaml.safe_dump(keys, sort_keys=False) if keys else ""
    return "".join(f"{' ' * indent}{line}\n" for line in text.splitlines())
