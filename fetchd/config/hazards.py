"""What works and will hurt: for ``fetchd check``, which has the time to look around.

Nothing here is an error, and nothing is asked of the network. Directories are judged as who runs the check sees them.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from fetchd.config.checks import Candidate, is_loopback
from fetchd.config.report import Report, shown_name
from fetchd.config.units import format_duration
from fetchd.model import Account, MboxTarget, SecretOAuth, TlsMode
from fetchd.providers import of_host

LITTLE_OCTETS: Final = 100_000_000
"""Less room than this on a file system will not last long for mail."""
FEW_FILES: Final = 1_000

_MOUNTS: Final = Path("/proc/self/mountinfo")
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "afs"})
_TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is put there


def warn_of_hazards(accounts: Iterable[tuple[Candidate, Account]], state: Path, report: Report) -> None:
    """Warns of what will hurt.

    Args:
        accounts: as merged, and as built of that.
        state: the store's file.
        report: is told.
    """
    surroundings = _Surroundings()
    for text in surroundings.of_state(state):
        report.warn(("state",), text)
    kinds: dict[Path, tuple[str, type[object]]] = {}
    for candidate, account in accounts:
        for key, text in (*_of_provider(account), *_of_line(account)):
            report.warn(candidate.path(key), text)
        for text in surroundings.of_target(account):
            report.warn(candidate.path("deliver"), text)
        first, kind = kinds.setdefault(account.target.path, (account.name, type(account.target)))
        if kind is not type(account.target):
            line = report.line(("accounts", first))
            text = f'"{shown_name(first)}" (line {line}) has a {_kind(kind)} at this very path: only one of them can be'
            report.warn(candidate.path("deliver"), text)


def _kind(target: type[object]) -> str:
    return "mbox" if target is MboxTarget else "Maildir"


def _of_provider(account: Account) -> Iterator[tuple[str, str]]:
    provider = of_host(account.host)
    if provider is None:
        return
    if account.interval < provider.least_interval:
        least = format_duration(provider.least_interval)
        text = f"{provider.name} locks out who comes more often than every {least}: write interval: {least}"
        yield "interval", text
    if provider.needs_oauth and not isinstance(account.password, SecretOAuth) and not account.mechanism:
        text = (
            f"{provider.name}: no passwords are taken any more, only tokens: write "
            f"oauth: {{provider: {provider.oauth}, client_id: …}}"
        )
        yield "password", text


def _of_line(account: Account) -> Iterator[tuple[str, str]]:
    if account.tls.mode is not TlsMode.NONE or not _is_public(account.host):
        return
    what = "the mail and the password" if account.allow_plaintext_password else "the mail"
    text = f"whoever is on the way to {account.host} can read {what}: write tls: implicit, or tls: starttls"
    yield "tls", text


def _is_public(host: str) -> bool:
    """Returns whether the way to a host most likely leaves the local network."""
    if is_loopback(host):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host.rstrip(".") and not host.rstrip(".").lower().endswith((".local", ".internal", ".lan"))


class _Surroundings:
    """The directories above paths, each looked at once."""

    def __init__(self) -> None:
        self._mounts = _mounts()
        self._open_to_all = cache(_open_to_all)
        self._room = cache(_room)

    def of_state(self, path: Path) -> Iterator[str]:
        """Yields what will hurt about the store's place."""
        there = _nearest(path)
        kind = self._file_system(there)
        lost = "what was fetched is forgotten with the next start of this machine, and fetched again"
        if kind in _IN_MEMORY:
            yield f"{path} is in memory ({kind}): {lost}; put it on a disk"
        elif any(_resolved(path).is_relative_to(place) for place in _TEMPORARY):
            yield f"{path} is in a directory for temporary files, which systems empty: put it elsewhere"
        elif kind in _REMOTE:
            yield f"{path} is on a network file system ({kind}), where the store is not safe: put it on a local disk"
        yield from self._of_place(path, there)

    def of_target(self, account: Account) -> Iterator[str]:
        """Yields what will hurt about the place that an account's mail is delivered to."""
        target = account.target
        there = _nearest(target.path)
        kind = self._file_system(there)
        if kind in _IN_MEMORY:
            yield f"{target.path} is in memory ({kind}): the mail is lost with the next start of this machine"
        elif kind in _REMOTE:
            yield f"{target.path} is on a network file system ({kind}), for which fetchd promises nothing"
        yield from self._of_place(target.path, there)
        if there not in {target.path, target.path.parent} and not target.create_parents:
            yield f"{target.path.parent} does not exist: create it, or write create_parents: true"
        elif target.owner is None:
            yield from _not_writable(target.path if there == target.path else there)
        if target.path == there and there.is_dir() is isinstance(target, MboxTarget):
            what = "a directory" if there.is_dir() else "no directory"
            yield f"{target.path} is {what}, and so no {_named(account)}"

    def _of_place(self, path: Path, there: Path) -> Iterator[str]:
        for directory in (there, *there.parents):
            if self._open_to_all(directory):
                yield f"everyone on this machine can write to {directory}, and so replace {path}: chmod o-w {directory}"
        room = self._room(there if there.is_dir() else there.parent)
        if room:
            yield f"the file system of {path} is nearly full: {room}"

    def _file_system(self, path: Path) -> str:
        """Returns the type of the file system that a path is on, as Linux names it; "" where that cannot be told."""
        resolved = _resolved(path)
        on = [mount for mount in self._mounts if resolved.is_relative_to(mount[0])]
        # Of several mounts on one directory, the last one made is what is seen.
        return max(enumerate(on), key=lambda found: (len(found[1][0].parts), found[0]))[1][1] if on else ""


def _named(account: Account) -> str:
    return _kind(type(account.target))


def _mounts() -> list[tuple[Path, str]]:
    """Returns the mount points and their types of file system (proc_pid_mountinfo(5)), in the order made."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        left, _, right = line.partition(b" - ")
        fields = left.split(b" ")
        if len(fields) > 4 and right:  # noqa: PLR2004 - the fifth is the mount point
            point = fields[4].decode("unicode_escape").encode("latin-1", "replace")
            found.append((Path(os.fsdecode(point)), right.split(b" ")[0].decode("ascii", "replace")))
    return found


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _nearest(path: Path) -> Path:
    """Returns the path itself, or the nearest directory above it that exists."""
    absolute = path.absolute()
    return next((one for one in (absolute, *absolute.parents) if os.path.exists(one)), Path("/"))


def _open_to_all(directory: Path) -> bool:
    """Returns whether everyone may rename what is in a directory: in one with the sticky bit, only their own."""
    try:
        mode = os.stat(directory).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _not_writable(path: Path) -> Iterator[str]:
    needed = os.W_OK | os.X_OK if path.is_dir() else os.W_OK
    if not os.access(path, needed):
        yield f"whoever runs this check may not write to {path}: fetchd has to run as somebody who may"


def _room(directory: Path) -> str:
    """Returns how little room there is, or "" where there is enough. File systems without a limit of files tell 0."""
    try:
        info = os.statvfs(directory)
    except OSError:
        return ""
    octets = info.f_bavail * info.f_frsize
    if octets < LITTLE_OCTETS:
        return f"{octets // 1_000_000} MB are free"
    return f"{info.f_favail} more files fit" if info.f_files and info.f_favail < FEW_FILES else ""
