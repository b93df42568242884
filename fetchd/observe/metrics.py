"""Events as Prometheus metrics: DESIGN §5's list, and each account's interval, which says how long is too long.

Imported by ``app.py`` only where somebody wants them: ``http:`` is set, or ``--textfile`` is given.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fetchd import events
from fetchd.model import Outcome, PollResult, SkipReason
from fetchd.observe.exposition import Labels, family, label
from fetchd.ports import Clock

_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds in seconds: an idle poll next door takes 0.05, a session may take an hour."""


@dataclass(slots=True)
class _Counts:
    """What is counted, of one account or of all together.

    Failures and skips get their series as they happen: thirteen outcomes for each of ten thousand accounts are many.
    """

    polls: dict[Outcome, int] = field(default_factory=lambda: {Outcome.OK: 0})
    skipped: dict[SkipReason, int] = field(default_factory=dict)
    delivered: int = 0
    octets: int = 0
    deleted: int = 0


@dataclass(slots=True)
class _Series:
    """One account's numbers; None is what is not known yet and has no sample."""

    counts: _Counts
    interval: float | None = None
    up: int | None = None
    last_success: float | None = None
    next_poll: float | None = None
    maildrop_messages: int | None = None
    maildrop_octets: int | None = None
    login_expires: float | None = None


_EXPIRY: Final = "fetchd_oauth_token_expiry_timestamp_seconds"
_COUNTERS: Final = (
    ("fetchd_messages_delivered_total", "Messages published in the account's target.", "delivered"),
    ("fetchd_bytes_delivered_total", "Octets of these messages, as on disk.", "octets"),
    ("fetchd_messages_deleted_total", "Messages whose deletion the server confirmed.", "deleted"),
)
_GAUGES: Final = (
    ("fetchd_account_up", "Whether the account's last poll ended well (1) or not (0).", "up"),
    ("fetchd_last_success_timestamp_seconds", "When a poll last ended well, Unix time.", "last_success"),
    ("fetchd_next_poll_timestamp_seconds", "When the account is polled next, Unix time.", "next_poll"),
    ("fetchd_maildrop_messages", "Messages on the server when it was last listed.", "maildrop_messages"),
    ("fetchd_maildrop_bytes", "Octets on the server when it was last listed, as it claims.", "maildrop_octets"),
    ("fetchd_account_interval_seconds", "The interval of polls that end well, as configured.", "interval"),
    (
        _EXPIRY,
        "When somebody has to run fetchd login again, Unix time; past where it has come to that.",
        "login_expires",
    ),
)


