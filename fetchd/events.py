"""The facts that fetchd reports: one class an event, its name the vocabulary of the logs.

An event is said once, by calling an :data:`Emit`; the log, the metrics and the progress bars are its renderers
(``observe/``, ``cli/progress.py``). Texts in an event are already printable (``errors.printable``); a unique-id is
raw and is escaped by who shows it. No event can carry a secret.
"""

from collections.abc import Callable
from typing import ClassVar

from fetchd.model import Outcome, PollResult, SkipReason, UniqueId
from fetchd.values import value


@value
class Event:
    """The root of all events; ``name`` and ``level`` (debug, info, warning, error) belong to the class."""

    name: ClassVar[str] = ""
    level: ClassVar[str] = "info"


Emit = Callable[[Event], None]
"""How an event is said. Never raises, and is safe to call from any thread."""


@value
class AccountEvent(Event):
    """The root of the events that concern one account."""

    account: str


# ── one poll ─────────────────────────────────────────────────────────────────────────────────────────────────────


@value
class PollStarted(AccountEvent):
    """A worker takes the account in hand."""

    name: ClassVar[str] = "poll.start"
    level: ClassVar[str] = "debug"


@value
class Traced(AccountEvent):
    """One line of the session, said only where level debug is logged.

    Attributes:
        direction: ``>`` for ours, ``<`` for the server's, ``=`` for what happened to the line itself.
        line: without a secret in it; of a message only its octets.
    """

    name: ClassVar[str] = "session.trace"
    level: ClassVar[str] = "debug"
    direction: str
    line: str


@value
class LoggedIn(AccountEvent):
    """The session is in the TRANSACTION state.

    Attributes:
        tls: the protocol version, "" on a plain line.
        mechanism: how we logged in.
        implementation: what the server calls itself, if it does (RFC 2449 §6.9).
    """

    name: ClassVar[str] = "session.login"
    level: ClassVar[str] = "debug"
    host: str
    port: int
    tls: str
    mechanism: str
    implementation: str
    capabilities: tuple[str, ...]


@value
class Planned(AccountEvent):
    """The maildrop is listed and the plan is made; ``octets`` and ``fetch_octets`` are the server's claims."""

    name: ClassVar[str] = "poll.plan"
    level: ClassVar[str] = "debug"
    messages: int
    octets: int
    fetch: int
    fetch_octets: int
    delete: int
    skip: int


@value
class Received(AccountEvent):
    """More octets of the message in hand arrived: for progress bars, never logged."""

    name: ClassVar[str] = "message.octets"
    level: ClassVar[str] = "never"
    octets: int


@value
class MessageDelivered(AccountEvent):
    """A message is published in its target, durably."""

    name: ClassVar[str] = "message.delivered"
    level: ClassVar[str] = "debug"
    uid: UniqueId | None
    octets: int
    file: str


@value
class MessageSkipped(AccountEvent):
    """A message is left on the server. ``octets`` is the server's claim, None where it made none."""

    name: ClassVar[str] = "message.skipped"
    level: ClassVar[str] = "info"
    uid: UniqueId | None
    reason: SkipReason
    octets: int | None = None
    text: str = ""


@value
class TooLarge(MessageSkipped):
    """A message is larger than ``max_size``: someone should know."""

    level: ClassVar[str] = "warning"


@value
class DeletionWithheld(MessageSkipped):
    """Messages are due to be deleted, but may be others than those delivered: see ``model.Fate.UNPROVEN``."""

    level: ClassVar[str] = "warning"
    count: int = 0
    text: str = (
        "their unique-ids were not listed for a while, or are known only by the names of files: these may be other "
        "messages than those delivered, so they stay on the server until somebody looks and deletes them there"
    )


@value
class SizesDiffer(AccountEvent):
    """Some messages, of all that were retrieved, had other sizes than the server had announced: does it mix them up?"""

    name: ClassVar[str] = "message.sizes_differ"
    level: ClassVar[str] = "warning"
    count: int
    of: int


