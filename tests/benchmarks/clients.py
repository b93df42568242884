"""The tools, each configured as its manual recommends for fetching with speed, keeping the mail on the server."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import yaml

from tests.benchmarks.measure import Job

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Account:
    """Where mail is fetched from.

    Attributes:
        ca_file: POP3 over TLS, verified against this authority; None: plain.
    """

    user: str
    password: str
    host: str
    port: int
    ca_file: Path | None = None


def maildir(home: Path, account: Account) -> Path:
    """Returns where a tool that runs in ``home`` delivers to."""
    return home / "mail" / account.user


def state(home: Path) -> Path:
    """Returns where a tool that runs in ``home`` remembers what it has fetched."""
    return home / "state"


class Client:
    """One tool.

    Attributes:
        slow: it takes a process, or several round trips, for each message.
        sequential: it polls one account after the other.
        delivers: it is a tool, not a limit.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    slow: ClassVar[bool] = False
    sequential: ClassVar[bool] = False
    delivers: ClassVar[bool] = True

    def prepare(self, home: Path, accounts: Sequence[Account]) -> Job:
        """Writes the configuration, and returns what to run; may be called again for another run in ``home``."""
        state(home).mkdir(exist_ok=True)
        for account in accounts:
            for box in ("", "tmp", "new", "cur"):
                (maildir(home, account) / box).mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.job(home, accounts)

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """Writes the configuration, and returns what to run."""
        raise NotImplementedError

    def remember(self, home: Path, account: Account, unique_ids: Sequence[bytes]) -> None:
        """Makes the tool believe, before its first run in ``home``, that it has fetched these already.

        fetchd's store is its own affair: a first poll that skips what is there fills it.
        """
        raise NotImplementedError

    def report(self, home: Path) -> None:
        """Prints what it has to say about its run in ``home``, beyond what was measured: a profiler has."""

    @property
    def is_installed(self) -> bool:
        """Whether it can be run here."""
        return shutil.which(self.program) is not None


class Fetchd(Client):
    """``fetchd --once`` with its defaults.

    Args:
        tree: the directory that holds the package ``fetchd``: this one, or another version to compare with.
        name: what to call it.
    """

    name = "fetchd"
    program = sys.executable

    def __init__(self, tree: Path = ROOT, name: str = "fetchd") -> None:
        self.tree = tree
        self.name = name  # type: ignore[misc] # one instance a version

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        # All accounts at once, as the other tools that can are told to; a daemon does with fetchd's default.
        self.configure(home, accounts, **({"workers": 200, "sessions_per_host": 200} if len(accounts) > 1 else {}))
        return Job(
            [[sys.executable, "-m", "fetchd", "-c", "fetchd.yaml", "--once"]],
            environment={"PYTHONPATH": str(self.tree)},
        )

    def configure(self, home: Path, accounts: Sequence[Account], **top: object) -> None:
        """Writes ``fetchd.yaml``; ``top`` are further keys of its first level."""
        if len(accounts) > 1:
            top = {"sessions_per_host": 64, **top}  # all accounts are on one host here, which is ours
        text = yaml.dump(
            {
                "state": str(state(home) / "fetchd.db"),
                **top,
                "accounts": {account.user: self._account(home, account) for account in accounts},
            },
            Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        )
        _write(home / "fetchd.yaml", text)

    @staticmethod
    def _account(home: Path, account: Account) -> dict[str, object]:
        return {
            "host": account.host,
            "port": account.port,
            "tls": {"mode": "implicit", "ca_file": str(account.ca_file)} if account.ca_file else "none",
            "user": account.user,
            "password": {"file": str(_write(home / f"password-{account.user}", account.password))},
            "deliver": {"maildir": str(maildir(home, account))},
        }


class Mpop(Client):
    """mpop: pipelines where the server can."""

    name = "mpop"
    program = "mpop"
    sequential = True

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        lines = ["defaults", "auth plain", "keep on", "pipelining auto", f"uidls_file {state(home)}/%U_at_%H"]
        for account in accounts:
            lines += [f"account {account.user}", f"host {account.host}", f"port {account.port}"]
            lines += [
                f"user {account.user}",
                f"password {account.password}",
                f"delivery maildir {maildir(home, account)}",
            ]
            lines += (
                ["tls on", "tls_starttls off", f"tls_trust_file {account.ca_file}"] if account.ca_file else ["tls off"]
            )
        config = _write(home / "mpoprc", "\n".join(lines) + "\n")
        return Job([["mpop", "-C", str(config), "-Q", "-a"]])

    def remember(self, home: Path, account: Account, unique_ids: Sequence[bytes]) -> None:
        """See :meth:`Client.remember`."""
        head = f" {len(unique_ids)} {account.host} {account.user}\n"
        lines = "".join(f"{uid.decode()}\n" for uid in sorted(unique_ids))
        _write(_made(state(home)) / f"{account.user}_at_{account.host}", head + lines)


