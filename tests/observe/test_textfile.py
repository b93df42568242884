"""fetchd.observe.textfile: what one run counted is added to what the file says of the runs before."""

import stat
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fetchd import events
from fetchd.errors import FetchdError
from fetchd.model import Outcome, PollResult
from fetchd.observe.metrics import Metrics
from fetchd.observe.textfile import added_up, write_textfile
from tests.clocks import FakeClock
from tests.observe.test_metrics import WALL, full_life, samples


class Text:
    """Stands for metrics that were rendered, so that ``samples`` can read them."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render(self) -> bytes:
        return self._text.encode()


def one_run(*accounts: str, polled: str = "alice", **more: bool) -> str:
    metrics = Metrics(version="1.2.3", clock=FakeClock(WALL), **more)
    metrics.known_accounts(dict.fromkeys(accounts, 300.0), last_success={"alice": WALL - 10})
    full_life(metrics, polled)
    return metrics.render().decode()


def test_counters_and_histograms_go_on_where_they_were() -> None:
    text = one_run("alice", "bob")
    once, thrice = samples(Text(text)), samples(Text(added_up(added_up(added_up("", text), text), text)))
    assert thrice.keys() == once.keys()
    for key, value in once.items():
        is_counted = key[0].endswith(("_total", "_bucket", "_count", "_sum"))
        assert thrice[key] == pytest.approx(3 * value if is_counted else value), key


def test_what_is_written_reads_as_what_was_counted() -> None:
    """Families, types and helps are those of the metrics themselves."""
    text = one_run("alice", "bob")
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in added_up(text, text).splitlines() if line.startswith("#")] == heads
    assert samples(Text(added_up("", text))) == samples(Text(text))


def test_outcomes_of_earlier_runs_stay() -> None:
    metrics = Metrics(version="1.2.3", clock=FakeClock(WALL))
    metrics.known_accounts({"alice": 300.0})
    metrics(events.PollFailed("alice", Outcome.NETWORK, "x", "soon", PollResult("alice"), 1.0))
    both = samples(Text(added_up(metrics.render().decode(), one_run("alice"))))
    assert both["fetchd_polls_total", "alice", "network"] == 1
    assert both["fetchd_polls_total", "alice", "ok"] == 1
    assert both["fetchd_account_up", "alice"] == 1


def test_an_account_that_was_not_polled_this_time_keeps_its_state() -> None:
    """``-a``. Its last success is the store's to tell; its next poll nobody knows."""
    found = samples(Text(added_up(one_run("alice", "bob", polled="alice"), one_run("alice", "bob", polled="bob"))))
    assert found["fetchd_account_up", "alice"] == found["fetchd_account_up", "bob"] == 1
    assert found["fetchd_maildrop_messages", "alice"] == 7
    assert found["fetchd_last_success_timestamp_seconds", "alice"] == WALL - 10
    assert ("fetchd_next_poll_timestamp_seconds", "alice") not in found


def test_an_account_that_is_not_configured_any_more_goes() -> None:
    found = samples(Text(added_up(one_run("alice", "gone", polled="gone"), one_run("alice"))))
    assert not any("gone" in key for key in found)


def test_sums_over_all_accounts_go_on_too() -> None:
    text = one_run("alice", per_account=False)
    found = samples(Text(added_up(text, text)))
    assert found["fetchd_messages_delivered_total",] == 4
    assert found["fetchd_accounts", "up"] == 1


@pytest.mark.parametrize("former", ["", "this is no metrics {", "\x00\x01", "fetchd_polls_total{a=} x\n"])
def test_what_is_no_metrics_counts_for_nothing(former: str) -> None:
    text = one_run("alice")
    assert samples(Text(added_up(former, text))) == samples(Text(text))


def test_a_hostile_name_survives_the_round_trip() -> None:
    """FAULTS 114."""
    name = 'a"b\\n\nc'
    text = one_run(name, polled=name)
    assert samples(Text(added_up(text, text)))["fetchd_messages_delivered_total", name] == 4


def test_the_file_is_replaced_as_a_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.prom"
    path.write_text("old")
    with path.open() as reader:
        write_textfile(path, one_run("alice"))
        assert reader.read() == "old", "who reads it now gets the old one to its end"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["fetchd.prom"]
    assert list(text_string_to_metric_families(path.read_text()))


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(FetchdError, match=r"^--textfile .*/missing/x\.prom: cannot be written: No such file"):
        write_textfile(tmp_path / "missing" / "x.prom", one_run("alice"))
    (tmp_path / "x.prom").mkdir()
    with pytest.raises(FetchdError, match="cannot be written: Is a directory"):
        write_textfile(tmp_path / "x.prom", one_run("alice"))
    assert [one.name for one in tmp_path.iterdir()] == ["x.prom"], "nothing half-written is left"
