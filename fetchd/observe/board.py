"""The live state of every account, kept in memory from what events tell, for who asks for a :class:`Status`.

Less than a kilobyte an account, so that ten thousand of them fit a small host. What was before the start the store
tells; the rest, the events do.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from fetchd import events
from fetchd.errors import Retry
from fetchd.model import AccountRecord, Outcome
from fetchd.observe import words
from fetchd.observe.history import Days, History, remembered
from fetchd.observe.status import AccountStatus, Source, State, Status, in_order
from fetchd.ports import Clock
from fetchd.wording import counted

ERROR_LIMIT: Final = 400
"""The most characters of an error that are kept."""

_NO_HISTORY: Final[Mapping[str, Mapping[int, int]]] = MappingProxyType({})


@dataclass(slots=True)
class _Row:
    """What is known of one account."""

    history: History = field(default_factory=History)
    delivered: int = 0
    octets: int = 0
    polling: bool = False
    tried: bool = False
    last_success: float | None = None
    last_failure: float | None = None
    failing_since: float | None = None
    next_poll: float | None = None
    failures: int = 0
    outcome: str = ""
    retry: str = ""
    error: str = ""
    hint: str = ""


class Board:
    """Keeps every account's state. Safe for many threads: workers tell it events while pages ask for its status.

    Only known accounts are on it: an event of an account that a reload removed meanwhile does not bring it back.
    """

    def __init__(self, *, version: str, clock: Clock) -> None:
        """Starts with no account.

        Args:
            version: of fetchd.
            clock: its wall time is what the board goes by.
        """
        self._version = version
        self._clock = clock
        self._started = clock.wall()
        self._lock = threading.Lock()
        self._days = Days()
        self._rows: dict[str, _Row] = {}
        self._is_live = False
        self._is_stopping = False
        self._on: dict[type[events.Event], Callable[[Any, float], None]] = {
            events.PollStarted: self._poll_started,
            events.MessageDelivered: self._message_delivered,
            events.Recovered: self._recovered,
            events.PollDone: self._poll_done,
            events.PollFailed: self._poll_failed,
            events.InternalError: self._internal_error,
            events.PollScheduled: self._poll_scheduled,
            events.PollAllRequested: self._poll_all,
            events.AccountRenamed: self._renamed,
            events.Reloaded: self._reloaded,
            events.Stopping: self._stopping,
        }

    def known_accounts(
        self,
        names: Iterable[str],
        *,
        records: Iterable[AccountRecord] = (),
        delivered: Mapping[str, Mapping[int, int]] = _NO_HISTORY,
    ) -> None:
        """Sets which accounts there are, at the start and at each reload: those that are on the board stay as they are.

        Args:
            names: all configured accounts.
            records: what the store knows of accounts.
            delivered: account → Unix seconds → messages that came then, as far back as the chart goes.
        """
        now = self._clock.wall()
        before = {record.name: record for record in records}
        with self._lock:
            self._rows = {
                name: self._rows.get(name) or self._row(before.get(name), delivered.get(name, {}), now)
                for name in names
            }
            self._is_live = True

    def _row(self, record: AccountRecord | None, delivered: Mapping[int, int], now: float) -> _Row:
        row = _Row(next_poll=now, history=remembered(delivered, self._days, now=now))
        if record is not None:
            row.delivered = record.delivered
            row.last_success, row.last_failure = record.last_success, record.last_failure
            row.error = _cut(record.last_error)
            row.hint = _hint(record) if record.last_error else ""
            row.next_poll = max(now, record.not_before)
        return row

    def __call__(self, event: events.Event) -> None:
        """Notes an event; those that change nothing here return at once."""
        note = self._on.get(type(event))
        if note is not None:
            with self._lock:
                note(event, self._clock.wall())

    def status(self) -> Status:
        """Returns how everything stands. The lock is held for one account at a time, lest a poll waits."""
        now = self._clock.wall()
        with self._lock:
            rows, day, is_live = list(self._rows.items()), self._days.start(now), self._is_live
        accounts = []
        for name, row in rows:
            with self._lock:
                accounts.append(_account(name, row, now=now, day=day))
        shown = in_order(accounts)
        summary = words.summary(shown) if is_live else words.STARTING
        return Status(self._version, Source.DAEMON, now, self._started, summary, shown)

    def readiness(self) -> tuple[bool, str]:
        """Returns whether fetchd works on its accounts, and that in a line, for ``/readyz``.

        It does once the first configuration is live, and until it is asked to stop. That every account was tried is
        not asked for: one server that hangs must not keep the service from being ready.
        """
        with self._lock:
            if self._is_stopping:
                return False, "stopping"
            if not self._is_live:
                return False, "starting: the configuration is not live yet"
            untried = sum(not row.tried for row in self._rows.values())
            return True, f"ready: {counted(len(self._rows), 'account')}, {untried:,} not polled yet"

    # ── events: each with the time that it is now; the lock is held ──────────────────────────────────────────────

    def _poll_started(self, event: events.PollStarted, _now: float) -> None:
        if row := self._rows.get(event.account):
            row.polling = True

    def _message_delivered(self, event: events.MessageDelivered, now: float) -> None:
        if row := self._rows.get(event.account):
            row.delivered += 1
            row.octets += event.octets
            row.history.count(1, at=now, day=self._days.start(now))

    def _recovered(self, event: events.Recovered, now: float) -> None:
        # Of those adopted, each is a MessageDelivered. Those finished the store counted when they were committed: what
        # the first poll finishes, before we asked it.
        row = self._rows.get(event.account)
        if row and row.tried and event.finished:
            row.delivered += event.finished
            row.history.count(event.finished, at=now, day=self._days.start(now))

    def _poll_done(self, event: events.PollDone, now: float) -> None:
        if row := self._rows.get(event.account):
            row.polling, row.tried = False, True
            row.last_success, row.failing_since, row.failures = now, None, 0
            row.outcome = row.retry = row.error = row.hint = ""

    def _poll_failed(self, event: events.PollFailed, now: float) -> None:
        if event.outcome is not Outcome.INTERRUPTED:
            self._failed(event.account, event.outcome, event.error, now, retry=event.retry, hint=event.hint or "")
        elif row := self._rows.get(event.account):  # we stopped it ourselves: that says nothing about the account
            row.polling = False

    def _internal_error(self, event: events.InternalError, now: float) -> None:
        self._failed(event.account, Outcome.INTERNAL, event.error, now, retry=Retry.LATER)

    def _failed(self, account: str, outcome: Outcome, error: str, now: float, *, retry: str, hint: str = "") -> None:
        row = self._rows.get(account)
        if row is None:
            return
        row.polling, row.tried = False, True
        row.last_failure = now
        row.failing_since = row.failing_since or now
        row.failures += 1
        row.outcome, row.retry, row.error = outcome.value, str(retry), _cut(error) or outcome.value
        row.hint = hint

    def _poll_scheduled(self, event: events.PollScheduled, _now: float) -> None:
        if row := self._rows.get(event.account):
            row.polling = False
            row.next_poll = event.at
            if row.error and event.retry is not None:  # the schedule may hold what the error itself would not
                row.retry = event.retry
            elif row.retry == Retry.HOLD:  # somebody asked for a poll
                row.retry = ""

    def _poll_all(self, _event: events.PollAllRequested, now: float) -> None:
        for row in self._rows.values():
            _due(row, now)

    def _renamed(self, event: events.AccountRenamed, _now: float) -> None:
        if event.was in self._rows:
            self._rows[event.account] = self._rows.pop(event.was)

    def _reloaded(self, event: events.Reloaded, now: float) -> None:
        """Those that changed start anew at once, as do those on hold."""
        changed = set(event.changed)
        for name, row in self._rows.items():
            if name in changed:
                row.failures = 0
            if name in changed or row.retry == Retry.HOLD:
                _due(row, now)

    def _stopping(self, _event: events.Stopping, _now: float) -> None:
        self._is_stopping = True


def stored_status(
    names: Iterable[str],
    *,
    records: Iterable[AccountRecord],
    delivered: Mapping[str, Mapping[int, int]],
    version: str,
    clock: Clock,
) -> Status:
    """Returns how things stand as far as the store alone knows; for the arguments see :class:`Board`."""
    board = Board(version=version, clock=clock)
    known = list(records)
    hints = {record.name: _hint(record) for record in known if record.last_error}
    board.known_accounts(names, records=known, delivered=delivered)
    status = board.status()
    accounts = tuple(
        replace(account, next_poll=None, reason=words.failed(hints.get(account.name, "")) if account.error else "")
        for account in status.accounts
    )
    return replace(status, source=Source.STORE, started=None, accounts=accounts)


def _hint(record: AccountRecord) -> str:
    from fetchd.hints import hint  # noqa: PLC0415 - the table of providers, for an account that failed

    return hint(record.host, record.last_error)


def _due(row: _Row, now: float) -> None:
    if not row.polling:
        row.next_poll = now
        row.retry = "" if row.retry == Retry.HOLD else row.retry


def _account(name: str, row: _Row, *, now: float, day: float) -> AccountStatus:
    return AccountStatus(
        name=name,
        state=_state(row),
        polling=row.polling,
        last_success=row.last_success,
        last_failure=row.last_failure,
        failing_since=row.failing_since,
        next_poll=row.next_poll,
        failures=row.failures,
        outcome=row.outcome,
        error=row.error,
        reason=words.reason(row.outcome, row.retry, row.failures, hint=row.hint) if row.error else "",
        delivered_today=row.history.today(day),
        delivered=row.delivered,
        octets=row.octets,
        hours=row.history.hours(now),
    )


def _state(row: _Row) -> State:
    if row.error:
        return State.HELD if row.retry == Retry.HOLD else State.FAILING
    return State.NEW if row.last_success is None else State.OK


def _cut(text: str) -> str:
    return text if len(text) <= ERROR_LIMIT else text[: ERROR_LIMIT - 1] + "…"
