"""From a file's name to ``model.Settings``: everything that is wrong with it at once, each thing at its place."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fetchd.config.build import build_account, notices
from fetchd.config.checks import check_account, check_http, check_notices, check_sharing, plain_passwords
from fetchd.config.document import parse
from fetchd.config.fields import STORE_NAME
from fetchd.config.merge import merged_accounts, read_mapping, slipped_accounts
from fetchd.config.nodes import plain
from fetchd.config.owners import find_owner
from fetchd.config.paths import Anchor, default_state, home
from fetchd.config.report import Report
from fetchd.config.schema import FileKeys
from fetchd.config.surroundings import judge_plain_passwords, look_around
from fetchd.errors import ConfigError
from fetchd.model import LogSettings, MetricsSettings, Settings
from fetchd.values import value

LIMIT_OCTETS: Final = 32 * 2**20
"""The largest configuration file; 100,000 accounts stay below it."""


@value
class Examined:
    """A configuration file looked through: its settings, or what keeps it from having any.

    Attributes:
        settings: None where there are problems.
        problems, warnings: ready lines, ``file:line: path: …``, in the order of the file.
    """

    settings: Settings | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def load(path: Path, *, environ: Mapping[str, str], thorough: bool = False) -> Settings:
    """Returns the settings of a configuration file.

    Args:
        path: the YAML file.
        environ: the process's environment; for ``~/``, the default place of the state, and warnings.
        thorough: for who checks: a file or a command that is missing is an error, and no warning (it may come later),
            and what will hurt is warned of, see ``hazards.py``.

    Raises:
        ConfigError: with a line for everything that is wrong. No line, and nothing that hangs on the error, holds a
            password.
    """
    examined = _examine(*_parsed(path), environ, thorough=thorough)
    if examined.settings is None:
        raise ConfigError(*examined.problems)
    return examined.settings


def examine(path: Path, *, environ: Mapping[str, str], thorough: bool = False) -> Examined:
    """Returns what :func:`load` would, or all problems and warnings side by side; raises nothing."""
    try:
        return _examine(*_parsed(path), environ, thorough=thorough)
    except ConfigError as error:
        return Examined(None, error.problems, ())


def _parsed(path: Path) -> tuple[Report, os.stat_result]:
    text, info = _read(path)
    return Report(path, parse(text, path)), info


def _read(path: Path) -> tuple[str, os.stat_result]:
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            octets = file.read(LIMIT_OCTETS + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(octets) > LIMIT_OCTETS:
        raise ConfigError(f"{path}: larger than {LIMIT_OCTETS >> 20} MiB: this is no configuration")
    line = _undecodable_line(octets)
    if line is not None:
        raise ConfigError(f"{path}:{line}: this is not UTF-8 text: save the file as UTF-8")
    return octets.decode("utf-8-sig"), info


def _undecodable_line(octets: bytes) -> int | None:
    """Returns the first line that is not UTF-8. The error itself holds all octets, passwords included: it ends here."""
    try:
        octets.decode()
    except UnicodeDecodeError as error:
        return octets.count(b"\n", 0, error.start) + 1
    return None


def _examine(report: Report, info: os.stat_result, environ: Mapping[str, str], *, thorough: bool) -> Examined:
    root = report.document.root.value
    if not isinstance(root, dict):
        report.error((), f"a mapping of keys is expected, as in {FileKeys.example}")
        return Examined(None, report.errors(), ())
    anchor = Anchor(Path(os.path.abspath(report.source)).parent, home(environ))
    apart = {"accounts", "defaults", *slipped_accounts(report.document)}
    given = {name: plain(entry.node) for name, entry in root.items() if name not in apart}
    top, blamed = read_mapping((), {**given, "accounts": {}}, model=FileKeys, anchor=anchor, report=report)
    # Where an unknown key stands for "accounts", that has been said.
    candidates = [] if "accounts" in blamed and "accounts" not in root else merged_accounts(anchor, report)
    accounts = {}
    for candidate in candidates:
        check_account(candidate, report)
        account = build_account(candidate, owner=find_owner(candidate, report))
        if account is not None:
            accounts[account.name] = account
            look_around(candidate, account, environ, report=report, thorough=thorough)
    check_sharing(candidates, report)
    check_http(top.http, report)
    check_notices(top.notices, candidates, report)
    judge_plain_passwords(plain_passwords(candidates), info, report)
    state = _state(top.state, environ, report)
    if thorough:
        from fetchd.config.hazards import warn_of_hazards  # noqa: PLC0415 - it looks around, for who checks alone

        built = [(one, accounts[one.name]) for one in candidates if one.name in accounts]
        warn_of_hazards(built, state, report)
    problems = report.errors()
    if problems:
        return Examined(None, problems, report.warnings())
    settings = Settings(
        source=report.source,
        accounts=accounts,
        state=state,
        http=top.http,
        metrics=MetricsSettings(top.metrics.per_account),
        notices=notices(top.notices),
        log=LogSettings(top.log.format, top.log.level),
        workers=top.workers,
        sessions_per_host=top.sessions_per_host,
        warnings=report.warnings(),
    )
    return Examined(settings, (), settings.warnings)


def _state(given: Path | None, environ: Mapping[str, str], report: Report) -> Path:
    try:
        path = given or default_state(environ)
    except ConfigError as error:
        report.error(("state",), str(error))
        return Path()
    return path / STORE_NAME if os.path.isdir(path) else path  # False, too, where it may not be looked at