@value
class MessagesDeleted(AccountEvent):
    """The server confirmed, by +OK to QUIT, that these are deleted."""

    name: ClassVar[str] = "message.deleted"
    level: ClassVar[str] = "debug"
    count: int


@value
class DeletionRefused(AccountEvent):
    """The server will not delete some messages that are delivered; it is asked again at the next poll."""

    name: ClassVar[str] = "message.deletion_refused"
    level: ClassVar[str] = "warning"
    count: int
    reason: str


@value
class DeletionUnconfirmed(AccountEvent):
    """QUIT was not answered by +OK: what it would have deleted is settled at the next poll."""

    name: ClassVar[str] = "session.quit_unconfirmed"
    level: ClassVar[str] = "warning"
    count: int
    reason: str


@value
class Recovered(AccountEvent):
    """An earlier run ended in the middle; what it left in staging is settled now.

    Attributes:
        finished: messages that it committed and that are published now.
        adopted: messages of which ours are the only copies, as far as can be told: never committed, and the server does
            not list them any more; or published, and the file system took that back. Published, too.
        discarded: messages that it never committed, and that are fetched again.
    """

    name: ClassVar[str] = "delivery.recovered"
    finished: int = 0
    adopted: int = 0
    discarded: int = 0


@value
class UnknownAccountHasMail(AccountEvent):
    """The store has never heard of this account, yet its target holds mail that fetchd delivered: a lost store.

    Attributes:
        recognised: messages of the listing that were delivered, as the names of files say: not fetched again.
        marked: others that are taken for delivered before, since later ones were: they stay on the server.
        unrecognised: others: fetched, whether or not they were delivered before.
    """

    name: ClassVar[str] = "store.lost"
    level: ClassVar[str] = "error"
    recognised: int
    unrecognised: int
    marked: int = 0
    text: str = (
        "the store does not know this account, but mail was delivered for it before: has the state directory been "
        "lost? Messages that are recognised in the target are not fetched again, the others are"
    )


@value
class StoreIsOlder(AccountEvent):
    """The target holds mail of a later time than the store knows of: an older store was put back.

    Attributes:
        recognised: messages of the listing that it does not know and that were delivered, as the names of files say.
    """

    name: ClassVar[str] = "store.older"
    level: ClassVar[str] = "error"
    recognised: int
    text: str = (
        "mail was delivered for this account after the last time that the store knows of: has a backup been put back? "
        "Messages that are recognised in the target are not fetched again, others since then are; what was delivered "
        "before now is not deleted on the server any more"
    )


@value
class FirstPollOf(AccountEvent):
    """The store has never heard of this account: everything listed is new, unless ``first_poll: skip``."""

    name: ClassVar[str] = "account.first_poll"
    messages: int
    text: str = "the first poll: all mail that is listed counts as new"


@value
class FirstPollAmidMail(AccountEvent):
    """The store has never heard of this account, and in its target there is mail already."""

    name: ClassVar[str] = "account.first_poll_amid_mail"
    level: ClassVar[str] = "warning"
    messages: int
    text: str = (
        "nothing is remembered of this account, so all mail that is listed counts as new; "
        "what another program has put into the target before comes again (fetchd import --seen would prevent it)"
    )


@value
class PollDone(AccountEvent):
    """The poll ended well. ``took`` is seconds."""

    name: ClassVar[str] = "poll.done"
    result: PollResult
    took: float


@value
class PollFailed(AccountEvent):
    """The poll ended in an error; what was delivered before it stays delivered.

    ``hint`` says what that most likely means at this provider; None where nothing is known of it.
    """

    name: ClassVar[str] = "poll.failed"
    level: ClassVar[str] = "warning"
    outcome: Outcome
    error: str
    retry: str
    result: PollResult
    took: float
    hint: str | None = None


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────


