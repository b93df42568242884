"""fetchd.observe.status: the JSON of /status is a contract (docs/status-page.md)."""

import json
import re
from pathlib import Path

import pytest

from fetchd.observe.status import Source, State, from_json, in_order, to_json
from tests.observe.statuses import NOW, failing, make_status, make_status_of

KEYS = {"version", "source", "now", "started", "well", "summary", "counts", "accounts"}
COUNTS = {"accounts", "ok", "failing", "held", "new", "polling", "delivered_today", "delivered", "octets"}
ACCOUNT = {
    *("name", "state", "polling", "last_success", "last_failure", "failing_since", "next_poll", "failures"),
    *("outcome", "error", "reason", "delivered_today", "delivered", "octets", "hours"),
}

STATUS = make_status(
    make_status_of("alice", delivered_today=3, delivered=10, octets=500, polling=True, hours=tuple(range(24))),
    failing("bob", delivered_today=1),
    failing("carol", state=State.HELD),
    make_status_of("dave", state=State.NEW, last_success=None),
)


def test_the_keys_are_stable() -> None:
    document = json.loads(to_json(STATUS))
    assert set(document) == KEYS
    assert set(document["counts"]) == COUNTS
    assert all(set(account) == ACCOUNT for account in document["accounts"])


def test_every_key_is_documented() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", (Path(__file__).parents[2] / "docs/status-page.md").read_text()))
    assert documented >= KEYS | COUNTS | ACCOUNT


def test_times_are_whole_unix_seconds_and_counts_are_sums() -> None:
    document = json.loads(to_json(STATUS))
    assert (document["now"], document["started"], document["well"]) == (int(NOW), int(NOW) - 86_400, False)
    assert document["counts"] == {
        "accounts": 4,
        "ok": 1,
        "failing": 1,
        "held": 1,
        "new": 1,
        "polling": 1,
        "delivered_today": 4,
        "delivered": 10,
        "octets": 500,
    }


def test_those_on_hold_come_first_then_those_that_fail_then_the_others_by_name() -> None:
    accounts = [make_status_of("B"), make_status_of("a"), failing("z"), failing("y", state=State.HELD)]
    assert [one.name for one in in_order(accounts)] == ["y", "z", "a", "B"]


def test_what_is_written_is_read_again() -> None:
    assert from_json(to_json(STATUS)) == STATUS
    stored = make_status(make_status_of(next_poll=None), source=Source.STORE, started=None)
    assert from_json(to_json(stored)) == stored


def test_a_key_of_a_newer_fetchd_is_passed_over() -> None:
    document = json.loads(to_json(STATUS))
    document["accounts"][0]["mood"] = document["weather"] = "fine"
    assert from_json(json.dumps(document).encode()) == STATUS


@pytest.mark.parametrize("octets", [b"", b"{}", b"[]", b"null", b"<html>", b'{"accounts": [{}]}', b"\xff"])
def test_what_is_no_status_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_json(octets)


def test_a_name_that_is_no_unicode_does_not_break_the_document() -> None:
    assert b"a\\\\udcffb" in to_json(make_status(make_status_of("a\udcffb"))).replace(b"\\", b"\\\\")
