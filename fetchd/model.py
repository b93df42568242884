"""The values that the rooms of fetchd hand to each other: frozen, slotted, without behaviour of their own.

Units are in the names or the docstrings: times are seconds (``float`` where monotonic or a duration, ``int`` Unix
seconds where stored), sizes are octets. A unique-id is opaque ``bytes`` (RFC 1939 §7), a message number is an ``int``
that means something only within one session.
"""

from collections.abc import Mapping
from dataclasses import field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final, NewType
from urllib.parse import unquote, urlsplit

from fetchd.values import value

POP3_PORT: Final = 110
"""RFC 1939 §3."""
POP3S_PORT: Final = 995
"""POP3 over implicit TLS, RFC 8314 §3.2."""
UNIX_PREFIX: Final = "unix:"
"""What stands before the path where an account's host is a Unix socket."""

UniqueId = NewType("UniqueId", bytes)
"""A server's name for a message, as UIDL gives it: opaque octets without a line end, compared bytewise."""


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Secret:
    """A password in memory. Neither ``repr`` nor ``str`` nor pickling shows it; only :meth:`reveal` does."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Returns the secret's octets; the caller puts them on the wire and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


@value
class SecretFile:
    """The secret is a file's content, less one trailing line end."""

    path: Path


@value
class SecretEnv:
    """The secret is an environment variable's value."""

    variable: str


@value
class SecretCommand:
    """The secret is what a command prints, less one trailing line end; run without a shell."""

    argv: tuple[str, ...]


@value
class SecretCredential:
    """The secret is a systemd credential: the file of that name in ``$CREDENTIALS_DIRECTORY``."""

    name: str


@value
class SecretKeyring:
    """The secret is an entry of the system's keyring: what it is for, and whose it is."""

    service: str
    user: str


@value
class SecretValue:
    """The secret stands in the configuration itself."""

    value: Secret


SecretSource = SecretFile | SecretEnv | SecretCommand | SecretCredential | SecretKeyring | SecretValue
"""Where a secret is to be had. It is read anew at every login, so that a rotated password needs no reload."""


@value
class SecretOAuth:
    """The secret is an OAuth 2 access token that ``fetchd login`` got, and that fetchd renews.

    Attributes:
        account: whose token it is, and what its file is called by.
        user: the mailbox, to be proposed to who logs in.
        provider: ``google``, ``microsoft`` or ``custom``; the endpoints and the scope of the first two are known.
        client_id, client_secret: of the application that the account's owner registered; not every one has a secret.
        tenant: Microsoft's; "" for any.
        scope: what to ask for; "" for the provider's usual.
        authorization_endpoint, token_endpoint, device_authorization_endpoint: URLs, of ``custom`` alone.
    """

    account: str
    user: str
    provider: str
    client_id: str
    client_secret: SecretSource | None = None
    tenant: str = ""
    scope: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    device_authorization_endpoint: str = ""


# ── an account, as configured ────────────────────────────────────────────────────────────────────────────────────


class TlsMode(StrEnum):
    """How the line is protected. There is no "if available": what is asked for is had, or the session ends."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


@value
class Tls:
    """The TLS settings of one account; chain and host name are verified unless ``fingerprint`` pins the certificate.

    Attributes:
        ca_file: PEM file of the authorities to trust instead of the system's.
        fingerprint: SHA-256 of the server's DER certificate, 32 octets; trusted instead of any chain.
        client_cert, client_key: PEM files of the certificate that we show.
        server_name: the name to verify, and to send as SNI, instead of the account's host.
    """

    mode: TlsMode = TlsMode.IMPLICIT
    ca_file: Path | None = None
    fingerprint: bytes | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    server_name: str | None = None


CHALLENGED_WAYS: Final = (
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "CRAM-MD5",
    "APOP",
)
"""The ways to log in that never send the password itself, the strongest first."""
PASSWORD_WAYS: Final = (*CHALLENGED_WAYS, "PLAIN", "LOGIN", "USER")
"""The ways to log in with a password, the strongest first. USER (and PASS) and APOP are commands of POP3's own (RFC
1939 §7), all others are SASL mechanisms."""
TOKEN_WAYS: Final = ("OAUTHBEARER", "XOAUTH2")
"""The ways to log in with an OAuth 2 access token, the standard first: Microsoft has XOAUTH2 only."""
CERTIFICATE_WAY: Final = "EXTERNAL"
LOGIN_WAYS: Final = (*PASSWORD_WAYS, *TOKEN_WAYS, CERTIFICATE_WAY)
"""All of them: what an account's ``mechanism`` may be."""


