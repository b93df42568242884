"""fetchd.observe.metrics: what a scrape tells, parsed by Prometheus' own parser."""

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fetchd import events
from fetchd.model import Outcome, PollResult, SkipReason, UniqueId
from fetchd.observe.metrics import Metrics
from tests.clocks import FakeClock

WALL = 1_795_433_000.0

DESIGN = {
    "fetchd_polls_total": ("counter", {"account", "outcome"}),
    "fetchd_messages_delivered_total": ("counter", {"account"}),
    "fetchd_bytes_delivered_total": ("counter", {"account"}),
    "fetchd_messages_deleted_total": ("counter", {"account"}),
    "fetchd_messages_skipped_total": ("counter", {"account", "reason"}),
    "fetchd_account_up": ("gauge", {"account"}),
    "fetchd_last_success_timestamp_seconds": ("gauge", {"account"}),
    "fetchd_next_poll_timestamp_seconds": ("gauge", {"account"}),
    "fetchd_maildrop_messages": ("gauge", {"account"}),
    "fetchd_maildrop_bytes": ("gauge", {"account"}),
    "fetchd_poll_duration_seconds_bucket": ("histogram", {"le"}),
    "fetchd_poll_duration_seconds_count": ("histogram", set()),
    "fetchd_poll_duration_seconds_sum": ("histogram", set()),
    "fetchd_sessions_active": ("gauge", set()),
    "fetchd_build_info": ("gauge", {"version"}),
}
"""DESIGN §5, Metrics: sample → type and labels."""
OURS = {
    "fetchd_account_interval_seconds": ("gauge", {"account"}),
    "fetchd_oauth_token_expiry_timestamp_seconds": ("gauge", {"account"}),
}
"""What the alert rules need beyond that: three intervals without a success are too long, and logins end."""


def make(*accounts: str) -> Metrics:
    metrics = Metrics(version="1.2.3", clock=FakeClock(WALL))
    metrics.known_accounts(dict.fromkeys(accounts, 300.0))
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Returns (sample, label values …) → value; a duplicate would be an error to Prometheus."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            key = (sample.name, *sample.labels.values())
            assert key not in found
            found[key] = sample.value
    return found


def full_life(metrics: Metrics, account: str) -> None:
    """A poll that does everything."""
    metrics(events.PollStarted(account))
    metrics(events.MessageDelivered(account, UniqueId(b"1"), 1000, "f1"))
    metrics(events.MessageDelivered(account, None, 234, "f2"))
    metrics(events.MessagesDeleted(account, 2))
    result = PollResult(account, 2, 1234, 2, {SkipReason.TOO_LARGE: 3}, maildrop_messages=7, maildrop_octets=9999)
    metrics(events.PollDone(account, result, 0.3))
    metrics(events.PollScheduled(account, at=WALL + 300.5, delay=300.5, failures=0))
    metrics(events.LoginExpires(account, WALL + 90.0))


def test_names_types_and_labels_are_those_of_the_design() -> None:
    metrics = make("alice")
    full_life(metrics, "alice")
    text = metrics.render().decode()
    seen = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            seen[sample.name] = (family.type, set(sample.labels))
    assert seen == DESIGN | OURS
    helped = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert len(helped) == len(set(helped))


def test_a_poll_is_counted() -> None:
    metrics = make("alice")
    full_life(metrics, "alice")
    found = samples(metrics)
    expected = {
        ("fetchd_polls_total", "alice", "ok"): 1,
        ("fetchd_messages_delivered_total", "alice"): 2,
        ("fetchd_bytes_delivered_total", "alice"): 1234,
        ("fetchd_messages_deleted_total", "alice"): 2,
        ("fetchd_messages_skipped_total", "alice", "too_large"): 3,
        ("fetchd_account_up", "alice"): 1,
        ("fetchd_last_success_timestamp_seconds", "alice"): WALL,
        ("fetchd_next_poll_timestamp_seconds", "alice"): WALL + 300.5,
        ("fetchd_maildrop_messages", "alice"): 7,
        ("fetchd_maildrop_bytes", "alice"): 9999,
        ("fetchd_account_interval_seconds", "alice"): 300,
        ("fetchd_oauth_token_expiry_timestamp_seconds", "alice"): WALL + 90.0,
        ("fetchd_poll_duration_seconds_count",): 1,
        ("fetchd_poll_duration_seconds_sum",): 0.3,
        ("fetchd_sessions_active",): 0,
        ("fetchd_build_info", "1.2.3"): 1,
    }
    assert {key: value for key, value in found.items() if "bucket" not in key[0]} == expected


