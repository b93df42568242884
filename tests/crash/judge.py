"""What has to be true after a fault and a clean restart: nothing lost, nothing twice, nothing left lying about.

The judge reads only what is on disk and what the server wrote down. It shares no code with fetchd: its mbox reader
undoes the mboxrd quoting by itself.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tests.crash.letters import TOKEN, letters
from tests.crash.server import Record

Kind = Literal["maildir", "mbox"]

_TOKEN: Final = re.compile(rb"^" + TOKEN + rb"(.*)$", re.MULTILINE)
_QUOTED: Final = re.compile(rb"^>(>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a trial's files are.

    Attributes:
        kind: of the target.
        target: the Maildir or the mbox.
        store: the SQLite file; an mbox is staged beside it, in ``mbox-staging``.
    """

    kind: Kind
    target: Path
    store: Path

    @property
    def staging(self) -> Path:
        """The directory in which messages are staged."""
        return self.target / "tmp" if self.kind == "maildir" else self.store.parent / "mbox-staging"

    def messages(self) -> list[bytes]:
        """Returns all that is delivered, unquoted, in no order."""
        return read_maildir(self.target) if self.kind == "maildir" else read_mbox(self.target)


@dataclass(slots=True)
class Verdict:
    """What the judge found; ``problems`` is empty where all is well.

    Attributes:
        lost, doubled, spoiled: letters that did not come, came more than once, or came with other octets.
        refetched: RETRs beyond the first of each letter.
        problems: one line for each thing that is wrong.
    """

    lost: int = 0
    doubled: int = 0
    spoiled: int = 0
    refetched: int = 0
    problems: list[str] = field(default_factory=list)


def judge(
    user: str, places: Places, record: Record, *, keep: bool, most_refetched: int, taken: Sequence[bytes] = ()
) -> Verdict:
    """Returns the verdict on a trial after its last run.

    Args:
        user: whose letters they are.
        places: where fetchd delivered to.
        record: what the server wrote down.
        keep: whether mail is left on the server.
        most_refetched: how many RETRs the faults may have cost.
        taken: messages that a mail reader took out of the target meanwhile: they count as delivered.
    """
    verdict = Verdict()
    _check_messages(verdict, user, [*places.messages(), *taken])
    _check_leftovers(verdict, places)
    _check_store(verdict, places.store)
    _check_server(verdict, user, record, keep=keep, most_refetched=most_refetched)
    return verdict


def read_maildir(path: Path) -> list[bytes]:
    """Returns the messages in new/ and cur/; none where there is no Maildir."""
    return [file.read_bytes() for box in ("new", "cur") if (path / box).is_dir() for file in (path / box).iterdir()]


def read_mbox(path: Path) -> list[bytes]:
    """Returns the messages of an mbox in mboxrd quoting; none where there is no file.

    A message begins with a ``From `` line at the file's start or after a blank line, and a blank line ends it.
    """
    octets = path.read_bytes() if path.exists() else b""
    if not octets:
        return []
    first, *others = re.split(rb"(?:\A|(?<=\n\n))From [^\n]*\n", octets)
    torn = [first] if first.strip(b"\n") else []
    return torn + [_QUOTED.sub(rb"\1", other.removesuffix(b"\n")) for other in others]


def _check_messages(verdict: Verdict, user: str, messages: Iterable[bytes]) -> None:
    whole: Counter[bytes] = Counter()
    expected = {letter.token: letter.octets for letter in letters(user)}
    for octets in messages:
        match = _TOKEN.search(octets)
        token = match[1] if match else b""
        if expected.get(token) == octets:
            whole[token] += 1
        else:
            verdict.spoiled += 1
            verdict.problems.append(f"spoiled: {token!r}, {len(octets)} octets, begins with {octets[:60]!r}")
    for token in expected:
        if not whole[token]:
            verdict.lost += 1
            verdict.problems.append(f"lost: {token!r}")
        elif whole[token] > 1:
            verdict.doubled += 1
            verdict.problems.append(f"{whole[token]} times: {token!r}")


def _check_leftovers(verdict: Verdict, places: Places) -> None:
    staged = [path.name for path in places.staging.rglob("*") if not (path.is_dir() or path.suffix == ".lock")]
    if staged:
        verdict.problems.append(f"left in staging: {staged}")
    # A run that ends while it builds a new Maildir leaves empty directories; those hold no mail, ever.
    built = [path for path in places.target.parent.glob(f"{places.target.name}.fetchd-*") if any_file(path)]
    locks = list(places.target.parent.glob(f"{places.target.name}.lock*"))
    if built or locks:
        verdict.problems.append(f"left beside the target: {[path.name for path in built + locks]}")


def any_file(directory: Path) -> bool:
    """Returns whether there is a file anywhere in a directory."""
    return any(not path.is_dir() for path in directory.rglob("*"))


def _check_store(verdict: Verdict, store: Path) -> None:
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as db:
        try:
            found = db.execute("PRAGMA quick_check").fetchall()
            waiting = db.execute("SELECT count(*) FROM outbox").fetchone()[0]
        except sqlite3.Error as error:
            verdict.problems.append(f"the store: {error}")
            return
    if found != [("ok",)]:
        verdict.problems.append(f"the store: {found}")
    if waiting:
        verdict.problems.append(f"the store: {waiting} messages wait to be published")


def _check_server(verdict: Verdict, user: str, record: Record, *, keep: bool, most_refetched: int) -> None:
    verdict.refetched = sum(times - 1 for times in record.retrieved.values())
    if verdict.refetched > most_refetched:
        verdict.problems.append(f"{verdict.refetched} messages were fetched again: {dict(record.retrieved)}")
    wanted = tuple(letter.uid for letter in letters(user)) if keep else ()
    if record.left != wanted:
        verdict.problems.append(f"left on the server: {record.left}, and not {wanted}")
    if record.pipelined:
        verdict.problems.append(f"pipelined to a server that cannot: {record.pipelined}")
