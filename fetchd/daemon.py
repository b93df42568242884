"""The main loop: who is polled when, by which worker, until a signal says otherwise.

One thread, the main one, owns the schedule and reads the inbox; workers poll one account at a time and post how it
ended. Signals are posted too, so that every decision is taken in one place, between two messages. Workers are daemon
threads: a session that does not end in time is abandoned, which is safe at any instant (DESIGN §4).
"""

import signal
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from fetchd import events
from fetchd.crew import Crew
from fetchd.errors import (
    AccountError,
    AuthenticationError,
    ConfigError,
    Retry,
    StoreError,
    UsageError,
    printable,
)
from fetchd.inbox import Finished, Inbox, Knock, Message, PollAnswer, PollRequest, Signal
from fetchd.model import Account, PollResult, Settings
from fetchd.notify import Supervisor, Unsupervised, standing
from fetchd.ports import Clock, Poll
from fetchd.schedule import Schedule, Slot

GRACE: Final = 5.0
"""Seconds that a message in hand may take to come in after a stop was asked for."""
STOP_LIMIT: Final = 8.0
"""Seconds after which sessions that still run are abandoned: the whole exit takes less than 10."""
INTERRUPT_GRACE: Final = 1.0
INTERRUPT_LIMIT: Final = 2.0
"""The same two after Ctrl-C at ``--once``: somebody waits for the prompt, and what is dropped the next poll fetches."""
AUTH_FAILURES_TO_HOLD: Final = 5
"""Logins refused in a row after which an account is held, lest the provider locks it."""
IDLE_LIMIT: Final = 3600.0
"""The longest sleep of the main loop, in seconds."""