@value
class StoreCreated(Event):
    """No store was found where one should be; a new, empty one was made."""

    name: ClassVar[str] = "store.created"
    path: str
    text: str = (
        "a new, empty store, as it should be on the first start; later it means that the state directory was lost "
        "(a container without a volume?)"
    )


@value
class ClockWasAhead(AccountEvent):
    """The clock was ahead while mail was delivered, and is set back: that mail counts as first seen now.

    Attributes:
        unique_ids: how many were recorded at a time that is yet to come.
    """

    name: ClassVar[str] = "store.clock_was_ahead"
    level: ClassVar[str] = "warning"
    unique_ids: int
    text: str = "recorded at a time that is yet to come: their days on the server count from now on"


@value
class AccountRenamed(AccountEvent):
    """The store knew this maildrop under another name, which the configuration does not use any more."""

    name: ClassVar[str] = "store.renamed"
    was: str


# ── OAuth 2 ──────────────────────────────────────────────────────────────────────────────────────────────────────


@value
class TokenRenewed(AccountEvent):
    """The account has a new access token.

    Attributes:
        expires_at: when it runs out, Unix seconds; None where the provider does not say.
    """

    name: ClassVar[str] = "oauth.renewed"
    level: ClassVar[str] = "debug"
    expires_at: float | None


@value
class LoginExpires(AccountEvent):
    """When somebody has to run ``fetchd login`` again: said when it becomes known, and when it changes.

    Attributes:
        at: Unix seconds, in the past where the provider has ended the login already; None where nobody can tell.
    """

    name: ClassVar[str] = "oauth.login_expires"
    level: ClassVar[str] = "debug"
    at: float | None


@value
class RenewalFailed(AccountEvent):
    """An access token could not be renewed ahead of time; the one in hand is good for a while yet."""

    name: ClassVar[str] = "oauth.renewal_failed"
    level: ClassVar[str] = "warning"
    error: str


# ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────


@value
class DaemonStarted(Event):
    """The configuration is live."""

    name: ClassVar[str] = "daemon.started"
    version: str
    accounts: int
    config: str
    state: str


@value
class ConfigWarning(Event):
    """Something in the configuration works but will hurt."""

    name: ClassVar[str] = "config.warning"
    level: ClassVar[str] = "warning"
    text: str


@value
class Reloaded(Event):
    """SIGHUP: the new configuration is live."""

    name: ClassVar[str] = "config.reloaded"
    accounts: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@value
class ReloadFailed(Event):
    """SIGHUP: the new configuration is bad; the old one keeps running."""

    name: ClassVar[str] = "config.reload_failed"
    level: ClassVar[str] = "error"
    problems: tuple[str, ...]


@value
class PollAllRequested(Event):
    """SIGUSR1: every account is due now."""

    name: ClassVar[str] = "daemon.poll_all"


@value
class PollScheduled(AccountEvent):
    """When the account is polled next. ``at`` is Unix seconds, ``delay`` seconds from now.

    ``retry`` is what the scheduler made of the last error (``errors.Retry``), None after a success.
    """

    name: ClassVar[str] = "poll.next"
    level: ClassVar[str] = "debug"
    at: float
    delay: float
    failures: int
    retry: str | None = None


@value
class Stopping(Event):
    """A signal asked us to stop; sessions in hand finish their message or drop it."""

    name: ClassVar[str] = "daemon.stopping"
    signal: str
    sessions: int


@value
class Stopped(Event):
    """The end. ``abandoned`` are accounts whose session did not end in time; the next start settles them."""

    name: ClassVar[str] = "daemon.stopped"
    abandoned: tuple[str, ...] = ()


@value
class InternalError(AccountEvent):
    """A bug in fetchd: the poll ended, the daemon goes on. ``trace`` is for the bug report."""

    name: ClassVar[str] = "internal.error"
    level: ClassVar[str] = "error"
    error: str
    trace: str


@value
class HttpListening(Event):
    """The HTTP endpoint is up."""

    name: ClassVar[str] = "http.listening"
    address: str
