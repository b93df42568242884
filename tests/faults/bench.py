"""The real use case on a bench: ``poll_account`` with real sessions, Maildir, store, and every renderer.

However a poll ends, :meth:`Bench.always` then asserts what FAULTS §2 expects of every case. A test states what is
special in its own: the fault, the error, and what is there afterwards.
"""

import itertools
import re
import signal
import traceback
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final, Self

from fetchd import events
from fetchd.app import App
from fetchd.config import SecretReader
from fetchd.delivery import open_delivery
from fetchd.errors import AccountError, Retry
from fetchd.fetch import poll_account
from fetchd.inbox import Signal
from fetchd.lane import InTurn
from fetchd.model import (
    Account,
    Fate,
    LogSettings,
    MaildirTarget,
    Policy,
    PollResult,
    SecretFile,
    Seen,
    Settings,
    UniqueId,
)
from fetchd.names import parse_name, uid_digest
from fetchd.observe.fanout import fan_out
from fetchd.observe.logs import LogRenderer
from fetchd.observe.metrics import Metrics
from fetchd.ports import Connect, Delivery, World
from fetchd.sessions import Connector
from fetchd.store.sqlite import SqliteStore
from tests.accounts import make_account, make_settings
from tests.clocks import FakeClock, VirtualInbox
from tests.faults.bounds import watchdog
from tests.faults.server import FaultyServer

USER: Final = "m4rk3d-us3r@example.org"
PASSWORD: Final = b"m4rk3d-p4ssw0rd"
"""Markers: wherever they turn up, they have leaked."""
WATCHDOG: Final = 60.0
"""Seconds after which a poll counts as hanging. The deadlines in these tests are far below."""
MOST_POLLS: Final = 4
"""After a failure: one for the others, one for what broke the session, one that finds nothing, and one to spare."""
ERROR_LIMIT: Final = 600
"""Characters: where it happened, what is to be done, and at most 200 of the server's."""
LINE_LIMIT: Final = 4096
"""Characters of a log line."""
KEEP: Final = Policy()
DELETE: Final = Policy(delete_after=0)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def connector() -> Connect:
    """Returns what ``app.py`` connects with."""
    return Connector()


def message(number: int) -> bytes:
    return b"Subject: %d\r\n\r\nBody %d\r\n" % (number, number)


def stored(*numbers: int) -> list[bytes]:
    return sorted(message(number).replace(b"\r\n", b"\n") for number in numbers)


def uid(number: int) -> bytes:
    return b"uid%d" % number


class NeverStop:
    """A stop signal that nobody raises."""

    def requested(self) -> bool:
        return False

    def overdue(self) -> bool:
        return False


