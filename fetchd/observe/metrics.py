"""Events as Prometheus metrics: DESIGN §5's list, no more. Imported by ``app.py`` only where ``http:`` is set."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fetchd import events
from fetchd.model import Outcome, PollResult, SkipReason
from fetchd.ports import Clock

_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds in seconds: an idle poll next door takes 0.05, a session may take an hour."""


@dataclass(slots=True)
class _Series:
    """One account's numbers; None is what is not known yet and has no sample.

    Failures and skips get their series as they happen: thirteen outcomes for each of ten thousand accounts are many.
    """

    polls: Counter[Outcome] = field(default_factory=lambda: Counter({Outcome.OK: 0}))
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    delivered: int = 0
    octets: int = 0
    deleted: int = 0
    up: int | None = None
    last_success: float | None = None
    next_poll: float | None = None
    maildrop_messages: int | None = None
    maildrop_octets: int | None = None


_COUNTERS: Final = (
    ("fetchd_messages_delivered", "Messages published in the account's target.", "delivered"),
    ("fetchd_bytes_delivered", "Octets of these messages, as on disk.", "octets"),
    ("fetchd_messages_deleted", "Messages whose deletion the server confirmed.", "deleted"),
)
_GAUGES: Final = (
    ("fetchd_account_up", "Whether the account's last poll ended well (1) or not (0).", "up"),
    ("fetchd_last_success_timestamp_seconds", "When a poll last ended well, Unix time.", "last_success"),
    ("fetchd_next_poll_timestamp_seconds", "When the account is polled next, Unix time.", "next_poll"),
    ("fetchd_maildrop_messages", "Messages on the server when it was last listed.", "maildrop_messages"),
    ("fetchd_maildrop_bytes", "Octets on the server when it was last listed, as it claims.", "maildrop_octets"),
)


class Metrics(Collector):
    """Counts events, and renders the counts in Prometheus' text format. Safe for many threads.

    Only known accounts have series: an event of an account that a reload removed meanwhile does not bring it back.
    The numbers are ours, and the library is asked only at a scrape: counting costs the poll next to nothing, a removed
    account goes in one step, and there are no ``_created`` series.
    """

    content_type: Final = "text/plain; version=0.0.4; charset=utf-8"
    """Of what :meth:`render` returns."""

    def __init__(self, *, version: str, clock: Clock) -> None:
        """Starts with no account and no poll.

        Args:
            version: of fetchd, for ``fetchd_build_info``.
            clock: its wall time is ``fetchd_last_success_timestamp_seconds``.
        """
        self._version = version
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str, _Series] = {}
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
            events.Reloaded: self._reloaded,
        }
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def known_accounts(self, names: Iterable[str], *, last_success: Mapping[str, float | None] | None = None) -> None:
        """Sets which accounts there are: counters of new ones start at 0, those of others go.

        After a reload this happens by itself, as :class:`~fetchd.events.Reloaded` names them.

        Args:
            names: all configured accounts.
            last_success: Unix seconds from the store, so that a restart does not forget when mail last came.
        """
        known = {name: _Series(last_success=(last_success or {}).get(name)) for name in names}
        with self._lock:
            for name in known.keys() & self._accounts.keys():
                known[name] = self._accounts[name]
            self._accounts = known

    def __call__(self, event: events.Event) -> None:
        """Counts an event; those that count for nothing return at once."""
        count = self._on.get(type(event))
        if count is not None:
            with self._lock:
                count(event)

    def render(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _poll_started(self, event: events.PollStarted) -> None:
        self._in_session.add(event.account)

    def _message_delivered(self, event: events.MessageDelivered) -> None:
        if series := self._accounts.get(event.account):
            series.delivered += 1
            series.octets += event.octets

    def _recovered(self, event: events.Recovered) -> None:
        # Of those adopted, each is a MessageDelivered. The octets of those finished nobody tells.
        if series := self._accounts.get(event.account):
            series.delivered += event.finished

    def _messages_deleted(self, event: events.MessagesDeleted) -> None:
        if series := self._accounts.get(event.account):
            series.deleted += event.count

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
        series.polls[outcome] += 1
        series.skipped.update(result.skipped)
        if outcome is not Outcome.INTERRUPTED:  # we stopped it ourselves: that says nothing about the account
            series.up = int(outcome is Outcome.OK)
        if result.maildrop_messages is not None:
            series.maildrop_messages = result.maildrop_messages
        if result.maildrop_octets is not None:
            series.maildrop_octets = result.maildrop_octets

    def _poll_scheduled(self, event: events.PollScheduled) -> None:
        if series := self._accounts.get(event.account):
            series.next_poll = event.at

    def _reloaded(self, event: events.Reloaded) -> None:
        for name in event.removed:
            self._accounts.pop(name, None)
        for name in event.added:
            self._accounts.setdefault(name, _Series())

    # ── scrapes ──────────────────────────────────────────────────────────────────────────────────────────────────

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics. The lock is held for copying only, so that no poll waits for a slow scrape."""
        with self._lock:
            accounts = [(_label(name), series) for name, series in self._accounts.items()]
            polls = [(name, outcome, n) for name, series in accounts for outcome, n in series.polls.items()]
            skipped = [(name, reason, n) for name, series in accounts for reason, n in series.skipped.items()]
            durations, seconds, sessions = list(self._durations), self._seconds, len(self._in_session)
        yield _by_account_and(
            "outcome", CounterMetricFamily, "fetchd_polls", text="Polls that ended, by outcome.", samples=polls
        )
        yield _by_account_and(
            "reason",
            CounterMetricFamily,
            "fetchd_messages_skipped",
            text="Messages left on the server, counted again at every poll that leaves them.",
            samples=skipped,
        )
        for name, text, attribute in _COUNTERS:
            yield _by_account(CounterMetricFamily(name, text, labels=["account"]), accounts, attribute)
        for name, text, attribute in _GAUGES:
            yield _by_account(GaugeMetricFamily(name, text, labels=["account"]), accounts, attribute)
        yield _histogram(durations, seconds)
        yield GaugeMetricFamily("fetchd_sessions_active", "Polls in progress.", value=sessions)
        info = GaugeMetricFamily("fetchd_build_info", "Always 1; the label tells the version.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info


_Family = CounterMetricFamily | GaugeMetricFamily


def _by_account(family: _Family, accounts: Iterable[tuple[str, _Series]], attribute: str) -> Metric:
    for name, series in accounts:
        value = getattr(series, attribute)
        if value is not None:
            family.add_metric([name], value)
    return family


def _by_account_and(
    label: str, kind: type[CounterMetricFamily], name: str, *, text: str, samples: Iterable[tuple[str, str, int]]
) -> Metric:
    family = kind(name, text, labels=["account", label])
    for account, value, number in samples:
        family.add_metric([account, value], number)
    return family


def _histogram(durations: Iterable[int], seconds: float) -> Metric:
    bounds = [*map(str, _BUCKETS), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations), strict=True))
    name, text = "fetchd_poll_duration_seconds", "How long polls took, those that failed too."
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=seconds)


def _label(name: str) -> str:
    """Returns an account's name as UTF-8 can carry it: one lone surrogate would make every scrape fail (FAULTS 114)."""
    return name.encode("utf-8", "backslashreplace").decode()
