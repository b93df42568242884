"""What the rows have in common: the server and its users, the disk, the tools, what was asked for."""

import compileall
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks import limits
from tests.benchmarks.clients import ROOT, Account, Client, Drain, Fdm, Fetchd, Fetchmail, Getmail, Mpop
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.filesystem import Disk
from tests.benchmarks.measure import run
from tests.benchmarks.profiling import Profiled, Traced
from tests.benchmarks.race import Case, Course, Results, race
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority

PASSWORD: Final = "correct-horse"

_SERVER: Final = {
    "auth_mechanisms": "plain login",  # as with most providers; the tools would else choose different ones
    "pop3_no_flag_updates": "yes",  # else the first tool pays for flags that it sets for all others
    "default_process_limit": "2000",
    "default_client_limit": "20000",
    "mail_max_userip_connections": "20000",
}


@dataclass
class Bench:
    """One run of the benchmarks."""

    server: Dovecot
    authority: TestAuthority
    disk: Disk
    results: Results
    runs: int
    quick: bool
    clients: Sequence[Client]
    scratch: Path
    _filled: dict[str, Corpus] = field(default_factory=dict)

    @property
    def tools(self) -> list[Client]:
        """The tools, without the limits."""
        return [client for client in self.clients if client.delivers]

    @property
    def has_limits(self) -> bool:
        """Whether the limits are wanted."""
        return any(isinstance(client, Drain) for client in self.clients)

    @property
    def versions(self) -> list[Fetchd]:
        """fetchd, and the versions of it to compare with."""
        return [client for client in self.clients if isinstance(client, Fetchd)]

    def fill(self, user: str, corpus: Corpus) -> None:
        """Puts a corpus into a new user's maildrop, and lets the server make its index; once a user."""
        self.fill_all({user: corpus})

    def fill_all(self, corpora: Mapping[str, Corpus]) -> None:
        """Like :meth:`fill`, for many users."""
        new = {user: corpus for user, corpus in corpora.items() if user not in self._filled}
        for user, corpus in new.items():
            mailbox = self.server.add_user(user, PASSWORD)
            for message in corpus.messages():
                mailbox.put(message)
        self._filled |= new
        self.warm(list(new))

    def add(self, user: str, corpus: Corpus) -> None:
        """Makes ``corpus`` what the maildrop holds: it begins with what is there already."""
        there = len(self._filled[user])
        for number in range(there, len(corpus)):
            self.server.put(user, corpus.message(number))
        self._filled[user] = corpus
        self.warm([user])

    def warm(self, users: Sequence[str]) -> None:
        """Lets the server look at all mail of these users once."""
        if users:
            home = Path(tempfile.mkdtemp(dir=self.scratch))
            run(Drain().prepare(home, [self.account(user) for user in users]), home)

    def unique_ids(self, user: str) -> list[bytes]:
        """Returns the unique-ids of a maildrop, in the order of the messages."""
        line = limits.Line(self.server.host, self.server.port, "")
        with closing(line):
            line.log_in(user, PASSWORD)
            return [each.split(b" ")[1] for each in line.listing("UIDL")]

    def account(self, user: str, *, tls: bool = False, port: int = 0) -> Account:
        """Returns a user's account; ``port``: of a proxy."""
        own = self.server.tls_port if tls else self.server.port
        return Account(user, PASSWORD, self.server.host, port or own, self.authority.ca_file if tls else None)

    def course(self, user: str, *, tls: bool = False, port: int = 0, factor: float = 1.0) -> Course:
        """Returns the way through one filled maildrop."""
        return self.tour([user], tls=tls, port=port, factor=factor)

    def tour(self, users: Sequence[str], *, tls: bool = False, port: int = 0, factor: float = 1.0) -> Course:
        """Returns the way through many filled maildrops."""
        accounts = [self.account(user, tls=tls, port=port) for user in users]
        return Course(accounts, {user: self._filled[user].digests() for user in users}, factor)

    def race(
        self,
        case: Case,
        courses: dict[Client, Course],
        *,
        runs: int = 0,
        keep: bool = True,
        then: Case | None = None,
    ) -> None:
        """See :func:`race.race`."""
        print(case.title, flush=True)
        runs = runs or self.runs
        slow = 1 if self.quick else runs
        race(self.results, case, courses, disk=self.disk, runs=runs, slow_runs=slow, keep=keep, then=then)


def all_clients(scratch: Path, against: Sequence[Path], *, profiled: bool) -> list[Client]:
    """Returns the tools that are installed; with other trees of fetchd to compare with; or fetchd with profilers."""
    if profiled:
        tree = _copied(against[0] if against else ROOT, scratch / "tree")
        profilers: list[Client] = [Fetchd(tree), Profiled(tree, "profiled"), Traced(tree, "traced")]
        return [client for client in profilers if client.is_installed]
    ours = [("fetchd", ROOT), *((f"fetchd in {tree}", tree) for tree in against)]
    versions = [Fetchd(_copied(tree, scratch / f"tree-{number}"), name) for number, (name, tree) in enumerate(ours)]
    tools: list[Client] = [*versions, Mpop(), Fdm(), Fetchmail(), Getmail(), Drain()]
    return [client for client in tools if client.is_installed]


def _copied(tree: Path, to: Path) -> Path:
    """A copy: nobody's edits change what is measured, and it is compiled, as an installed package is."""
    shutil.copytree(tree / "fetchd", to / "fetchd", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(to, quiet=2)
    return to


@contextmanager
def opened(
    *,
    runs: int,
    quick: bool,
    results: Results,
    tools: str = "",
    against: Sequence[Path] = (),
    profiled: bool = False,
) -> Iterator[Bench]:
    """Starts the server and finds a disk; all is gone afterwards. ``tools``: how the names of those wanted begin."""
    with tempfile.TemporaryDirectory(prefix="fetchd-bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # the tools read the certificate
        authority = TestAuthority(scratch)
        clients = all_clients(scratch, against, profiled=profiled)
        clients = [client for client in clients if client.name.startswith(tuple(tools.split(",")))]
        with Disk() as disk, Dovecot(authority, settings=_SERVER) as server:
            results.facts["disk"] = disk.description
            yield Bench(server, authority, disk, results, runs, quick, clients, scratch)