class ProxyKind(StrEnum):
    """What a proxy speaks."""

    SOCKS5 = "socks5"
    HTTP = "http"


@value
class Proxy:
    """A proxy to connect through; it resolves the server's name. TLS goes through it to the server."""

    kind: ProxyKind
    host: str
    port: int
    user: str = ""
    password: Secret | None = None


PROXY_EXPECTED: Final = "expected socks5://[user:password@]host:port, or http:// likewise"


def parse_proxy(url: str, *, password_apart: bool = False) -> Proxy:
    """Returns the proxy that a URL names: ``socks5://[user:password@]host:port``, or ``http://…`` for CONNECT.

    ``socks5h`` is another name for ``socks5``. User and password may be percent-encoded. ``password_apart`` allows a
    user without a password.

    Raises:
        ValueError: it is none; the message never repeats the URL, for there may be a password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        kind = ProxyKind("socks5" if parts.scheme == "socks5h" else parts.scheme)
    except ValueError:
        raise ValueError(PROXY_EXPECTED) from None  # the error itself quotes what it could not read
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    half = not parts.username if parts.password else parts.username and not password_apart
    if not (host and port) or beyond or half:
        raise ValueError(PROXY_EXPECTED)
    password = Secret(unquote(parts.password).encode()) if parts.password else None
    return Proxy(kind, host, port, user=unquote(parts.username or ""), password=password)


@value
class Owner:
    """The user with whose rights fetchd, where it runs as root, works in a mailbox, and whose the mail is.

    Attributes:
        name: as configured, for messages.
        groups: the ids of the user's own groups; ``gid``, the group of what is created, is not always one of them.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


@value
class MaildirTarget:
    """Deliver into this Maildir; ``create_parents`` allows creating the directories above it too."""

    path: Path
    create_parents: bool = False
    owner: Owner | None = None


@value
class MboxTarget:
    """Append to this mbox (mboxrd quoting)."""

    path: Path
    create_parents: bool = False
    owner: Owner | None = None


Target = MaildirTarget | MboxTarget


def target_text(target: Target) -> str:
    """Returns a target as one line of text for the store: ``maildir:PATH`` or ``mbox:PATH``."""
    return f"{'maildir' if isinstance(target, MaildirTarget) else 'mbox'}:{target.path}"


def parse_target(text: str, *, owner: Owner | None = None) -> Target:
    """Returns the target that :func:`target_text` wrote; it is never created anew, so neither are its parents.

    ``owner`` is the account's as configured now: the text tells where, not whose.
    """
    kind, _, path = text.partition(":")
    return MaildirTarget(Path(path), owner=owner) if kind == "maildir" else MboxTarget(Path(path), owner=owner)


class FirstPoll(StrEnum):
    """What the first poll of an account does with the mail that is already there."""

    ALL = "all"
    SKIP = "skip"


class UniqueIdsChanged(StrEnum):
    """What to do when not one known unique-id is listed any more, as after a server migration."""

    STOP = "stop"
    FETCH = "fetch"
    SKIP = "skip"


@value
class Policy:
    """What to fetch from an account, and what to delete there.

    Attributes:
        delete_after: seconds from first seen to deletion on the server; 0 deletes as soon as the delivered copy is on
            disk, None never deletes.
        max_size: octets; larger messages stay on the server and are reported.
        max_messages: the most messages fetched in one poll.
    """

    delete_after: int | None = None
    first_poll: FirstPoll = FirstPoll.ALL
    unique_ids_changed: UniqueIdsChanged = UniqueIdsChanged.STOP
    max_size: int | None = None
    max_messages: int | None = None