def test_messages_that_an_earlier_run_committed_are_delivered_when_this_one_publishes_them() -> None:
    """Each message counts once: those adopted are said one by one, those discarded are fetched again."""
    metrics = make("alice")
    metrics(events.Recovered("alice", finished=3))
    metrics(events.MessageDelivered("alice", None, 234, "f1"))
    metrics(events.Recovered("alice", adopted=1, discarded=5))
    metrics(events.Recovered("removed", finished=2))
    found = samples(metrics)
    assert found["fetchd_messages_delivered_total", "alice"] == 4
    assert found["fetchd_bytes_delivered_total", "alice"] == 234
    assert not any("removed" in key for key in found)


def test_counters_start_at_zero_and_gauges_when_there_is_something_to_tell() -> None:
    found = samples(make("alice"))
    assert {key: value for key, value in found.items() if "alice" in key} == {
        ("fetchd_polls_total", "alice", "ok"): 0,
        ("fetchd_messages_delivered_total", "alice"): 0,
        ("fetchd_bytes_delivered_total", "alice"): 0,
        ("fetchd_messages_deleted_total", "alice"): 0,
        ("fetchd_account_interval_seconds", "alice"): 300,
    }


def test_the_last_success_survives_a_restart() -> None:
    metrics = make()
    metrics.known_accounts({"alice": 300.0, "bob": 60.0}, last_success={"alice": 1234, "bob": None, "gone": 5})
    found = samples(metrics)
    assert found["fetchd_last_success_timestamp_seconds", "alice"] == 1234
    assert ("fetchd_last_success_timestamp_seconds", "bob") not in found
    assert not any("gone" in key for key in found)


def test_the_last_success_of_an_account_that_is_known_already_is_learnt_later() -> None:
    """The store has a renamed account under its old name until it is told of the new one."""
    metrics = make("alice")
    metrics.known_accounts({"alice": 300.0}, last_success={"alice": 1234})
    assert samples(metrics)["fetchd_last_success_timestamp_seconds", "alice"] == 1234


def test_a_failure_is_counted_by_outcome_and_takes_the_account_down() -> None:
    metrics = make("alice")
    full_life(metrics, "alice")
    metrics(events.PollStarted("alice"))
    metrics(events.PollFailed("alice", Outcome.NETWORK, "x", "soon", PollResult("alice"), 20.0))
    found = samples(metrics)
    assert found["fetchd_polls_total", "alice", "network"] == 1
    assert found["fetchd_polls_total", "alice", "ok"] == 1
    assert found["fetchd_account_up", "alice"] == 0
    assert found["fetchd_last_success_timestamp_seconds", "alice"] == WALL
    assert found["fetchd_maildrop_messages", "alice"] == 7, "a poll that never listed tells nothing new"
    assert found["fetchd_maildrop_bytes", "alice"] == 9999
    assert found["fetchd_sessions_active",] == 0


def test_a_failed_poll_counts_what_it_left_and_what_it_listed() -> None:
    metrics = make("alice")
    result = PollResult("alice", skipped={SkipReason.REFUSED: 1}, maildrop_messages=3, maildrop_octets=30)
    metrics(events.PollFailed("alice", Outcome.DELIVERY, "disk full", "soon", result, 1.0))
    found = samples(metrics)
    assert found["fetchd_messages_skipped_total", "alice", "refused"] == 1
    assert found["fetchd_maildrop_messages", "alice"] == 3
    assert found["fetchd_maildrop_bytes", "alice"] == 30


