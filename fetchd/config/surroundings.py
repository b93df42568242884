"""What the machine has to say about a configuration: files that are missing, or that others can read.

Nothing here is an error but one: a password in plain text in a file that others can read. A secret's file that is
missing now may be there at the next poll, and is read anew then.
"""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fetchd.config.checks import Candidate
from fetchd.config.nodes import Steps
from fetchd.config.report import Report
from fetchd.config.sections import PasswordKeys
from fetchd.model import Account, SecretCommand, SecretCredential, SecretEnv, SecretFile, SecretSource, Tls


def judge_plain_passwords(places: Sequence[Steps], info: os.stat_result, report: Report) -> None:
    """Says once, at the first place, that passwords stand in the configuration in plain text.

    A group that may read is taken for the service's own where root owns the file (root:fetchd, 0640): that is how a
    service without root is given a configuration that it cannot change.
    """
    if not places:
        return
    at_proxy = places[0][-1] == "proxy"
    mode = stat.S_IMODE(info.st_mode)
    exposed = mode & stat.S_IROTH or (mode & stat.S_IRGRP and info.st_uid != 0)
    more = f" (as do {len(places) - 1} more)" if len(places) > 1 else ""
    if stat.S_ISREG(info.st_mode) and exposed:
        fix = f"chmod 600 {report.source}" + ("" if at_proxy else ", or write password: {file: …}")
        report.error(
            places[0], f"a password stands here in plain text{more} and others can read it (mode {mode:04o}): {fix}"
        )
    else:
        apart = "" if at_proxy else ": password: {file: …} keeps it apart"
        report.warn(places[0], f"a password stands here in plain text{more}{apart}")


def look_around(candidate: Candidate, account: Account, environ: Mapping[str, str], *, report: Report) -> None:
    """Warns of what an account needs of the machine and does not find."""
    for key, text in (*_secret(account.password, environ), *_tls(account.tls)):
        report.warn((*candidate.path("password" if key in PasswordKeys.model_fields else "tls"), key), text)


def _tls(tls: Tls) -> Iterator[tuple[str, str]]:
    for key, file in (("ca_file", tls.ca_file), ("client_cert", tls.client_cert), ("client_key", tls.client_key)):
        if file is not None:
            yield from ((key, text) for text in _file(file, secret=key == "client_key"))


def _secret(source: SecretSource, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    match source:
        case SecretFile(path):
            yield from (("file", text) for text in _file(path, secret=True))
        case SecretEnv(variable):
            if not environ.get(variable):
                yield "env", "this environment variable is not set"
        case SecretCommand(argv):
            if shutil.which(argv[0], path=environ.get("PATH", os.defpath)) is None:
                yield "command", "there is no such command"
        case SecretCredential(name):
            directory = environ.get("CREDENTIALS_DIRECTORY")
            if directory is None:
                yield "credential", "systemd credentials are there only when systemd starts fetchd"
            else:
                yield from (("credential", text) for text in _file(Path(directory, name)))


def _file(path: Path, *, secret: bool = False) -> Iterator[str]:
    try:
        info = path.stat()
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    if not stat.S_ISREG(info.st_mode):
        yield f"{path}: not a regular file"
    elif secret and info.st_mode & stat.S_IROTH:
        yield f"{path}: everyone on this machine can read it (mode {stat.S_IMODE(info.st_mode):04o}): chmod 600 {path}"