@value
class Account:
    """One POP3 account as configured.

    Attributes:
        host: a name or an address; or ``unix:`` and the path of a Unix socket, which has no port.
        interval: seconds between two polls that succeed.
        timeout: seconds that connecting, the TLS handshake, the greeting, and every single read or write, may take.
        login_timeout: seconds that the login may take as a whole; None for twice the timeout.
        session_timeout: seconds that one session may take as a whole.
        minimum_rate: octets a second; a reply that comes in slower for a minute ends the session. 0: no such limit.
        source_address: the IP address of ours to connect from; None leaves that to the system.
        proxy: to connect through; None connects directly.
        proxy_password: where the proxy's password is to be had, if it does not stand in ``proxy``.
        mechanism: the one way to log in, as ``POP3Session.login`` takes it; "" for the strongest that is offered.
    """

    name: str
    host: str
    port: int
    tls: Tls
    user: str
    password: SecretSource | SecretOAuth
    target: Target
    policy: Policy = Policy()
    interval: float = 300.0
    timeout: float = 60.0
    session_timeout: float = 3600.0
    allow_plaintext_password: bool = False
    login_timeout: float | None = None
    minimum_rate: int = 100
    source_address: str | None = None
    proxy: Proxy | None = None
    proxy_password: SecretSource | None = None
    mechanism: str = ""


@value
class LogSettings:
    """How events are written: ``format`` is auto, console or json; ``level`` debug, info, warning or error."""

    format: str = "auto"
    level: str = "info"


@value
class MetricsSettings:
    """What /metrics tells: ``per_account`` series, or sums over all accounts."""

    per_account: bool = True


@value
class NoticeSettings:
    """Who is told that an account fails, and that it is well again.

    Attributes:
        after: failures in a row before anybody is told.
        command: is run, without a shell; empty for none.
        timeout: seconds that the command may take.
        deliver: whether a message is delivered into the account's own Maildir.
    """

    after: int = 3
    command: tuple[str, ...] = ()
    timeout: float = 30.0
    deliver: bool = False


@value
class HttpAddress:
    """Where the status page, metrics and health are served.

    Attributes:
        host: a name or an address; or ``unix:`` and the path of a Unix socket, which has no port (0).
    """

    host: str
    port: int


@value
class Settings:
    """A whole configuration file, checked. ``warnings`` are lines about what works but will hurt."""

    source: Path
    accounts: Mapping[str, Account]
    state: Path
    http: HttpAddress | None = None
    metrics: MetricsSettings = MetricsSettings()
    notices: NoticeSettings | None = None
    log: LogSettings = LogSettings()
    workers: int = 64
    sessions_per_host: int = 4
    warnings: tuple[str, ...] = ()


# ── what a server says ───────────────────────────────────────────────────────────────────────────────────────────


@value
class Reply:
    """One status reply.

    Attributes:
        ok: whether it was ``+OK``.
        text: what follows the status indicator, without the response code.
        code: the RFC 2449 §8 response code in upper case without its brackets, for example ``SYS/TEMP``; or "".
    """

    ok: bool
    text: bytes = b""
    code: str = ""


@value
class MessageInfo:
    """One line of LIST: a message number and the size in octets that the server claims (a hint, never a promise)."""

    number: int
    size: int


@value
class Capabilities:
    """The answer to CAPA (RFC 2449 §5): each capability in upper case, with its parameters as sent."""

    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __contains__(self, capability: object) -> bool:
        return capability in self.items

    def parameters(self, capability: str) -> tuple[str, ...]:
        """Returns a capability's parameters; empty where it is absent or has none."""
        return self.items.get(capability, ())


# ── what is listed, what is remembered, what to do ───────────────────────────────────────────────────────────────


