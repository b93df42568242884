"""The composition root: how fetchd is put together.

Read it to see which adapter fills which seam of ``ports.py``. ``sessions.py`` is a part of it; ``errands.py`` another
root, for single commands. No other file names concrete classes.
"""

import os
import random
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from fetchd import __version__, events
from fetchd.config.checks import is_loopback
from fetchd.daemon import Daemon
from fetchd.delivery import open_delivery
from fetchd.delivery.sightings import Sightings
from fetchd.errors import StoreError
from fetchd.fetch import poll_account
from fetchd.inbox import Finished, Inbox, Knock, PipeInbox
from fetchd.lane import Beside
from fetchd.letterbox import Letterbox
from fetchd.model import (
    Account,
    AccountRecord,
    HttpAddress,
    LogSettings,
    NoticeSettings,
    Settings,
)
from fetchd.notify import Supervisor, supervisor
from fetchd.observe.fanout import fan_out
from fetchd.observe.lines import LineWriter, WriteLine, is_journal
from fetchd.ports import Delivery, World
from fetchd.sessions import Connector, Secrets, SystemClock
from fetchd.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from fetchd.observe.board import Board
    from fetchd.observe.http import HttpServer
    from fetchd.observe.metrics import Metrics
    from fetchd.observe.notices import Notices
    from fetchd.observe.pages import Page


_LONGEST_LOGIN_DELAY = 86_400.0
_CHART = 90_000
"""Seconds that the status page's charts go back: a day may have 25 hours."""
_PATIENCE_OF_HEALTH = 8.0
"""Seconds within which the main loop has to answer: reading ten thousand accounts anew takes it a few."""


_PATIENCE_WITH_NOTICES = 0.5
"""Seconds that the end waits for a notice that is being given."""


def log_to(target: TextIO | WriteLine, settings: LogSettings, *, is_tty: bool | None = None) -> events.Emit:
    """Returns the log renderer for a stream, or for a function that takes lines."""
    from fetchd.observe.logs import LogRenderer  # noqa: PLC0415 - heavy, and not needed by every command

    if not callable(target) and settings.format == "auto" and is_journal(target, os.environ):
        from fetchd.observe.journal import JournalRenderer, connected  # noqa: PLC0415 - only in a service of systemd's

        if (sock := connected()) is not None:
            return JournalRenderer(settings, sock)
    if callable(target):
        return LogRenderer(settings, target, is_tty=bool(is_tty), clock=SystemClock())
    tty = target.isatty() if is_tty is None else is_tty
    journal = is_journal(target, os.environ)
    return LogRenderer(settings, LineWriter(target), is_tty=tty, clock=SystemClock(), journal=journal)