class Metrics(Collector):
    """Counts events, and renders the counts in Prometheus' text format. Safe for many threads.

    Only known accounts have series: an event of an account that a reload removed meanwhile does not bring it back.
    The numbers are ours, and the library is asked only at a scrape: counting costs the poll next to nothing, a removed
    account goes in one step, and there are no ``_created`` series.
    """

    content_type: Final = "text/plain; version=0.0.4; charset=utf-8"
    """Of what :meth:`render` returns."""

    def __init__(self, *, version: str, clock: Clock, per_account: bool = True) -> None:
        """Starts with no account and no poll.

        Args:
            version: of fetchd, for ``fetchd_build_info``.
            clock: its wall time is ``fetchd_last_success_timestamp_seconds``.
            per_account: whether each account has its series; else there are sums, for very many accounts.
        """
        self._version = version
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str, _Series] = {}
        self._shared = None if per_account else _Counts()
        """What all accounts count into, so that a sum never shrinks when an account goes."""
        self._in_session: set[str] = set()
        self._durations = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0
        self._on: dict[type[events.Event], Callable[[Any], None]] = {
            events.PollStarted: self._poll_started,
            events.MessageDelivered: self._message_delivered,
            events.Recovered: self._recovered,
            events.MessagesDeleted: self._messages_deleted,
            events.PollDone: self._poll_done,
            events.PollFailed: self._poll_failed,
            events.InternalError: self._internal_error,
            events.PollScheduled: self._poll_scheduled,
            events.LoginExpires: self._login_expires,
            events.Reloaded: self._reloaded,
        }
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def known_accounts(
        self, intervals: Mapping[str, float], *, last_success: Mapping[str, float | None] | None = None
    ) -> None:
        """Sets which accounts there are: counters of new ones start at 0, those of others go.

        Args:
            intervals: all configured accounts, each with its seconds from poll to poll.
            last_success: Unix seconds from the store, so that a restart does not forget when mail last came.
        """
        before = last_success or {}
        known = {name: _Series(self._counts(), last_success=before.get(name)) for name in intervals}
        with self._lock:
            for name in known.keys() & self._accounts.keys():
                known[name] = self._accounts[name]
                if known[name].last_success is None:  # it was renamed, and the store had it under its old name
                    known[name].last_success = before.get(name)
            for name, seconds in intervals.items():
                known[name].interval = seconds
            self._accounts = known

    def __call__(self, event: events.Event) -> None:
        """Counts an event; those that count for nothing return at once."""
        count = self._on.get(type(event))
        if count is not None:
            with self._lock:
                count(event)

    def render(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return "".join(self._families()).encode() + generate_latest(self._registry)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _poll_started(self, event: events.PollStarted) -> None:
        self._in_session.add(event.account)

    def _message_delivered(self, event: events.MessageDelivered) -> None:
        if series := self._accounts.get(event.account):
            series.counts.delivered += 1
            series.counts.octets += event.octets

    def _recovered(self, event: events.Recovered) -> None:
        # Of those adopted, each is a MessageDelivered. The octets of those finished nobody tells.
        if series := self._accounts.get(event.account):
            series.counts.delivered += event.finished

    def _messages_deleted(self, event: events.MessagesDeleted) -> None:
        if series := self._accounts.get(event.account):
            series.counts.deleted += event.count

    def _poll_done(self, event: events.PollDone) -> None:
        self._poll_ended(event.account, Outcome.OK, event.result, took=event.took)
        if series := self._accounts.get(event.account):
            series.last_success = self._clock.wall()

    def _poll_failed(self, event: events.PollFailed) -> None:
        self._poll_ended(event.account, event.outcome, event.result, took=event.took)

    def _internal_error(self, event: events.InternalError) -> None:
        self._poll_ended(event.account, Outcome.INTERNAL, PollResult(event.account), took=None)

    def _poll_ended(self, account: str, outcome: Outcome, result: PollResult, *, took: float | None) -> None:
        self._in_session.discard(account)
        if took is not None:
            self._durations[bisect_left(_BUCKETS, took)] += 1
            self._seconds += took
        series = self._accounts.get(account)
        if series is None:
            return
        counts = series.counts
        counts.polls[outcome] = counts.polls.get(outcome, 0) + 1
        for reason, number in result.skipped.items():
            counts.skipped[reason] = counts.skipped.get(reason, 0) + number
        if outcome is not Outcome.INTERRUPTED:  # we stopped it ourselves: that says nothing about the account
            series.up = int(outcome is Outcome.OK)
        if result.maildrop_messages is not None:
            series.maildrop_messages = result.maildrop_messages
        if result.maildrop_octets is not None:
            series.maildrop_octets = result.maildrop_octets

    def _poll_scheduled(self, event: events.PollScheduled) -> None:
        if series := self._accounts.get(event.account):
            series.next_poll = event.at

    def _login_expires(self, event: events.LoginExpires) -> None:
        if series := self._accounts.get(event.account):
            series.login_expires = event.at

    def _reloaded(self, event: events.Reloaded) -> None:
        for name in event.removed:
            self._accounts.pop(name, None)
        for name in event.added:
            self._accounts.setdefault(name, _Series(self._counts()))

    def _counts(self) -> _Counts:
        return self._shared or _Counts()

    # ── scrapes ──────────────────────────────────────────────────────────────────────────────────────────────────

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics that are not an account's, for the library to write."""
        with self._lock:
            durations, seconds, sessions = list(self._durations), self._seconds, len(self._in_session)
        yield _histogram(durations, seconds)
        yield GaugeMetricFamily("fetchd_sessions_active", "Polls in progress.", value=sessions)
        info = GaugeMetricFamily("fetchd_build_info", "Always 1; the label tells the version.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info

    def _families(self) -> Iterator[str]:
        """Yields the text of the families of accounts. The lock is held for copying only, lest a poll waits."""
        with self._lock:
            accounts = [(label("account", name), series) for name, series in self._accounts.items()]
            shared = self._shared
            counted = [("", shared)] if shared else [(labels, series.counts) for labels, series in accounts]
            polls = [_both(at, "outcome", key, n) for at, counts in counted for key, n in counts.polls.items()]
            skipped = [_both(at, "reason", key, n) for at, counts in counted for key, n in counts.skipped.items()]
        yield family("fetchd_polls_total", "counter", "Polls that ended, by outcome.", polls)
        yield family(
            "fetchd_messages_skipped_total",
            "counter",
            "Messages left on the server, counted again at every poll that leaves them.",
            skipped,
        )
        for name, text, attribute in _COUNTERS:
            yield family(name, "counter", text, ((at, getattr(counts, attribute)) for at, counts in counted))
        if shared:
            yield from _sums([series for _, series in accounts])
            return
        for name, text, attribute in _GAUGES:
            yield family(name, "gauge", text, ((at, getattr(series, attribute)) for at, series in accounts))


def _both(account: Labels, name: str, value: str, number: int) -> tuple[Labels, int]:
    other = label(name, value)
    return (f"{account},{other}" if account else other), number


def _sums(accounts: Iterable[_Series]) -> Iterator[str]:
    """Yields what there is to say of all accounts together, in place of each one's gauges."""
    up, down, unknown, messages, octets = 0, 0, 0, 0, 0
    oldest: float | None = None
    for series in accounts:
        up, down, unknown = up + (series.up == 1), down + (series.up == 0), unknown + (series.up is None)
        messages += series.maildrop_messages or 0
        octets += series.maildrop_octets or 0
        if series.last_success is not None:
            oldest = series.last_success if oldest is None else min(oldest, series.last_success)
    states = [(label("state", "up"), up), (label("state", "down"), down), (label("state", "unknown"), unknown)]
    yield family("fetchd_accounts", "gauge", "Accounts, by how their last poll ended.", states)
    text = "The oldest of the accounts' last successes, Unix time."
    yield family("fetchd_oldest_success_timestamp_seconds", "gauge", text, [("", oldest)])
    ends = [series.login_expires for series in accounts if series.login_expires is not None]
    yield family(
        _EXPIRY, "gauge", "When the first fetchd login has to be run again, Unix time.", [("", min(ends, default=None))]
    )
    yield family("fetchd_maildrop_messages", "gauge", "Messages on the servers when last listed.", [("", messages)])
    text = "Octets on the servers when last listed, as they claim."
    yield family("fetchd_maildrop_bytes", "gauge", text, [("", octets)])


def _histogram(durations: Iterable[int], seconds: float) -> Metric:
    bounds = [*map(str, _BUCKETS), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations), strict=True))
    name, text = "fetchd_poll_duration_seconds", "How long polls took, those that failed too."
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=seconds)