@value
class MessageRef:
    """One message of a listing: its number in this session, its unique-id, and the size the server claims.

    ``uid`` is None where the server has no UIDL; ``size`` is None where LIST left the message out.
    """

    number: int
    uid: UniqueId | None
    size: int | None


class Fate(IntEnum):
    """How a unique-id came to be known. The stored numbers never change their meaning."""

    DELIVERED = 1
    """We delivered it and have the record: it may be deleted on the server."""
    SKIPPED = 2
    """It was there before us and was marked as seen: it is never ours to delete."""
    UNPROVEN = 3
    """We delivered a message under it, but it was not listed all the time since, or only a file's name says so: what it
    names now may be another message (RFC 1939 §7), so that is neither fetched again nor ours to delete."""


@value
class Seen:
    """What the store remembers of one unique-id of an account.

    Attributes:
        copies: how many messages with this unique-id are accounted for (RFC 1939 §7 permits identical copies to share).
        first_seen: Unix seconds.
        fate: DELIVERED only if every copy was, and the unique-id was listed ever since.
        listed: False once a complete listing did not show it.
    """

    copies: int
    first_seen: int
    fate: Fate
    listed: bool = True


@value
class Deletion:
    """What DELE and QUIT asked for under one unique-id, for the next listing to settle, whatever QUIT's answer was.

    Attributes:
        copies: how many messages with this unique-id.
        size: octets that the server claimed for each of them; None where it made no claim.
    """

    copies: int
    size: int | None = None


@value
class Remembered:
    """What the store has of an account that a plan needs; by default, of one that it never heard of.

    Attributes:
        known: whether the account was ever polled to the end of a listing.
        seen, troubled, deletions: see ``fetchd.plan.make_plan``.
        not_before: Unix seconds at which the server lets us in again (LOGIN-DELAY); 0 if it never said.
    """

    known: bool = False
    seen: Mapping[UniqueId, Seen] = field(default_factory=dict)
    troubled: Mapping[UniqueId, int] = field(default_factory=dict)
    deletions: "Mapping[UniqueId, Deletion]" = field(default_factory=dict)
    not_before: int = 0


@value
class AllKnown:
    """A listing of which everything is known, so that there is nothing to do when it comes again.

    Attributes:
        listing: BLAKE2b-128 of the unique-ids, in the order listed.
        oldest: Unix seconds: the earliest ``first_seen`` of what may come to be deleted; None where nothing may.
    """

    listing: bytes
    oldest: int | None = None


class SkipReason(StrEnum):
    """Why a listed message is neither fetched nor already known; or is known, and stays though it is due to go."""

    TOO_LARGE = "too_large"
    OVER_LIMIT = "over_limit"
    FIRST_POLL = "first_poll"
    REFUSED = "refused"
    SERVER_MIGRATED = "server_migrated"
    TROUBLED = "troubled"
    """It broke a session before, within a day, and there is other work to do."""
    UNPROVEN = "unproven"
    """It is due to be deleted, but may be another message than the one delivered: see :attr:`Fate.UNPROVEN`."""


@value
class Skip:
    """A message that this poll leaves alone, and why."""

    ref: MessageRef
    reason: SkipReason


@value
class Plan:
    """What one poll does, in the order of message numbers.

    Attributes:
        fetch: to be fetched.
        delete: known, delivered and due to be deleted now.
        mark: to be remembered as seen without fetching.
        skip: left alone this time, with the reason.
        vanished: unique-ids that were listed at the last poll and are not any more, and not by our doing.
        returned: unique-ids that had vanished and are listed again: UNPROVEN from here on.
        forgotten: unique-id → copies that are gone for good; under it, another message is a new one.
        settled: unique-ids whose :class:`Deletion` this listing has settled, one way or the other.
    """

    fetch: tuple[MessageRef, ...] = ()
    delete: tuple[MessageRef, ...] = ()
    mark: tuple[MessageRef, ...] = ()
    skip: tuple[Skip, ...] = ()
    vanished: tuple[UniqueId, ...] = ()
    returned: tuple[UniqueId, ...] = ()
    forgotten: Mapping[UniqueId, int] = field(default_factory=dict)
    settled: tuple[UniqueId, ...] = ()