class Bench:
    """One account ``alice`` of one server. It deletes what it has delivered, so that a wrong DELE shows."""

    def __init__(self, root: Path, server: FaultyServer) -> None:
        self.root = root
        self.server = server
        self.server.may_delete = self._may_delete
        self.clock = FakeClock()
        self.events: list[events.Event] = []
        self.log: list[str] = []
        self.metrics = Metrics(version="0", clock=self.clock)
        self.metrics.known_accounts({"alice": 300.0})
        self.store = SqliteStore.open(root / "state" / "fetchd.db")
        (root / "secret").write_bytes(PASSWORD + b"\n")
        self.secrets = {PASSWORD}
        self.patience = WATCHDOG
        self._recorded: dict[UniqueId, Seen] = {}
        self._there: Counter[str] = Counter()
        nonces = itertools.count(1)
        renderers = [
            LogRenderer(LogSettings(form, "debug"), self._write, is_tty=False, clock=self.clock)
            for form in ("json", "console")
        ]
        self.world = World(
            connect=connector(),
            open_delivery=self._open_delivery,
            store=self.store,
            secrets=SecretReader({"PATH": "/usr/bin:/bin"}),
            clock=self.clock,
            emit=fan_out(self.events.append, self.metrics, *renderers),
            nonce=lambda: next(nonces),
            host="mx",
            lane=InTurn,
        )
        self.account = make_account(
            port=server.port,
            user=USER,
            password=SecretFile(root / "secret"),
            target=MaildirTarget(root / "Maildir"),
            policy=DELETE,
            timeout=20.0,
            session_timeout=40.0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def _open_delivery(self, account: Account) -> Delivery:
        return open_delivery(account.name, account.target, mbox_staging=self.root / "mbox-staging")

    def _write(self, line: str) -> bool:
        self.log.append(line)
        return True

    # ── what a test does ─────────────────────────────────────────────────────────────────────────────────────────

    def fill(self, *numbers: int) -> None:
        self.server.mail += [(uid(number), message(number)) for number in numbers]

    def poll(self, **changes: Any) -> PollResult:
        """Polls, which must end well; ``changes`` are the account's."""
        result = self._poll(changes)
        self.always()
        assert self.said(events.PollDone) == [events.PollDone("alice", result, 0.0)]
        return result

    def fails(
        self,
        kind: type[AccountError],
        says: str,
        *,
        retry: Retry = Retry.SOON,
        told: bool = True,
        here: bool = False,
        **changes: Any,
    ) -> AccountError:
        """Polls, which must end in this error; where it is not ``told``, without an octet of the credentials sent.

        Where the fault is ``here``, on this host, store and staging are looked at when it is gone.
        """
        error: AccountError | None = None
        try:
            self._poll(changes)
        except AccountError as raised:
            error = raised
        self.always(error, here=here)
        assert error is not None, "the poll ended well"
        assert (type(error), error.retry, error.account) == (kind, retry, "alice"), repr(error)
        assert re.search(says, str(error)), str(error)
        if not told:
            assert self.server.credentials(USER.encode(), *self.secrets) == []
        (failed,) = self.said(events.PollFailed)
        assert (failed.outcome, failed.retry, failed.error) == (kind.outcome, retry.value, str(error))
        assert f'fetchd_polls_total{{account="alice",outcome="{kind.outcome}"}}' in self.metrics.render().decode()
        if not here:
            (record,) = self.store.accounts()
            assert record.last_error == str(error)
        return error

    def heals(self, *numbers: int, **changes: Any) -> PollResult:
        """The server behaves again: polls then bring, exactly once, whatever was missing of these messages.

        What broke a session comes in a poll of its own, when nothing else is left to do; the last poll finds nothing
        at all. Returns the last result, with what all of them together delivered and deleted.
        """
        self.server.faults.clear()
        delivered = deleted = 0
        for _ in range(MOST_POLLS):
            result = self.poll(**changes)
            delivered += result.delivered
            deleted += result.deleted
            if not (result.delivered or result.deleted or result.skipped):
                break
        else:
            raise AssertionError(f"something is left to do after {MOST_POLLS} polls: {result}")
        assert self.mail() == stored(*numbers)
        assert not self.server.mail or self.account.policy != DELETE or "policy" in changes
        assert self.staged() == []
        return replace(result, delivered=delivered, deleted=deleted)

    # ── what a test looks at ─────────────────────────────────────────────────────────────────────────────────────

    def files(self) -> list[Path]:
        maildir = self.root / "Maildir"
        return [file for box in ("new", "cur") if (maildir / box).exists() for file in (maildir / box).iterdir()]

    def mail(self) -> list[bytes]:
        return sorted(file.read_bytes() for file in self.files())

    def there(self) -> Counter[str]:
        """Returns how many messages are delivered of each unique-id, by its digest."""
        return Counter(parsed.uid for file in self.files() if (parsed := parse_name(file.name)))

    def staged(self) -> list[Path]:
        """Returns the files in staging, complete or not."""
        return [file for place in ("Maildir/tmp", "mbox-staging") for file in _files(self.root / place)]

    def said(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def warnings_of(self, name: bytes) -> list[events.Event]:
        """Returns the warnings about one message."""
        return [event for event in self.events if event.level == "warning" and getattr(event, "uid", None) == name]

    # ── what FAULTS §2 always expects ────────────────────────────────────────────────────────────────────────────

    def always(self, error: AccountError | None = None, *, here: bool = False) -> None:
        """Asserts what holds after every poll, whatever the server did.

        The client has left, and did nothing that a client may not do; error, events, log, metrics and store hold no
        secret; what is said is of a sane length and obeyed by no terminal; what the Maildir holds is whole and under
        its own unique-id; what the store remembers as delivered is there; and nothing is left in staging but what was
        committed, and, after a failure, whole messages of which it is not proven whose they are.
        """
        self.server.settle()
        assert self.server.violations == []
        self._check_words(error)
        self._check_secrets(error)
        if not here:
            self._check_mail()
            self._check_staging()

    def _check_words(self, error: AccountError | None) -> None:
        for text in [str(error)] if error is not None else []:
            assert text, "an error without a word"
            assert len(text) <= ERROR_LIMIT, f"an error of {len(text)} characters: {text[:200]}…"
            assert not _CONTROL.search(text), repr(text)
        assert self.log
        for line in self.log:
            assert len(line) <= LINE_LIMIT, f"a log line of {len(line)} characters: {line[:200]}…"
            assert not _CONTROL.search(line), repr(line)
        assert self.said(events.InternalError) == []
        assert not any(event.name == "observe.failed" for event in self.events)

    def _check_secrets(self, error: AccountError | None) -> None:
        said = [repr(self.events), *self.log, self.metrics.render().decode()]
        if error is not None:
            said += traceback.format_exception(error)
            said += [f"{one!r} {one.args!r}" for one in _chain(error)]
        state = [file.read_bytes() for file in _files(self.root / "state")]
        for secret in self.secrets:
            for shape in (secret, b64encode(secret).rstrip(b"=")):
                assert not any(shape.decode("latin-1") in text for text in said), "the password was said"
                assert not any(shape in octets for octets in state), "the password is in the store"

    def _check_mail(self) -> None:
        by_digest = {uid_digest("alice", UniqueId(name)): name for name in self.server.ever}
        for file in self.files():
            parsed = parse_name(file.name)
            assert parsed is not None
            name = by_digest[parsed.uid]
            with file.open("rb") as content:
                found = file_digest(content, "sha256").digest()
            assert found in self.server.ever[name], f"{name!r} is delivered with what is not its content"
        there = self.there()
        for name, entry in self.store.seen("alice").items():
            if entry.fate is Fate.DELIVERED:
                digest = uid_digest("alice", UniqueId(name))
                assert there[digest] >= entry.copies, f"{name!r} is recorded, and is not there"

    def _check_staging(self) -> None:
        committed = {committed.staged.name for committed in self.store.outbox("alice")}
        unproven = [file for file in self.staged() if file.name not in committed]
        if not self.said(events.PollFailed):
            assert unproven == [], "left in staging by a poll that ended well"
        whole = set().union(*self.server.ever.values())
        for file in unproven:
            with file.open("rb") as content:
                found = file_digest(content, "sha256").digest()
            assert parse_name(file.name) is not None, f"{file.name} in staging is none of ours"
            assert found in whole, f"{file.name} in staging is no message as it was sent"

    def _may_delete(self, name: bytes) -> str:
        """Asked by the server at the moment of a DELE. What was there a moment ago is there."""
        if not self._is_safe(name):
            self._recorded = dict(self.store.seen("alice"))
            self._there = self.there()
        return "" if self._is_safe(name) else f"DELE of {name!r}, which is not recorded and in the Maildir"

    def _is_safe(self, name: bytes) -> bool:
        entry = self._recorded.get(UniqueId(name))
        if entry is None or entry.fate is not Fate.DELIVERED:
            return False
        return self._there[uid_digest("alice", UniqueId(name))] >= entry.copies

    def _poll(self, changes: dict[str, Any]) -> PollResult:
        self.events.clear()
        self.log.clear()
        self._recorded.clear()
        self._there.clear()
        with watchdog(self.patience):
            return poll_account(replace(self.account, **changes), NeverStop(), world=self.world)


def run_daemon(bench: Bench, seconds: float) -> None:
    """Runs the daemon as ``app.py`` wires it, for so long in virtual time; it polls the account about every minute."""
    settings = make_settings([replace(bench.account, interval=60.0)], state=bench.root / "state" / "fetchd.db")
    app = App(settings, renderers=[bench.world.emit], load=_no_reload)
    inbox = VirtualInbox(bench.clock)
    vars(app).update(_clock=bench.clock, _store=bench.store, inbox=inbox)
    daemon = app._daemon()
    inbox.expects_message = lambda: bool(daemon._schedule.running)
    inbox.at(seconds, Signal(signal.SIGTERM))
    daemon.run()


def _no_reload() -> Settings:
    raise AssertionError("nobody asked for a reload")


def _files(place: Path) -> list[Path]:
    """Locks count for nothing."""
    return [file for file in place.rglob("*") if file.is_file() and file.suffix != ".lock"] if place.exists() else []


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what caused it."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__
