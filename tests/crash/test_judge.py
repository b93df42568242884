"""The judge sees what is wrong; one that did not would call any fetchd right."""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.judge import Kind, Places, judge, read_mbox
from tests.crash.letters import letters, user_name
from tests.crash.server import Record

USER = user_name("judged", 3)
UIDS = tuple(letter.uid for letter in letters(USER))
GOOD = Record(UIDS, Counter(UIDS), logins=1, gone=0, pipelined=())


def delivered(root: Path, kind: Kind, octets: list[bytes]) -> Places:
    """Returns places that hold these messages and nothing that is wrong."""
    places = Places(kind, root / "target", root / "fetchd.db")
    with closing(sqlite3.connect(places.store)) as db:
        db.execute("CREATE TABLE outbox (name)")
    if kind == "mbox":
        box = b"".join(b"From x\n" + re.sub(rb"(?m)^(>*From )", rb">\1", text) + b"\n" for text in octets)
        places.target.write_bytes(box)
        return places
    for name in ("new", "cur", "tmp"):
        (places.target / name).mkdir(parents=True)
    for number, text in enumerate(octets):
        (places.target / ("new", "cur")[number % 2] / str(number)).write_bytes(text)
    return places


def whole() -> list[bytes]:
    return [letter.octets for letter in letters(USER)]


def test_all_is_well_in_a_maildir(tmp_path: Path) -> None:
    verdict = judge(USER, delivered(tmp_path, "maildir", whole()), GOOD, keep=True, most_refetched=0)
    assert verdict.problems == []


def test_an_mbox_is_read_back_without_its_quoting(tmp_path: Path) -> None:
    """The first letter has lines that begin with From, and quoted ones."""
    texts = [b"a\n\nFrom b\n", b"\n\n>From c\n\n"]
    quoted = b"From x\na\n\n>From b\n\nFrom x\n\n\n>>From c\n\n\n"
    (tmp_path / "mbox").write_bytes(quoted)
    assert read_mbox(tmp_path / "mbox") == texts


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda texts: texts[1:], (1, 0, 0)),
        (lambda texts: [*texts, texts[0]], (0, 1, 0)),
        (lambda texts: [texts[0].removesuffix(b"the end\n"), *texts[1:]], (1, 0, 1)),
        (lambda texts: [*texts, b"whatever\n"], (0, 0, 1)),
        (lambda texts: [*texts, b""], (0, 0, 1)),
    ],
    ids=["lost", "twice", "torn", "foreign", "empty"],
)
@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_messages_that_are_not_as_they_were(
    tmp_path: Path, kind: Kind, change: Callable[[list[bytes]], list[bytes]], expected: tuple[int, int, int]
) -> None:
    verdict = judge(USER, delivered(tmp_path, kind, change(whole())), GOOD, keep=True, most_refetched=0)
    assert (verdict.lost, verdict.doubled, verdict.spoiled) == expected
    assert verdict.problems


def test_what_a_reader_took_counts(tmp_path: Path) -> None:
    places = delivered(tmp_path, "maildir", whole()[1:])
    assert judge(USER, places, GOOD, keep=True, most_refetched=0, taken=whole()[:1]).problems == []
    assert judge(USER, places, GOOD, keep=True, most_refetched=0, taken=whole()[:2]).doubled == 1


@pytest.mark.parametrize(
    "record",
    [
        Record(UIDS[1:], Counter(UIDS), logins=1, gone=0, pipelined=()),
        Record(UIDS, Counter({**Counter(UIDS), UIDS[0]: 2}), logins=1, gone=0, pipelined=()),
        Record(UIDS, Counter(UIDS), logins=1, gone=0, pipelined=("x",)),
    ],
    ids=["deleted", "fetched again", "pipelined"],
)
def test_a_server_that_is_not_as_it_should_be(tmp_path: Path, record: Record) -> None:
    verdict = judge(USER, delivered(tmp_path, "maildir", whole()), record, keep=True, most_refetched=0)
    assert len(verdict.problems) == 1


def test_mail_that_should_have_been_deleted(tmp_path: Path) -> None:
    assert judge(USER, delivered(tmp_path, "maildir", whole()), GOOD, keep=False, most_refetched=0).problems


def test_leftovers(tmp_path: Path) -> None:
    places = delivered(tmp_path, "maildir", whole())
    (places.target / "tmp" / "left").write_bytes(b"")
    (tmp_path / "target.lock").write_bytes(b"")
    with closing(sqlite3.connect(places.store)) as db:
        db.execute("INSERT INTO outbox VALUES ('waits')")
        db.commit()
    assert len(judge(USER, places, GOOD, keep=True, most_refetched=0).problems) == 3


def test_a_store_that_is_damaged(tmp_path: Path) -> None:
    places = delivered(tmp_path, "maildir", whole())
    places.store.write_bytes(b"not a database, for sure" * 100)
    assert judge(USER, places, GOOD, keep=True, most_refetched=0).problems
