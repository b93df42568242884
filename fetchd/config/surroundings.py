"""What the machine has to say about a configuration: files that are missing, or that others can read.

To the daemon nothing here is an error but one: a password in plain text in a file that others can read. A secret's file
that is missing now may be there at the next poll, and is read anew then. Who checks a configuration wants to be told:
what is missing is an error then. What only the service manager gives, a variable or a credential, stays a warning, for
it is not there in the shell of whoever checks.
"""

import importlib.util
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fetchd.config.checks import Candidate
from fetchd.config.nodes import Steps
from fetchd.config.report import Report
from fetchd.model import (
    Account,
    SecretCommand,
    SecretCredential,
    SecretEnv,
    SecretFile,
    SecretKeyring,
    SecretOAuth,
    Tls,
)
from fetchd.values import value


def judge_plain_passwords(places: Sequence[Steps], info: os.stat_result, report: Report) -> None:
    """Says once, at the first place, that passwords stand in the configuration in plain text.

    A group that may read is taken for the service's own where root owns the file (root:fetchd, 0640): that is how a
    service without root is given a configuration that it cannot change.
    """
    if not places:
        return
    apart = "password: {file: …}"
    if places[0][-1] == "proxy":
        apart = f"proxy: {{url: …, {apart}}}"
    mode = stat.S_IMODE(info.st_mode)
    exposed = mode & stat.S_IROTH or (mode & stat.S_IRGRP and info.st_uid != 0)
    more = f" (as do {len(places) - 1} more)" if len(places) > 1 else ""
    if stat.S_ISREG(info.st_mode) and exposed:
        fix = f"chmod 600 {report.source}, or write {apart}"
        report.error(
            places[0], f"a password stands here in plain text{more} and others can read it (mode {mode:04o}): {fix}"
        )
    else:
        report.warn(places[0], f"a password stands here in plain text{more}: {apart} keeps it apart")


@value
class _Found:
    """Something that will hurt: at which key, in words, and whether it is missing for good as far as one can see."""

    steps: Steps
    text: str
    is_missing: bool = False


def look_around(
    candidate: Candidate, account: Account, environ: Mapping[str, str], *, report: Report, thorough: bool = False
) -> None:
    """Warns of what an account needs of the machine and does not find; ``thorough`` makes errors of what is missing."""
    for key, source in (("password", account.password), ("proxy", account.proxy_password)):
        inner = ("password",) if key == "proxy" else ()
        for found in _secret(source, environ):
            _say(report, (*candidate.path(key), *inner, *found.steps), found, thorough=thorough)
    if isinstance(account.password, SecretOAuth):
        for found in _secret(account.password.client_secret, environ):
            _say(report, (*candidate.path("oauth"), "client_secret", *found.steps), found, thorough=thorough)
    for found in _tls(account.tls):
        _say(report, (*candidate.path("tls"), *found.steps), found, thorough=thorough)


def _say(report: Report, path: Steps, found: _Found, *, thorough: bool) -> None:
    if thorough and found.is_missing:
        report.error(path, found.text)
    else:
        report.warn(path, found.text)


def _tls(tls: Tls) -> Iterator[_Found]:
    for key, file in (("ca_file", tls.ca_file), ("client_cert", tls.client_cert), ("client_key", tls.client_key)):
        if file is not None:
            yield from _file(file, (key,), secret=key == "client_key")


def _secret(source: object, environ: Mapping[str, str]) -> Iterator[_Found]:
    match source:
        case SecretFile(path):
            yield from _file(path, ("file",), secret=True, fix=": put the password into it, and nothing else")
        case SecretEnv(variable):
            if not environ.get(variable):
                yield _Found(("env",), "this environment variable is not set")
        case SecretCommand(argv):
            import shutil  # noqa: PLC0415 - bz2, lzma, zlib: only where a command is configured

            if shutil.which(argv[0], path=environ.get("PATH", os.defpath)) is None:
                yield _Found(("command",), "there is no such command", is_missing=True)
        case SecretKeyring():
            if importlib.util.find_spec("keyring") is None:
                yield _Found(
                    ("keyring",), "the package that reads it is missing: install fetchd[keyring]", is_missing=True
                )
        case SecretCredential(name):
            directory = environ.get("CREDENTIALS_DIRECTORY")
            if directory is None:
                yield _Found(("credential",), "systemd credentials are there only when systemd starts fetchd")
            else:
                yield from _file(Path(directory, name), ("credential",))


def _file(path: Path, steps: Steps, *, secret: bool = False, fix: str = "") -> Iterator[_Found]:
    try:
        info = path.stat()
    except OSError as error:
        # Where it cannot be looked at, it may well be there: fetchd may run as somebody else than whoever checks.
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        yield _Found(steps, f"{path}: {error.strerror}{fix if is_missing else ''}", is_missing)
        return
    if not stat.S_ISREG(info.st_mode):
        yield _Found(steps, f"{path}: not a regular file", is_missing=True)
    elif secret and info.st_mode & stat.S_IROTH:
        mode = f"{stat.S_IMODE(info.st_mode):04o}"
        yield _Found(steps, f"{path}: everyone on this machine can read it (mode {mode}): chmod 600 {path}")