# ── a message on its way to disk ─────────────────────────────────────────────────────────────────────────────────


@value
class Staged:
    """A complete message in the staging directory, not yet visible to anybody.

    Attributes:
        name: its file name there, and later in ``new/``.
        size: octets on disk, that is after CRLF → LF.
    """

    name: str
    size: int


@value
class Committed:
    """A staged message that the store has recorded for its target: it will be published, whatever happens.

    Attributes:
        uid: None where the server has no UIDL, or where it is not certain which message this is.
        staged: the file in staging.
        target: the target that it was staged for, as :func:`target_text` writes it; the store records it, so that a
            crash followed by a changed configuration publishes the message where it was going.
    """

    uid: UniqueId | None
    staged: Staged
    target: str = ""


@value
class LastCommit:
    """What the store knows of the names of an account's messages: one that is newer shows that the store is older.

    A name tells the Unix seconds at which its message was staged. Batches are committed in the order in which they
    were staged, but the next one is staged by then: so it is names that are compared, and not the time of a commit.

    Attributes:
        newest: the newest second of all names that were ever committed; 0 where none was.
        messages: how many of these names tell that second.
        latest: the newest second of the last batch, or the time of a listing since then that found the clock to have
            stepped back: less than ``newest`` where the clock was ahead once.
    """

    newest: int = 0
    messages: int = 0
    latest: int = 0


@value
class Placement:
    """Where a batch is being appended to an mbox: recorded before the first octet is written.

    Attributes:
        inode: of the mbox file, so that a file that was replaced meanwhile is not mistaken for it.
        offset: octets from the file's start to the batch's first.
        length: octets of the whole batch as written, quoting and separators included.
        digest: BLAKE2b-128 of these octets.
        names: of the staged messages, in the order written.
        done: whether the append is known to be on disk.
    """

    inode: int
    offset: int
    length: int
    digest: bytes
    names: tuple[str, ...]
    done: bool = False


@value
class Failing:
    """That an account fails: since when (Unix seconds), how many polls in a row, and whether that was told."""

    since: int
    failures: int = 0
    told: bool = False


@value
class AccountRecord:
    """What the store tells of an account. Times are Unix seconds, None where there was none.

    ``not_before`` is when the server lets us in again (LOGIN-DELAY); 0 if it never said.
    """

    name: str
    user: str
    host: str
    seen: int
    delivered: int
    last_success: int | None = None
    last_failure: int | None = None
    last_error: str = ""
    not_before: int = 0


class Outcome(StrEnum):
    """How a poll ended: the label ``outcome`` of ``fetchd_polls_total``."""

    OK = "ok"
    NETWORK = "network"
    TLS = "tls"
    PROTOCOL = "protocol"
    AUTH = "auth"
    BUSY = "busy"
    REFUSED = "refused"
    POLICY = "policy"
    SECRET = "secret"  # noqa: S105 - a label
    DELIVERY = "delivery"
    STORE = "store"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


@value
class PollResult:
    """One poll of one account, finished.

    Attributes:
        delivered: messages published in the target.
        octets: of these, as on disk.
        deleted: messages whose deletion the server confirmed at QUIT.
        skipped: messages left alone, by reason.
        maildrop_messages, maildrop_octets: what the maildrop held when it was listed; None if it never was.
        more: True where ``max_messages`` left messages for another poll.
        login_delay: seconds that the server wants between two logins; 0 if it does not say.
    """

    account: str
    delivered: int = 0
    octets: int = 0
    deleted: int = 0
    skipped: Mapping[SkipReason, int] = field(default_factory=dict)
    maildrop_messages: int | None = None
    maildrop_octets: int | None = None
    more: bool = False
    login_delay: int = 0