class Fdm(Client):
    """fdm: a process fetches and another delivers; several accounts have a process each, all at once."""

    name = "fdm"
    program = "fdm"
    slow = True

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        configs = []
        for account in accounts:
            kind = "pop3s" if account.ca_file else "pop3"
            text = (
                f'set lock-file "{state(home)}/{account.user}.lock"\n'
                + ("set verify-certificates\n" if account.ca_file else "")
                + f'action "deliver" maildir "{maildir(home, account)}"\n'
                f'account "{account.user}" {kind} server "{account.host}" port {account.port}\n'
                f'  user "{account.user}" pass "{account.password}"\n'
                f'  new-only cache "{state(home)}/{account.user}.cache" keep\n'
                'match all action "deliver"\n'
            )
            configs.append(_write(home / f"fdm-{account.user}.conf", text))
        authority = {"SSL_CERT_FILE": str(accounts[0].ca_file)} if accounts[0].ca_file else {}
        return Job([["fdm", "-f", str(config), "fetch"] for config in configs], together=True, environment=authority)

    def remember(self, home: Path, account: Account, unique_ids: Sequence[bytes]) -> None:
        """See :meth:`Client.remember`."""
        lines = "".join(f"{len(uid)} {uid.decode()}\n" for uid in unique_ids)
        _write(_made(state(home)) / f"{account.user}.cache", lines)


class Fetchmail(Client):
    """fetchmail, with maildrop as what delivers."""

    name = "fetchmail+maildrop"
    program = "fetchmail"
    sequential = True
    slow = True

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        lines = []
        for account in accounts:
            filters = _write(home / f"maildrop-{account.user}", f'to "{maildir(home, account)}/"\n')
            tls = (
                f'ssl sslcertck sslcertfile "{account.ca_file}" sslcommonname "localhost"'
                if account.ca_file
                else 'sslproto ""'
            )
            lines.append(
                f"poll {account.user} via {account.host} protocol pop3 service {account.port} uidl\n"
                f'  user "{account.user}" password "{account.password}" keep no rewrite {tls}\n'
                f'  mda "maildrop {filters}"\n'
            )
        config = _write(home / "fetchmailrc", "".join(lines))
        ids, pid = state(home) / "fetchids", home / "fetchmail.pid"
        command = ["fetchmail", "-f", str(config), "-i", str(ids), "--pidfile", str(pid), "--nosyslog", "-s"]
        return Job([command], codes=frozenset({0, 1}))  # 1: there was no mail

    def remember(self, home: Path, account: Account, unique_ids: Sequence[bytes]) -> None:
        """See :meth:`Client.remember`."""
        lines = "".join(f"{account.user}@{account.host} {uid.decode()}\n" for uid in unique_ids)
        _write(_made(state(home)) / "fetchids", lines)


class Getmail(Client):
    """getmail6 with its own Maildir delivery."""

    name = "getmail6"
    program = "getmail"
    sequential = True
    slow = True

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        command = ["getmail", "--quiet", f"--getmaildir={state(home)}"]
        for account in accounts:
            tls = f"ca_certs = {account.ca_file}\n" if account.ca_file else ""
            text = (
                f"[retriever]\ntype = SimplePOP3{'SSL' if account.ca_file else ''}Retriever\n{tls}"
                f"server = {account.host}\nport = {account.port}\nusername = {account.user}\n"
                f"password = {account.password}\n"
                f"[destination]\ntype = Maildir\npath = {maildir(home, account)}/\n"
                "[options]\nread_all = false\ndelete = false\n"
            )
            command.append(f"--rcfile={_write(home / f'getmailrc-{account.user}', text)}")
        return Job([command])

    def remember(self, home: Path, account: Account, unique_ids: Sequence[bytes]) -> None:
        """See :meth:`Client.remember`."""
        lines = "".join(f"{uid.decode()}\0{int(time.time())}\n" for uid in unique_ids)
        _write(_made(state(home)) / f"oldmail-{account.host}-{account.port}-{account.user}", lines)


class Drain(Client):
    """The server's limit: everything is retrieved and thrown away, of all accounts at once.

    A second run in the same directory only asks what there is: nothing is new to it.
    """

    name = "limit: server drained"
    program = sys.executable
    delivers = False

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        mark = state(home) / "drained"
        what = "list" if mark.exists() else "drain"
        mark.touch()
        first, script = accounts[0], str(Path(__file__).with_name("limits.py"))
        where = [first.host, str(first.port), str(first.ca_file or ""), first.password]
        return Job([[sys.executable, "-S", script, what, *where, *(account.user for account in accounts)]])


class Command(Client):
    """A process that does nothing: Python starts, imports nothing, and ends."""

    program = sys.executable
    delivers = False

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc] # it is a limit, named by what it is the limit of

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        return Job([[sys.executable, "-c", "pass"]])


class Files(Client):
    """The disk's limit: files are written, and flushed by the group, and nothing else happens.

    Args:
        source: a directory with the messages, a file each.
        group: files between two flushes of the file system; 1: every file is flushed on its own.
    """

    program = sys.executable

    def __init__(self, source: Path, group: int = 256) -> None:
        self.name = f"limit: files, syncfs/{group}" if group > 1 else "limit: files, fsync each"  # type: ignore[misc] # one instance a group
        self._source = source
        self._group = group

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`Client.job`."""
        script = str(Path(__file__).with_name("limits.py"))
        target = str(maildir(home, accounts[0]))
        return Job([[sys.executable, "-S", script, "write", target, str(self._source), str(self._group)]])


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path