def test_a_bug_is_the_outcome_internal() -> None:
    metrics = make("alice")
    metrics(events.PollStarted("alice"))
    assert samples(metrics)["fetchd_sessions_active",] == 1
    metrics(events.InternalError("alice", "KeyError: 1", "…"))
    found = samples(metrics)
    assert found["fetchd_polls_total", "alice", "internal"] == 1
    assert found["fetchd_account_up", "alice"] == 0
    assert found["fetchd_sessions_active",] == 0


def test_an_interrupted_poll_says_nothing_about_the_account() -> None:
    metrics = make("alice")
    interrupted = events.PollFailed("alice", Outcome.INTERRUPTED, "stop", "soon", PollResult("alice"), 1.0)
    metrics(interrupted)
    assert ("fetchd_account_up", "alice") not in samples(metrics)
    full_life(metrics, "alice")
    metrics(interrupted)
    found = samples(metrics)
    assert found["fetchd_account_up", "alice"] == 1
    assert found["fetchd_polls_total", "alice", "interrupted"] == 2


def test_sessions_are_counted_while_they_last() -> None:
    metrics = make("a", "b")
    metrics(events.PollStarted("a"))
    metrics(events.PollStarted("b"))
    assert samples(metrics)["fetchd_sessions_active",] == 2
    metrics(events.PollDone("a", PollResult("a"), 0.1))
    assert samples(metrics)["fetchd_sessions_active",] == 1


def test_durations_fall_into_their_buckets() -> None:
    """A bucket counts what is less than or equal to its bound; they are cumulative."""
    metrics = make("alice")
    for took in (0.1, 0.11, 3600.0, 9999.0):
        metrics(events.PollDone("alice", PollResult("alice"), took))
    found = samples(metrics)
    buckets = {key[1]: value for key, value in found.items() if key[0] == "fetchd_poll_duration_seconds_bucket"}
    assert (buckets["0.1"], buckets["0.25"], buckets["1800.0"], buckets["3600.0"]) == (1, 2, 2, 3)
    assert buckets["+Inf"] == found["fetchd_poll_duration_seconds_count",] == 4
    assert list(buckets.values()) == sorted(buckets.values())


def test_the_series_of_a_removed_account_go_and_do_not_come_back() -> None:
    metrics = make("kept", "removed")
    for name in ("kept", "removed"):
        full_life(metrics, name)
    metrics(events.PollStarted("removed"))
    metrics(events.Reloaded(2, added=("new",), removed=("removed",), changed=()))
    full_life(metrics, "removed")  # its session was still running at the reload
    metrics(events.PollFailed("removed", Outcome.TLS, "x", "later", PollResult("removed"), 1.0))
    found = samples(metrics)
    assert not any("removed" in key for key in found)
    assert found["fetchd_messages_delivered_total", "kept"] == 2
    assert found["fetchd_messages_delivered_total", "new"] == 0
    assert found["fetchd_sessions_active",] == 0
    assert found["fetchd_poll_duration_seconds_count",] == 4


def test_known_accounts_keeps_the_numbers_of_those_that_stay() -> None:
    metrics = make("kept", "removed")
    full_life(metrics, "kept")
    metrics.known_accounts({"kept": 60.0, "new": 300.0}, last_success={"kept": 1})
    found = samples(metrics)
    assert found["fetchd_account_interval_seconds", "kept"] == 60, "a reload may change it"
    assert found["fetchd_messages_delivered_total", "kept"] == 2
    assert found["fetchd_last_success_timestamp_seconds", "kept"] == WALL
    assert ("fetchd_messages_delivered_total", "new") in found
    assert not any("removed" in key for key in found)


