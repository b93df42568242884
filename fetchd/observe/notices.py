"""Notices: somebody is told that an account fails, and that it is well again; once each, not at every poll.

A renderer of events. It counts failures in a row, also over restarts of the daemon and runs of ``--once``, since the
store remembers them; what there is to tell is told by a thread of its own, so that no poll waits for a command.

A notice counts as told once it was tried. A crash in between makes it told again: better twice than never.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import ClassVar, Final, Protocol

from fetchd import events
from fetchd.command import Command, Excess, Stderr
from fetchd.errors import AccountError, StoreError, printable
from fetchd.model import Failing, NoticeSettings, Outcome
from fetchd.observe.letter import Notice, variables, written
from fetchd.ports import Clock
from fetchd.values import value

Deliver = Callable[[str, bytes], None]
"""Puts a message (RFC 5322) into the target of the account of that name. Raises ``AccountError``."""

OUTPUT_LIMIT: Final = 1000
"""Octets of a command's output that are told; the rest is dropped."""
_REAP_SECONDS: Final = 0.5
INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")
"""What a command sees of fetchd's own environment: no password that stands in it."""


class Memory(Protocol):
    """The part of the store that remembers who fails."""

    def failing(self) -> Mapping[str, Failing]:
        """Returns every account that failed at its last poll, and since when."""
        ...

    def remember_failing(self, account: str, failing: Failing | None) -> None:
        """Records how an account fails; None: it does not."""
        ...


@value
class NoticeGiven(events.AccountEvent):
    """Somebody was told of an account.

    Attributes:
        about: ``failing`` or ``recovered``.
        by: ``command`` or ``message``.
        output: the beginning of what the command printed.
    """

    name: ClassVar[str] = "notice.given"
    about: str
    by: str
    output: str | None = None


@value
class NoticeFailed(events.AccountEvent):
    """Nobody could be told of an account in this way; it is not tried again."""

    name: ClassVar[str] = "notice.failed"
    level: ClassVar[str] = "warning"
    about: str
    by: str
    error: str
    output: str | None = None


class _CommandFailed(Exception):  # noqa: N818 - it never leaves this module
    """A command told nobody; with what it printed."""

    def __init__(self, message: str, output: str | None = None) -> None:
        super().__init__(message)
        self.output = output


class Notices:
    """Tells of accounts that failed ``after`` times in a row, and of their recovery. Safe for many threads."""

    def __init__(
        self,
        settings: NoticeSettings,
        *,
        deliver: Deliver,
        emit: events.Emit,
        clock: Clock,
        host: str,
        environ: Mapping[str, str],
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: whom to tell, and after how many failures.
            deliver: puts a message into an account's target.
            emit: is told what was told.
            clock: its wall time is since when an account fails.
            host: this host's name.
            environ: fetchd's environment, of which a command sees a part.
        """
        self._settings = settings
        self._deliver = deliver
        self._emit = emit
        self._clock = clock
        self._host = host
        self._environ = {name: environ[name] for name in INHERITED if name in environ}
        self._memory: Memory | None = None
        self._failing: dict[str, Failing] = {}
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._running: Command | None = None
        self._closed = False

    def known_accounts(self, names: Iterable[str], memory: Memory) -> None:
        """Tells which accounts there are, at the start and after a reload.

        Raises:
            StoreError: the store does not say who fails.
        """
        known = dict(memory.failing())
        with self._lock:
            self._memory = memory
            known |= self._failing  # which is newer than what the store has, or can have while it fails
            self._failing = {name: known[name] for name in names if name in known}

    def close(self, patience: float) -> None:
        """Waits ``patience`` seconds for what there is to tell, then ends it; may be called twice."""
        thread = self._thread
        if thread is None:
            return
        self._queue.put(None)
        thread.join(patience)
        self._closed = True
        if (running := self._running) is not None:
            running.kill()
            thread.join(_REAP_SECONDS)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def __call__(self, event: events.Event) -> None:
        """Counts a poll that ended."""
        match event:
            case events.PollFailed(outcome=Outcome.INTERRUPTED):
                pass
            case events.PollFailed():
                error = f"{event.error} ({event.hint})" if event.hint else event.error
                self._failed(event.account, event.outcome, error, event.retry)
            case events.InternalError():
                self._failed(event.account, Outcome.INTERNAL, event.error, "")
            case events.PollDone():
                self._succeeded(event.account)

    def _failed(self, account: str, outcome: Outcome, error: str, retry: str) -> None:
        now = int(self._clock.wall())
        with self._lock:
            before = self._failing.get(account, Failing(since=now))
            failing = self._failing[account] = replace(before, failures=before.failures + 1)
            is_due = failing.failures >= self._settings.after and not failing.told
            if is_due:
                self._failing[account] = replace(failing, told=True)
        if not before.told:
            self._remember(account, failing)
        if is_due:
            self._tell(Notice(account, "failing", self._host, now, failing, outcome.value, error, retry))

    def _succeeded(self, account: str) -> None:
        with self._lock:
            failing = self._failing.pop(account, None)
        if failing is None:
            return
        self._remember(account, None)
        if failing.told:
            self._tell(Notice(account, "recovered", self._host, int(self._clock.wall()), failing))

    def _remember(self, account: str, failing: Failing | None) -> None:
        if self._memory is None:
            return
        try:
            self._memory.remember_failing(account, failing)
        except StoreError:
            return  # it is the store that fails: what this process remembers must do

    # ── the thread that tells ────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, notice: Notice) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="notices", daemon=True)
                self._thread.start()
        self._queue.put(notice)

    def _work(self) -> None:
        while (notice := self._queue.get()) is not None and not self._closed:
            if self._settings.command:
                self._try("command", self._run, notice)
            if self._settings.deliver:
                self._try("message", self._put, notice)
            if notice.is_failing:
                self._told(notice.account)

    def _try(self, by: str, give: Callable[[Notice], str | None], notice: Notice) -> None:
        """Gives a notice in one way; whatever goes wrong, the next one is given too."""
        try:
            output = give(notice)
        except _CommandFailed as error:
            self._emit(NoticeFailed(notice.account, notice.about, by, str(error), error.output))
        except AccountError as error:
            self._emit(NoticeFailed(notice.account, notice.about, by, str(error)))
        except Exception as error:  # noqa: BLE001 - a bug: of one notice, not of all that follow
            self._emit(NoticeFailed(notice.account, notice.about, by, f"internal error: {printable(repr(error))}"))
        else:
            self._emit(NoticeGiven(notice.account, notice.about, by, output))

    def _told(self, account: str) -> None:
        with self._lock:
            failing = self._failing.get(account)
        if failing is not None and failing.told and not self._closed:  # else it has recovered meanwhile
            self._remember(account, failing)

    def _run(self, notice: Notice) -> str | None:
        argv = self._settings.command
        environ = self._environ | variables(notice)
        try:
            self._running = command = Command(argv, environ=environ, stderr=Stderr.WITH_OUTPUT)
            if self._closed:  # since it was started, perhaps before anyone could kill it
                command.kill()
            ended = command.wait(self._settings.timeout, limit=OUTPUT_LIMIT, excess=Excess.DROP)
        except OSError as error:
            raise _CommandFailed(f"{argv[0]} cannot be run: {error.strerror}") from error
        finally:
            self._running = None
        output = ended.output.decode("utf-8", "backslashreplace").strip() or None
        if ended.failure:
            raise _CommandFailed(f"{argv[0]} {ended.failure}", output)
        return output

    def _put(self, notice: Notice) -> None:
        self._deliver(notice.account, written(notice))