class App:
    """fetchd, wired for one configuration. A context manager: opens the store and, if asked to, the HTTP endpoint."""

    def __init__(
        self,
        settings: Settings,
        *,
        renderers: Sequence[events.Emit],
        load: Callable[[], Settings],
        serve_http: bool = False,
        count: bool = False,
    ) -> None:
        """Opens nothing yet.

        Args:
            settings: the configuration.
            renderers: what is told of every event.
            load: reads the configuration again, at SIGHUP.
            serve_http: whether to serve metrics where the configuration says so, and to know how accounts stand.
            count: whether to keep metrics in any case, for :meth:`write_textfile`.
        """
        self.inbox = PipeInbox()
        self._settings = settings
        self._load = load
        self._clock = SystemClock()
        self._secrets = Secrets(settings.state, clock=self._clock, emit=self._say)
        serves = serve_http and settings.http is not None
        self._metrics = _metrics(self._clock, settings) if serves or count else None
        self._board = _board(self._clock) if serve_http else None
        self._notices = self._make_notices()
        beside = (self._metrics, self._board, self._notices)
        self._emit: events.Emit = fan_out(*renderers, *(one for one in beside if one is not None))
        self._accounts = settings.accounts
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Opens what is to be opened.

        Raises:
            StoreError: the store cannot be used.
            ConfigError: ``http:`` cannot be bound.
        """
        with ExitStack() as opened:
            self._store = opened.enter_context(SqliteStore.open(self._settings.state))
            for text in self._settings.warnings:
                self._emit(events.ConfigWarning(text))
            if self._store.created:
                self._emit(events.StoreCreated(str(self._settings.state)))
            if self._board is not None and self._metrics is not None and self._settings.http is not None:
                self._count_for(self._settings)  # the first scrape, too, finds every account
                pages = _pages(self._board, self._metrics, store=self._store, inbox=self.inbox)
                server, shown = _http_server(self._settings.http, pages)
                opened.enter_context(server)
                self._emit(events.HttpListening(shown(server.address)))
            self._resources = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._secrets.close()  # an abandoned worker may wait for a command, which would outlive us
        self._finish_notices(_PATIENCE_WITH_NOTICES)
        self._resources.close()

    def run(self) -> None:
        """Runs the daemon until a signal ends it."""
        settings = self._settings
        self._emit(events.DaemonStarted(__version__, len(settings.accounts), str(settings.source), str(settings.state)))
        from fetchd.heap import Heap  # noqa: PLC0415 - ctypes; --once ends before it matters

        with self._control():
            self._daemon(supervisor(os.environ, clock=self._clock), session_ended=Heap().session_ended).run()

    @contextmanager
    def _control(self) -> Iterator[None]:
        """Listens at the control socket; one that cannot be made costs ``fetchd poll``, ``status`` and ``health``."""
        from fetchd.control import ControlError, ControlServer, place  # noqa: PLC0415 - --once does without
        from fetchd.observe.status import to_json  # noqa: PLC0415 - likewise

        settings, board = self._settings, self._board
        if board is None:
            yield
            return
        control = ControlServer(
            place(os.environ, settings.state),
            source=settings.source,
            post=self.inbox.put,
            status=lambda: to_json(board.status()),
            health=partial(_health, self._store, self.inbox),
        )
        try:
            control.start()
        except ControlError as error:
            self._emit(events.ConfigWarning(f"{error}: fetchd poll, status and health cannot ask"))
        try:
            yield
        finally:
            control.stop()

    def run_once(self, names: Sequence[str]) -> list[Finished]:
        """Polls every account, or the named ones, once.

        Raises:
            UsageError: no account has one of these names.
        """
        finished = self._daemon().run_once(names)
        self._finish_notices(_PATIENCE_WITH_NOTICES + (self._settings.notices or NoticeSettings()).timeout)
        return finished

    def write_textfile(self, path: Path) -> None:
        """Adds what was counted to a file for node_exporter; the App was made with ``count``.

        Raises:
            FetchdError: it cannot be written.
        """
        from fetchd.observe.textfile import write_textfile  # noqa: PLC0415 - prometheus-client, only where it is used

        assert self._metrics is not None, "App(…, count=True)"
        write_textfile(path, self._metrics.render().decode())

    def _daemon(
        self, watched_by: Supervisor | None = None, *, session_ended: Callable[[], None] | None = None
    ) -> Daemon:
        self._world = world = World(
            connect=Connector(
                trace_to=self._emit if self._settings.log.level == "debug" else None, reveal=self._secrets.reveal
            ),
            open_delivery=partial(_open_delivery, self._settings.state.parent / "mbox-staging", Sightings()),
            store=self._store,
            secrets=self._secrets,
            clock=self._clock,
            emit=self._emit,
            nonce=partial(random.Random(secrets.randbits(256)).getrandbits, 64),  # noqa: S311 - a name, no secret
            host=socket.gethostname(),
            lane=Beside,
        )
        return Daemon(
            self._settings,
            poll=partial(poll_account, world=world),
            emit=self._emit,
            clock=self._clock,
            inbox=self.inbox,
            chance=random.random,
            load=self._load,
            accounts_changed=self._accounts_changed,
            supervisor=watched_by,
            session_ended=session_ended,
        )

    def _accounts_changed(self, settings: Settings) -> Mapping[str, float]:
        """Tells the store and the metrics of the accounts; returns who has to wait for how long (LOGIN-DELAY)."""
        accounts = settings.accounts.values()
        for old, new in self._store.configure({account.name: (account.host, account.user) for account in accounts}):
            self._emit(events.AccountRenamed(new, was=old))
        records = self._count_for(settings)
        if self._notices is not None:
            self._accounts = settings.accounts
            self._notices.known_accounts(settings.accounts, self._store)
        now = self._clock.wall()
        if self._board is not None:
            delivered = self._store.delivered_since(int(now) - _CHART)
            self._board.known_accounts(settings.accounts, records=records, delivered=delivered)
        # A clock that was wrong when the store was written keeps nobody waiting for longer than a day.
        waits = {record.name: min(record.not_before - now, _LONGEST_LOGIN_DELAY) for record in records}
        return {name: seconds for name, seconds in waits.items() if seconds > 0}

    def _count_for(self, settings: Settings) -> Sequence[AccountRecord]:
        """Tells the metrics which accounts there are; returns what the store has of them."""
        records = self._store.accounts()
        if self._metrics is not None:
            last_success = {record.name: record.last_success for record in records}
            intervals = {account.name: account.interval for account in settings.accounts.values()}
            self._metrics.known_accounts(intervals, last_success=last_success)
        return records

    def _make_notices(self) -> "Notices | None":
        if self._settings.notices is None:
            return None
        from fetchd.observe.notices import Notices  # noqa: PLC0415 - email and subprocess, only where they are used

        return Notices(
            self._settings.notices,
            deliver=self._deliver_notice,
            emit=self._say,
            clock=self._clock,
            host=socket.gethostname(),
            environ=os.environ,
        )

    def _deliver_notice(self, name: str, message: bytes) -> None:
        account = self._accounts.get(name)
        if account is not None:  # else a reload has removed it meanwhile
            Letterbox(self._world).put(account, message)

    def _say(self, event: events.Event) -> None:
        self._emit(event)

    def _finish_notices(self, patience: float) -> None:
        if self._notices is not None:
            self._notices.close(patience)


def _open_delivery(mbox_staging: Path, sightings: Sightings, account: Account) -> Delivery:
    return open_delivery(account.name, account.target, mbox_staging=mbox_staging, sightings=sightings)


def _metrics(clock: SystemClock, settings: Settings) -> "Metrics":
    from fetchd.observe.metrics import Metrics  # noqa: PLC0415 - prometheus-client, only where it is served

    return Metrics(version=__version__, clock=clock, per_account=settings.metrics.per_account)


def _board(clock: SystemClock) -> "Board":
    from fetchd.observe.board import Board  # noqa: PLC0415 - only where it is served

    return Board(version=__version__, clock=clock)


def _http_server(
    address: HttpAddress, pages: "Mapping[str, Page]"
) -> tuple["HttpServer", Callable[[HttpAddress], str]]:
    """Returns the server, yet to be started, and how its address is shown. http.server is loaded here: it is heavy."""
    from fetchd.observe.http import HttpServer  # noqa: PLC0415 - see above
    from fetchd.observe.reach import shown_address  # noqa: PLC0415 - see above

    # Probes and scrapers call a service by names that only its network knows.
    by_any_name = {"/healthz", "/readyz"} | (set() if is_loopback(address.host) else {"/metrics"})
    return HttpServer(address, pages, by_any_name=by_any_name), shown_address


def _health(store: SqliteStore, inbox: Inbox) -> tuple[bool, str]:
    """Returns whether the main loop turns and the store writes, and that in a line."""
    turned = threading.Event()
    inbox.put(Knock(turned.set))
    if not turned.wait(_PATIENCE_OF_HEALTH):
        return False, f"the main loop has not answered for {_PATIENCE_OF_HEALTH:.0f} s"
    try:
        store.check()
    except StoreError as error:
        return False, str(error)
    return True, "ok"


def _pages(board: "Board", metrics: "Metrics", *, store: SqliteStore, inbox: Inbox) -> "Mapping[str, Page]":
    """Returns all that is served, by path."""
    from fetchd.observe.page import StatusPage  # noqa: PLC0415 - only where it is served
    from fetchd.observe.pages import document_page, health_page, metrics_page  # noqa: PLC0415 - likewise
    from fetchd.observe.status import to_json  # noqa: PLC0415 - likewise

    page = StatusPage(board.status)
    return {
        "/metrics": metrics_page(metrics.render, metrics.content_type),
        "/healthz": health_page(partial(_health, store, inbox)),
        "/readyz": health_page(board.readiness),
        "/status": document_page(lambda: to_json(board.status()), "application/json; charset=utf-8"),
        **page.pages(),
    }