@pytest.mark.parametrize(
    "name", ['a"b', "a\nb", "a\\b", "a\\nb", '"} 1\nfetchd_account_up{account="x', "Zoë", "{}", " "]
)
def test_a_hostile_name_is_a_label_value_and_nothing_else(name: str) -> None:
    """FAULTS 114."""
    metrics = make(name, "alice")
    full_life(metrics, name)
    found = samples(metrics)
    assert found["fetchd_messages_delivered_total", name] == 2
    assert {key[1] for key in found if key[0] == "fetchd_messages_delivered_total"} == {name, "alice"}


def test_a_name_that_utf_8_cannot_carry_does_not_end_every_scrape() -> None:
    metrics = make("bad\udce9", "alice")
    assert ("fetchd_messages_delivered_total", "bad\\udce9") in samples(metrics)


def test_there_is_no_series_of_the_library_s_own() -> None:
    """Neither ``_created`` nor the global registry's ``python_info`` or ``process_…``."""
    metrics = make("alice")
    full_life(metrics, "alice")
    assert {key[0] for key in samples(metrics)} == DESIGN.keys() | OURS.keys()


def test_nothing_is_lost_between_threads() -> None:
    metrics = make("alice")

    def work() -> None:
        for _ in range(500):
            metrics(events.MessageDelivered("alice", None, 2, "f"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        metrics.render()
    for thread in threads:
        thread.join()
    assert samples(metrics)["fetchd_messages_delivered_total", "alice"] == 4000
    assert samples(metrics)["fetchd_bytes_delivered_total", "alice"] == 8000


def test_events_are_counted_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An addition is three steps: today's CPython does not switch threads between them, which nothing promises."""
    metrics = make("alice")
    locked: list[bool] = []
    monkeypatch.setitem(metrics._on, events.PollStarted, lambda event: locked.append(metrics._lock.locked()))
    metrics(events.PollStarted("alice"))
    assert locked == [True]


def test_sums_take_the_place_of_series_where_there_are_very_many_accounts() -> None:
    """``metrics: {per_account: false}``: no sample has an account, whatever happens to any."""
    metrics = Metrics(version="1.2.3", clock=FakeClock(WALL), per_account=False)
    metrics.known_accounts(
        dict.fromkeys(("alice", "bob", "carol"), 300.0), last_success={"bob": WALL - 100, "alice": None}
    )
    full_life(metrics, "alice")
    metrics(events.PollStarted("carol"))
    metrics(events.PollFailed("carol", Outcome.NETWORK, "away", "soon", PollResult("carol", maildrop_messages=1), 1.0))
    found = samples(metrics)
    assert not any(name in key for key in found for name in ("alice", "bob", "carol"))
    assert found["fetchd_polls_total", "ok"] == found["fetchd_polls_total", "network"] == 1
    assert found["fetchd_messages_skipped_total", SkipReason.TOO_LARGE.value] == 3
    assert found["fetchd_messages_delivered_total",] == 2
    assert found["fetchd_bytes_delivered_total",] == 1234
    assert [found["fetchd_accounts", state] for state in ("up", "down", "unknown")] == [1, 1, 1]
    assert found["fetchd_oldest_success_timestamp_seconds",] == WALL - 100
    assert found["fetchd_maildrop_messages",] == 8
    assert found["fetchd_maildrop_bytes",] == 9999


def test_a_sum_never_shrinks_when_an_account_goes() -> None:
    """A counter that shrinks is a restart to Prometheus, and counts anew."""
    metrics = Metrics(version="1.2.3", clock=FakeClock(WALL), per_account=False)
    metrics.known_accounts({"alice": 300.0, "bob": 300.0})
    full_life(metrics, "alice")
    metrics(events.Reloaded(accounts=1, added=(), removed=("alice",), changed=()))
    found = samples(metrics)
    assert found["fetchd_messages_delivered_total",] == 2
    assert found["fetchd_accounts", "unknown"] == 1
    assert found["fetchd_accounts", "up"] == 0
    metrics.known_accounts({"bob": 300.0, "dora": 300.0})
    assert samples(metrics)["fetchd_messages_delivered_total",] == 2
