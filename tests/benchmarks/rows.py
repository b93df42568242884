"""The rows of the table, a function each; those of fetchd alone are in :mod:`growth`."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.benchmarks.bench import Bench
from tests.benchmarks.clients import Account, Client, Command, Fetchd, Files, maildir, state
from tests.benchmarks.corpus import MB, Corpus, large, mixed, small, tiny
from tests.benchmarks.latency import Distance
from tests.benchmarks.measure import ToolError, run
from tests.benchmarks.race import Case, Course
from tests.benchmarks.verify import delivered

QUICK_SHARE: Final = 5
"""In a quick run a slow tool gets one message of so many, and is extrapolated."""

DISTANT_SHARE: Final = 100
"""The same where each message costs a slow tool a few round trips."""

MANY: Final = 200
"""Accounts of row 5."""

SEQUENTIAL_SHARE: Final = 20
"""A tool that polls one account after the other gets one of so many, and is extrapolated."""


# ── one account ──────────────────────────────────────────────────────────────────────────────────────────────────────


def row_1(bench: Bench) -> None:
    """Small mail: the first fetch of many messages."""
    _first_fetch(bench, "1", small(5000), "messages of about 6 KB, first fetch")


def row_2(bench: Bench) -> None:
    """Mixed mail."""
    _first_fetch(bench, "2", mixed(500), "messages, log-normal around 25 KB up to 5 MB")


def row_3(bench: Bench) -> None:
    """Large mail, on a plain line and over TLS."""
    corpus = large(20)
    title = f"messages of {corpus.sizes[0] // MB} MB"
    _first_fetch(bench, "3.plain", corpus, f"{title}, plain", keep=False)
    _first_fetch(bench, "3.tls", corpus, f"{title}, TLS", keep=False, tls=True)


def _first_fetch(bench: Bench, key: str, corpus: Corpus, title: str, *, keep: bool = True, tls: bool = False) -> None:
    share = QUICK_SHARE if bench.quick else 1
    few = f"{corpus.name}-few"
    bench.fill_all({corpus.name: corpus, few: corpus.first(len(corpus) // share)})
    courses: dict[Client, Course] = {}
    for client in bench.clients:
        is_short = client.slow and share > 1
        courses[client] = bench.course(few if is_short else corpus.name, tls=tls, factor=share if is_short else 1)
    if not tls and bench.has_limits:
        for group in (256, 1):
            courses[Files(_as_files(bench, corpus), group)] = bench.course(corpus.name)
    case = Case(key, f"{len(corpus):,} {title}", messages=len(corpus), octets=sum(corpus.sizes))
    bench.disk.renew()
    bench.race(case, courses, keep=keep)


def _as_files(bench: Bench, corpus: Corpus) -> Path:
    boxes = [bench.server.directory / "mail" / corpus.name / name for name in ("new", "cur")]
    return max(boxes, key=lambda box: len(list(box.iterdir())))  # the server moves all of them, or none


def row_4(bench: Bench) -> None:
    """Small mail from far away. Without a distance the mail goes through the relay too, for its price."""
    corpus = small(5000)
    few = f"{corpus.name}-distant"
    bench.fill_all({corpus.name: corpus, few: corpus.first(len(corpus) // DISTANT_SHARE)})
    for milliseconds in (0, 80) if bench.quick else (0, 20, 80):
        courses: dict[Client, Course] = {}
        with Distance((bench.server.host, bench.server.port), milliseconds / 1000) as line:
            for client in bench.clients:
                if not client.slow:
                    courses[client] = bench.course(corpus.name, port=line.port)
                elif milliseconds:
                    courses[client] = bench.course(few, port=line.port, factor=DISTANT_SHARE)
            title = f"{len(corpus):,} messages of about 6 KB, RTT {milliseconds} ms"
            bench.disk.renew()
            bench.race(Case(f"4.{milliseconds}", title, len(corpus), sum(corpus.sizes)), courses)


def row_6(bench: Bench) -> None:
    """Much seen, a little new."""
    seen, new, user = 20_000, 10, "seen"
    corpus = tiny(seen + new)
    bench.fill(user, corpus.first(seen))
    known = bench.unique_ids(user)
    account = bench.account(user)
    bench.disk.renew()
    stores = {client: skipped(bench, client, account) for client in bench.versions}
    bench.add(user, corpus)
    only_new = {number: digest for number, digest in corpus.digests().items() if number >= seen}
    courses = {
        client: Course([account], {user: only_new}, before=partial(_believe, client, account, known, stores))
        for client in bench.tools
    }
    bench.race(Case("6", f"{seen:,} seen messages and {new} new ones"), courses)


def skipped(bench: Bench, client: Fetchd, account: Account) -> Path:
    """Returns a directory with a store that has seen all that is in a maildrop, and fetched none of it."""
    home = bench.disk.fresh(f"skip-{account.user}")
    job = client.prepare(home, [account])
    client.configure(home, [account], defaults={"first_poll": "skip"})
    run(job, home)
    return state(home)


def _believe(client: Client, account: Account, known: Sequence[bytes], stores: dict[Fetchd, Path], home: Path) -> None:
    if isinstance(client, Fetchd):
        shutil.copytree(stores[client], state(home))
    else:
        client.remember(home, account, known)


def row_7(bench: Bench) -> None:
    """Nothing to do: what a whole process costs, from start to end."""
    corpus = small(10, "handful")
    bench.fill(corpus.name, corpus)
    courses: dict[Client, Course] = {}
    for client in bench.tools:
        course = bench.course(corpus.name)
        courses[client] = Course(course.accounts, course.expected, before=partial(_fetched, client, course.accounts))
    if bench.has_limits:
        courses[Command("limit: Python itself")] = Course([bench.account(corpus.name)], {})
    bench.race(Case("7", "nothing to do: the whole process"), courses, runs=max(7, bench.runs))


def _fetched(client: Client, accounts: Sequence[Account], home: Path) -> None:
    run(client.prepare(home, accounts), home)


# ── many accounts ────────────────────────────────────────────────────────────────────────────────────────────────────


def row_5(bench: Bench) -> None:
    """Many accounts with a little mail each, not far away; and right afterwards, when there is none."""
    corpora = {f"many{number:03d}": small(5, f"many{number:03d}") for number in range(MANY)}
    bench.fill_all(corpora)
    messages, octets = 5 * MANY, sum(sum(corpus.sizes) for corpus in corpora.values())
    bench.disk.renew()
    with Distance((bench.server.host, bench.server.port), 0.020) as line:
        courses = {}
        for client in bench.clients:
            share = SEQUENTIAL_SHARE if client.sequential else 1
            courses[client] = bench.tour(list(corpora)[: MANY // share], port=line.port, factor=share)
        new = Case("5.new", f"{MANY} accounts with 5 new messages each, RTT 20 ms", messages, octets, MANY)
        idle = Case("5.idle", f"{MANY} accounts with nothing new, RTT 20 ms", accounts=MANY)
        bench.race(new, courses, then=idle)


# ── killed ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def row_8(bench: Bench) -> None:
    """SIGKILL in the middle, then a run to the end: what came twice, and what never."""
    corpus = small(5000)
    few = f"{corpus.name}-killed"
    bench.fill_all({corpus.name: corpus, few: corpus.first(1000)})
    bench.disk.renew()
    killed = bench.results.facts.setdefault("killed", {})
    for share in (0.5,) if bench.quick else (0.2, 0.5, 0.8):
        for client in bench.tools:
            user, count = (few, 1000) if client.slow else (corpus.name, len(corpus))
            duplicates, lost = _killed(bench, client, bench.course(user), int(share * count))
            killed.setdefault(client.name, []).append({"at": share, "of": count, "twice": duplicates, "lost": lost})
            print(
                f"  8  {client.name:<24} killed at {share:.0%} of {count}: {duplicates} twice, {lost} lost", flush=True
            )


def _killed(bench: Bench, client: Client, course: Course, at: int) -> tuple[int, int]:
    home = bench.disk.fresh(f"8-{client.name.split()[0]}")
    box = maildir(home, course.accounts[0])
    job = client.prepare(home, course.accounts)
    if run(job, home, until=lambda: delivered(box) >= at) is not None:
        raise ToolError(f"{client.name} was done before it could be killed")
    for lock in (*state(home).glob("*.lock"), home / "fetchmail.pid"):
        lock.unlink(missing_ok=True)  # else fdm never runs again, nor fetchmail where its number is another's by now
    run(client.prepare(home, course.accounts), home)
    verdict = course.verify(home)
    return verdict.duplicates, verdict.lost


ROWS: Final[dict[str, Callable[[Bench], None]]] = {
    "1": row_1,
    "2": row_2,
    "3": row_3,
    "4": row_4,
    "5": row_5,
    "6": row_6,
    "7": row_7,
    "8": row_8,
}
QUICK: Final[Sequence[str]] = ("1", "2", "3", "4", "5", "7")