class StopFlag:
    """The :class:`fetchd.ports.StopSignal` that the main loop raises and every session sees."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._overdue_at: float | None = None

    def request(self, grace: float) -> None:
        """Asks every session to stop, within ``grace`` seconds."""
        self._overdue_at = self._clock.monotonic() + grace

    def requested(self) -> bool:
        """See :class:`fetchd.ports.StopSignal`."""
        return self._overdue_at is not None

    def overdue(self) -> bool:
        """See :class:`fetchd.ports.StopSignal`."""
        return self._overdue_at is not None and self._clock.monotonic() >= self._overdue_at


class Daemon:
    """Polls accounts as scheduled, for ever or once, and reacts to signals."""

    def __init__(
        self,
        settings: Settings,
        *,
        poll: Poll,
        emit: events.Emit,
        clock: Clock,
        inbox: Inbox,
        chance: Callable[[], float],
        load: Callable[[], Settings],
        accounts_changed: Callable[[Settings], Mapping[str, float]],
        supervisor: Supervisor | None = None,
        session_ended: Callable[[], None] | None = None,
    ) -> None:
        """Wires the loop.

        Args:
            settings: the configuration to start with.
            poll: the use case.
            emit: where events go.
            clock: times the schedule.
            inbox: what the loop waits on.
            chance: returns a random number in [0, 1), for jitter.
            load: reads the configuration again, at SIGHUP.
            accounts_changed: told of the accounts at the start and after a reload, before they are polled; returns the
                seconds that some of them have yet to wait, since the server says so.
            supervisor: is told how the daemon is; None where nobody wants to know.
            session_ended: called in the main loop after each session.
        """
        self._settings = settings
        self._poll = poll
        self._emit = emit
        self._clock = clock
        self._inbox = inbox
        self._load = load
        self._accounts_changed = accounts_changed
        self._supervisor = supervisor or Unsupervised()
        self._session_ended = session_ended or (lambda: None)
        self._accounts: Mapping[str, Account] = settings.accounts
        self._schedule = Schedule(sessions_per_host=settings.sessions_per_host, chance=chance)
        self._stop = StopFlag(clock)
        self._stop_limit = STOP_LIMIT
        self._crew = Crew(size=settings.workers, work=self._work, post=inbox.put)
        self._finished: list[Finished] = []
        self._keep_finished = False
        self._refused: dict[str, int] = {}
        self._leaving: frozenset[str] = frozenset()
        self._failing: set[str] = set()
        self._trouble = ""

    def run(self) -> None:
        """Polls until SIGTERM or SIGINT.

        Raises:
            StoreError: the store could not be told of the accounts.
            FetchdError: no worker can be started.
        """
        self._start(self._settings.accounts)
        self._supervisor.ready()
        while not self._stop.requested():
            self._start_what_is_due()
            self._handle(self._next_message(self._patience()))
        self._wait_for_sessions()

    def run_once(self, names: Iterable[str] = ()) -> list[Finished]:
        """Polls every account, or the named ones, once; returns how each ended, in the order they did.

        A signal to stop leaves out what is not finished. So does SIGHUP: the terminal went away.

        Raises:
            UsageError: no account has that name.
            FetchdError: no worker can be started.
        """
        wanted = list(names) or list(self._settings.accounts)
        unknown = [name for name in wanted if name not in self._settings.accounts]
        if unknown:
            raise UsageError(
                f"no account {printable(unknown[0])!r}; there are: {', '.join(sorted(self._settings.accounts))}"
            )
        self._keep_finished = True
        self._start({name: self._settings.accounts[name] for name in wanted})
        while len(self._schedule) and not self._stop.requested():
            self._start_what_is_due()
            self._handle(self._next_message(self._patience()))
        self._wait_for_sessions()
        return self._finished

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, accounts: Mapping[str, Account]) -> None:
        waits = self._accounts_changed(self._settings)
        self._accounts = accounts
        self._schedule.replace(
            _slots(accounts), now=self._clock.monotonic(), waits={} if self._keep_finished else waits
        )

    def _start_what_is_due(self) -> None:
        while self._crew.has_room:
            name = self._schedule.take(now=self._clock.monotonic())
            if name is None:
                return
            if name in self._leaving:  # else sessions that overlap would put the reload off for ever
                self._schedule.finished(name, now=self._clock.monotonic())
                continue
            self._crew.give(self._accounts[name])

    def _patience(self) -> float:
        """Returns how long nothing can become due: with every worker busy only a message changes anything."""
        due = self._schedule.next_due()
        if due is None or not self._crew.has_room:
            return IDLE_LIMIT
        return min(max(0.0, due - self._clock.monotonic()), IDLE_LIMIT)

    def _next_message(self, patience: float) -> Message | None:
        """Returns what comes within ``patience`` seconds; the supervisor may want the loop to turn before that."""
        return self._inbox.get(min(patience, self._supervisor.turned(self._standing)))

    def _standing(self) -> str:
        due = self._schedule.next_due()
        line = standing(
            accounts=len(self._schedule),
            failing=len(self._failing),
            polling=len(self._schedule.running),
            next_poll=None if due is None else self._clock.wall() + max(0.0, due - self._clock.monotonic()),
        )
        return f"{line}; {self._trouble}" if self._trouble else line

    def _handle(self, message: Message | None) -> None:
        match message:
            case Finished():
                self._finish(message)
            case Knock():
                message.answer()
            case PollRequest():
                message.answer(self._poll_now(message.names))
            case Signal(number=signal.SIGHUP) if not self._keep_finished:
                self._reload()
            case Signal(number=signal.SIGUSR1):
                self._emit(events.PollAllRequested())
                self._schedule.poll_now(now=self._clock.monotonic())
            case Signal(number=number):
                self._emit(events.Stopping(signal.Signals(number).name, len(self._schedule.running)))
                is_impatient = self._keep_finished and number == signal.SIGINT
                self._stop.request(INTERRUPT_GRACE if is_impatient else GRACE)
                self._stop_limit = INTERRUPT_LIMIT if is_impatient else STOP_LIMIT
                self._supervisor.stopping()
            case None:
                pass

    def _poll_now(self, names: tuple[str, ...]) -> PollAnswer:
        unknown = tuple(name for name in names if name not in self._accounts)
        if unknown:
            return PollAnswer(unknown=unknown, known=tuple(self._accounts))
        if not names:
            self._emit(events.PollAllRequested())
        told = self._schedule.poll_now(names, now=self._clock.monotonic())
        for one in told:
            if names and not one.running:
                self._announce(one.name, one.delay, retry=None)
        return PollAnswer(told)

    def _announce(self, name: str, delay: float, *, retry: Retry | None) -> None:
        at, failures = self._clock.wall() + delay, self._schedule.failures(name)
        self._emit(events.PollScheduled(name, at=at, delay=delay, failures=failures, retry=retry))

    def _wait_for_sessions(self) -> None:
        """Waits for the sessions in hand; a second signal drops them at once."""
        if not self._stop.requested():
            return
        deadline = self._clock.monotonic() + self._stop_limit
        while self._schedule.running and (left := deadline - self._clock.monotonic()) > 0:
            match self._next_message(left):
                case Finished() as message:
                    self._finish(message)
                case Knock() as message:
                    message.answer()
                case Signal(number=signal.SIGTERM | signal.SIGINT):
                    self._stop.request(0.0)
                    deadline = min(deadline, self._clock.monotonic() + 1.0)
                case _:
                    pass
        self._emit(events.Stopped(abandoned=self._schedule.running))

    # ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self, account: Account) -> Finished:
        """Runs in a worker: one poll, whatever comes of it. A bug ends this poll, never the daemon."""
        try:
            return Finished(account.name, result=self._poll(account, self._stop))
        except AccountError as error:
            return Finished(account.name, error=error)
        except Exception as error:  # noqa: BLE001 - one account's trouble never ends another's
            trace = "".join(traceback.format_exception(error))
            self._emit(events.InternalError(account.name, error=printable(repr(error)), trace=trace))
            return Finished(account.name, error=error)

    def _finish(self, message: Finished) -> None:
        name = message.account
        self._crew.returned()
        self._session_ended()
        if self._keep_finished:
            self._finished.append(message)
            self._schedule.forget(name)
        (self._failing.discard if message.error is None else self._failing.add)(name)
        result = message.result or PollResult(name)
        retry = self._retry(message)
        delay = self._schedule.finished(
            name,
            now=self._clock.monotonic(),
            retry=retry,
            more=result.more,
            at_least=result.login_delay,
        )
        if delay is not None:
            self._announce(name, delay, retry=retry)
        if self._leaving and not self._leaving.intersection(self._schedule.running) and not self._stop.requested():
            self._reload()

    def _retry(self, message: Finished) -> Retry | None:
        """Returns when to try again; counts the logins that were refused in a row."""
        if isinstance(message.error, AuthenticationError):
            self._refused[message.account] = self._refused.get(message.account, 0) + 1
        else:
            self._refused.pop(message.account, None)
        match message.error:
            case None:
                return None
            case AuthenticationError() if self._refused[message.account] >= AUTH_FAILURES_TO_HOLD:
                return Retry.HOLD
            case AccountError() as error:
                return error.retry
            case _:
                return Retry.LATER

    # ── reload ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _reload(self) -> None:
        """Takes over the accounts of a changed configuration; one that cannot be used changes nothing.

        The store gives the memory of an account that is gone to one that fetches the same maildrop, and an account with
        another user a memory of its own. Under a session that runs, mail would come twice or be lost; so the reload
        waits for the sessions of such accounts, whose timeouts bound the wait, and then starts anew with what the file
        says by then.
        """
        self._leaving = frozenset()
        self._trouble = ""
        self._supervisor.reloading()
        try:
            new = self._load()
            gone = frozenset(_gone(self._settings.accounts, new.accounts))
            if gone.intersection(self._schedule.running):
                self._leaving = gone
                self._trouble = "a reload waits for sessions to end"
                return
            waits = self._accounts_changed(new)
        except ConfigError as error:
            self._reload_failed(error.problems)
        except StoreError as error:
            self._reload_failed((str(error),))
        else:
            self._take_over(new, waits)
        self._supervisor.ready()

    def _reload_failed(self, problems: tuple[str, ...]) -> None:
        self._trouble = f"the last reload failed: {problems[0]}"
        self._emit(events.ReloadFailed(problems))

    def _take_over(self, new: Settings, waits: Mapping[str, float]) -> None:
        old, self._settings, self._accounts = self._settings, new, new.accounts
        added, removed = new.accounts.keys() - old.accounts.keys(), old.accounts.keys() - new.accounts.keys()
        kept = old.accounts.keys() & new.accounts.keys()
        changed = {name for name in kept if old.accounts[name] != new.accounts[name]}
        for name in removed | changed:
            self._refused.pop(name, None)
            self._failing.discard(name)
        self._schedule.replace(_slots(new.accounts), now=self._clock.monotonic(), restart=changed, waits=waits)
        for text in (*new.warnings, *_needs_restart(old, new)):
            self._emit(events.ConfigWarning(text))
        self._emit(
            events.Reloaded(
                accounts=len(new.accounts),
                added=tuple(sorted(added)),
                removed=tuple(sorted(removed)),
                changed=tuple(sorted(changed)),
            )
        )


def _gone(old: Mapping[str, Account], new: Mapping[str, Account]) -> Iterable[str]:
    """Yields the names that stand for no maildrop any more, or for another user's."""
    return (name for name, account in old.items() if name not in new or new[name].user != account.user)


def _slots(accounts: Mapping[str, Account]) -> list[Slot]:
    return [Slot(account.name, account.host.lower(), account.interval) for account in accounts.values()]


def _needs_restart(old: Settings, new: Settings) -> Iterable[str]:
    """Yields a line for each changed setting that only a restart brings into force."""
    for key in ("state", "http", "metrics", "notices", "log", "workers", "sessions_per_host"):
        if getattr(old, key) != getattr(new, key):
            yield f"{key}: changed, which takes a restart of fetchd to come into force"
