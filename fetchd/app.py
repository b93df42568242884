"""The composition root: how fetchd is put together, and the only place that names concrete classes.

Read it to see which adapter fills which seam of ``ports.py``.
"""

import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from fetchd import __version__, events
from fetchd.config import SecretReader
from fetchd.daemon import Daemon
from fetchd.delivery import open_delivery
from fetchd.errors import StoreError
from fetchd.fetch import poll_account
from fetchd.inbox import Finished, PipeInbox
from fetchd.model import Account, HttpAddress, LogSettings, Secret, Settings, TlsMode
from fetchd.observe.fanout import fan_out
from fetchd.observe.http import HttpServer, health_page, metrics_page, shown_address
from fetchd.observe.lines import LineWriter, WriteLine
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.session import POP3Session
from fetchd.pop3.tls import TlsContexts
from fetchd.ports import Delivery, Maildrop, World
from fetchd.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from fetchd.observe.metrics import Metrics


_LONGEST_LOGIN_DELAY = 86_400.0


class SystemClock:
    """The machine's own time: see :class:`fetchd.ports.Clock`."""

    def wall(self) -> float:
        """Returns Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Returns seconds that only grow."""
        return time.monotonic()


def log_to(target: TextIO | WriteLine, settings: LogSettings, *, is_tty: bool | None = None) -> events.Emit:
    """Returns the log renderer for a stream, or for a function that takes lines. structlog is loaded here."""
    from fetchd.observe.logs import LogRenderer  # noqa: PLC0415 - heavy, and not needed by every command

    if callable(target):
        return LogRenderer(settings, target, is_tty=bool(is_tty), clock=SystemClock())
    tty = target.isatty() if is_tty is None else is_tty
    return LogRenderer(settings, LineWriter(target), is_tty=tty, clock=SystemClock())


class App:
    """fetchd, wired for one configuration. A context manager: opens the store and, if asked to, the HTTP endpoint."""

    def __init__(
        self,
        settings: Settings,
        *,
        renderers: Sequence[events.Emit],
        load: Callable[[], Settings],
        serve_http: bool = False,
    ) -> None:
        """Opens nothing yet.

        Args:
            settings: the configuration.
            renderers: what is told of every event.
            load: reads the configuration again, at SIGHUP.
            serve_http: whether to serve metrics where the configuration says so.
        """
        self.inbox = PipeInbox()
        self._settings = settings
        self._load = load
        self._clock = SystemClock()
        self._secrets = SecretReader(os.environ)
        self._metrics = _metrics(self._clock) if serve_http and settings.http else None
        self._emit = fan_out(*renderers, *([self._metrics] if self._metrics else []))
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
            if self._metrics is not None and self._settings.http is not None:
                server = opened.enter_context(_http_server(self._settings.http, self._metrics, store=self._store))
                self._emit(events.HttpListening(shown_address(server.address)))
            self._resources = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._secrets.close()  # an abandoned worker may wait for a command, which would outlive us
        self._resources.close()

    def run(self) -> None:
        """Runs the daemon until a signal ends it."""
        settings = self._settings
        self._emit(events.DaemonStarted(__version__, len(settings.accounts), str(settings.source), str(settings.state)))
        self._daemon().run()

    def run_once(self, names: Sequence[str]) -> list[Finished]:
        """Polls every account, or the named ones, once.

        Raises:
            UsageError: no account has one of these names.
        """
        return self._daemon().run_once(names)

    def _daemon(self) -> Daemon:
        world = World(
            connect=_Connector(),
            open_delivery=partial(_open_delivery, self._settings.state.parent / "mbox-staging"),
            store=self._store,
            secrets=self._secrets,
            clock=self._clock,
            emit=self._emit,
            nonce=partial(secrets.randbits, 64),
            host=socket.gethostname(),
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
        )

    def _accounts_changed(self, settings: Settings) -> Mapping[str, float]:
        """Tells the store and the metrics of the accounts; returns who has to wait for how long (LOGIN-DELAY)."""
        accounts = settings.accounts.values()
        for old, new in self._store.configure({account.name: (account.host, account.user) for account in accounts}):
            self._emit(events.AccountRenamed(new, was=old))
        records = self._store.accounts()
        if self._metrics is not None:
            last_success = {record.name: record.last_success for record in records}
            self._metrics.known_accounts(settings.accounts, last_success=last_success)
        now = self._clock.wall()
        # A clock that was wrong when the store was written keeps nobody waiting for longer than a day.
        waits = {record.name: min(record.not_before - now, _LONGEST_LOGIN_DELAY) for record in records}
        return {name: seconds for name, seconds in waits.items() if seconds > 0}


class _Connector:
    """Fills ``ports.Connect``: a session that is logged in.

    One TLS context serves all accounts of equal settings; what a session teaches of its server, the next one knows.
    """

    def __init__(self) -> None:
        self._contexts = TlsContexts()
        self._memories: dict[tuple[str, str, int, str], ServerMemory] = {}

    def __call__(self, account: Account, password: Secret) -> Maildrop:
        session = POP3Session.connect(
            account.host,
            account.port,
            tls=account.tls,
            timeout=account.timeout,
            session_timeout=account.session_timeout,
            login_timeout=account.login_timeout,
            minimum_rate=account.minimum_rate,
            source_address=account.source_address,
            proxy=account.proxy,
            context=None if account.tls.mode is TlsMode.NONE else self._contexts.get(account.tls),
            memory=self._memory(account),
        )
        try:
            session.login(
                account.user,
                password,
                mechanism=account.mechanism,
                allow_plaintext=account.allow_plaintext_password,
            )
        except BaseException:
            session.close()
            raise
        return session

    def _memory(self, account: Account) -> ServerMemory:
        key = (account.name, account.host, account.port, account.user)
        return self._memories.setdefault(key, ServerMemory())


def _open_delivery(mbox_staging: Path, account: Account) -> Delivery:
    return open_delivery(account.name, account.target, mbox_staging=mbox_staging)


def _metrics(clock: SystemClock) -> "Metrics":
    from fetchd.observe.metrics import Metrics  # noqa: PLC0415 - prometheus-client, only where it is served

    return Metrics(version=__version__, clock=clock)


def _http_server(address: HttpAddress, metrics: "Metrics", *, store: SqliteStore) -> HttpServer:
    def health() -> tuple[bool, str]:
        try:
            store.check()
        except StoreError as error:
            return False, str(error)
        return True, "ok"

    pages = {
        "/metrics": metrics_page(metrics.render, metrics.content_type),
        "/healthz": health_page(health),
    }
    return HttpServer(address, pages)
