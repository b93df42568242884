"""The seams of fetchd on one page: what the use case and the daemon need of the world outside.

``fetch.py`` and ``daemon.py`` know these and nothing behind them; ``app.py`` names the classes that fill them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Protocol, Self

from fetchd.errors import MessageRefusedError, POP3Error
from fetchd.events import Emit
from fetchd.model import (
    Account,
    AccountRecord,
    AllKnown,
    Capabilities,
    Committed,
    Deletion,
    Fate,
    LastCommit,
    Placement,
    PollResult,
    Secret,
    SecretOAuth,
    SecretSource,
    Seen,
    Staged,
    UniqueId,
)
from fetchd.values import value

Write = Callable[[bytes | bytearray | memoryview], object]
"""Takes the next octets of a message body; the buffer is valid only during the call."""


class Clock(Protocol):
    """Time, so that tests can own it."""

    def wall(self) -> float:
        """Returns Unix seconds; may step in either direction."""
        ...

    def monotonic(self) -> float:
        """Returns seconds that only grow; for deadlines and durations."""
        ...


class StopSignal(Protocol):
    """Whether fetchd was asked to stop."""

    def requested(self) -> bool:
        """Returns True once a stop was asked for: start nothing new."""
        ...

    def overdue(self) -> bool:
        """Returns True once the grace is over too: drop the message in hand."""
        ...


class Secrets(Protocol):
    """Where passwords and access tokens come from."""

    def reveal(self, source: SecretSource | SecretOAuth) -> Secret:
        """Returns the secret; an access token that is about to run out is renewed first.

        Raises:
            SecretError: it cannot be had, is empty, or holds CR, LF or NUL.
            NetworkError: the token has run out, and who renews it cannot be reached now.
        """
        ...

    def renew(self, source: SecretOAuth, refused: Secret) -> Secret | None:
        """Returns another access token in place of one that a server refused; None where another would be no better.

        Raises:
            SecretError, NetworkError: as :meth:`reveal`.
        """
        ...


# ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────


@value
class Retrieved:
    """One RETR answered in full: ``octets`` passed to the sink, or the server's refusal of that one message."""

    number: int
    octets: int = 0
    refused: MessageRefusedError | None = None


@value
class InStep:
    """The server was asked for proof that all that was retrieved so far is what it is said to be.

    ``proven`` is False where it would not answer; where its answer shows that it is out of step, there is an error.
    """

    proven: bool = True


@value
class Deleted:
    """One DELE answered: marked for deletion, or refused."""

    number: int
    refused: MessageRefusedError | None = None


@value
class Survey:
    """What is in a maildrop, as the server claims.

    Attributes:
        messages, octets: STAT's.
        uids: UIDL's, message number → unique-id; None where the server refuses UIDL (``no_uidl`` says how).
        sizes: LIST's, message number → octets.
        no_uidl: the refusal.
    """

    messages: int
    octets: int
    uids: Mapping[int, UniqueId] | None
    sizes: Mapping[int, int]
    no_uidl: POP3Error | None = None


class Maildrop(Protocol):
    """A POP3 session in the TRANSACTION state, as the use case sees it.

    Every method raises ``NetworkError``, ``ProtocolError`` or ``POP3Error``. As a context manager it quits on success
    and drops the line without QUIT on an exception, so that an unwinding stack never commits a deletion.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    @property
    def tls_version(self) -> str:
        """The TLS protocol in use, for example ``TLSv1.3``; "" on a plain line."""
        ...

    @property
    def tls_cipher(self) -> str:
        """The cipher suite in use, as OpenSSL names it; "" on a plain line."""
        ...

    @property
    def certificate_expires(self) -> float | None:
        """When the server's certificate runs out, Unix seconds; None on a plain line, and where it is pinned."""
        ...

    def capabilities(self) -> Capabilities:
        """Returns what CAPA said after the login; empty where the server has no CAPA."""
        ...

    @property
    def mechanism(self) -> str:
        """The way in which the login succeeded, for example ``SCRAM-SHA-256`` or ``USER``."""
        ...

    def survey(self) -> Survey:
        """Returns what is in the maildrop: STAT, UIDL and LIST, in one go where the server can."""
        ...

    def retrieve_proven(
        self, numbers: Sequence[int], sink: Callable[[int], Write], *, proofs: AbstractSet[int]
    ) -> Iterator[Retrieved | InStep]:
        """Retrieves messages in order, several in flight where the server can; yields as each one is complete.

        After each message whose number is in ``proofs``, the server has to show that it has answered everything once
        and nothing twice: a reply too many or too few would give messages the unique-ids of others.

        ``sink(number)`` is called when a message's first octets are at hand and returns where they go. What the sink
        or its write raises passes through, after which the session is broken: no further command, no QUIT.
        """
        ...

    def check_in_step(self) -> None:
        """Returns if the server has answered everything once and nothing twice, which a NOOP shows.

        Raises:
            ProtocolError: it has not.
        """
        ...

    def delete_each(self, numbers: Sequence[int]) -> Iterator[Deleted]:
        """Marks messages for deletion, several in flight where the server can."""
        ...

    def quit(self) -> None:
        """Sends QUIT and returns when the server has confirmed it; closes the line in any case."""
        ...

    def leave(self) -> None:
        """Sends QUIT and closes the line without waiting for an answer: where nothing is marked for deletion."""
        ...

    def close(self) -> None:
        """Drops the line without a word. Deletes nothing, never raises, may be called twice."""
        ...


Connect = Callable[[Account, Secret], Maildrop]
"""Connects, secures the line, logs in. Raises ``NetworkError``, ``TlsError``, ``ProtocolError``, ``POP3Error``."""


# ── the target ───────────────────────────────────────────────────────────────────────────────────────────────────


class StagedFile(Protocol):
    """A message being written into staging. Either :meth:`finish` or :meth:`abandon` ends it."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends octets as they came from the wire; CRLF is stored as LF, over any chunk's edge."""
        ...

    def finish(self) -> Staged:
        """Ends a message whose terminator was seen: the file has its final name from here on, and waits for a flush."""
        ...

    def abandon(self) -> None:
        """Removes what was written. Never raises."""
        ...


class Journal(Protocol):
    """The part of the store that an mbox needs while it appends: see DESIGN §4 and ``docs/architecture.md``."""

    def appending(self, placement: Placement) -> None:
        """Records, durably, where a batch is about to be appended."""
        ...

    def appended(self, placement: Placement) -> None:
        """Records, durably, that the batch is on disk."""
        ...

    def placements(self) -> Sequence[Placement]:
        """Returns the appends that were recorded and not yet settled, oldest first."""
        ...


class Delivery(Protocol):
    """One account's way into its target: stage → (the store commits) → publish.

    One instance serves one session of one account; several may work on the same target at a time. Every method
    raises ``DeliveryError`` and leaves the target readable.
    """

    @property
    def publishes_by_moving(self) -> bool:
        """Whether publishing moves the staged file itself, so that one that is staged is at no other place."""
        ...

    def prepare(self, *, create: bool = True, waiting: bool = True) -> None:
        """Checks the target and its staging, and removes this account's half-written files.

        Args:
            create: False where mail was delivered into this target before, or waits in its staging: a missing one
                means a missing mount, and creating it anew would hide new mail, or take what waits for published. An
                error, not a mkdir.
            waiting: of such a target, whether mail waits in its staging to be published.
        """
        ...

    def ready(self) -> None:
        """Returns when the target is checked closely: before anything is fetched or deleted.

        :meth:`prepare` may leave that for later where nothing has changed since an earlier session.
        """
        ...

    def leftovers(self) -> Sequence[str]:
        """Returns the names of this account's complete files in staging."""
        ...

    def stage(self, name: str) -> StagedFile:
        """Opens a new file in staging."""
        ...

    def flush_batch(self, batch: Sequence[Staged]) -> bool:
        """Returns when these finished files, and their names in staging, are on disk. Raises with the batch undone.

        Returns:
            Whether this has sealed all that was published before, too.
        """
        ...

    def publish(self, batch: Sequence[Committed], journal: Journal) -> None:
        """Makes a committed batch visible to mail readers. May be called again after a failure."""
        ...

    def seal(self) -> None:
        """Returns when all that was published is on disk where it was published: the store may forget about it then."""
        ...

    def recover(self, batch: Sequence[Committed], journal: Journal) -> int:
        """Publishes and seals what an earlier run committed and may not have; returns how many were still to do."""
        ...

    def adopt(self, name: str) -> Staged:
        """Returns a complete file in staging that the store knows nothing of, and puts it on disk."""
        ...

    def discard(self, names: Sequence[str]) -> None:
        """Removes complete files from staging that the store knows nothing of and that will be fetched again."""
        ...

    def delivered(self, *, since: int = -1) -> Iterator[str]:
        """Yields the names of this account's messages that the target can still tell, subfolders and all.

        Nothing for an mbox. With ``since`` (Unix seconds), only those that were staged after it.
        """
        ...

    def has_mail(self) -> bool:
        """Returns whether the target holds any mail, whoever delivered it."""
        ...


OpenDelivery = Callable[[Account], Delivery]
"""Returns the delivery for an account's target; touches nothing yet."""


# ── the memory ───────────────────────────────────────────────────────────────────────────────────────────────────


class Store(Protocol):
    """What fetchd remembers. Every writing method is one transaction, durable on return; all raise ``StoreError``.

    After an error nothing is assumed: a failed commit may have happened. Ask :meth:`outbox`. Safe for many threads.
    """

    def knows(self, account: str) -> bool:
        """Returns whether this account was ever polled to the end of a listing."""
        ...

    def seen(self, account: str) -> Mapping[UniqueId, Seen]:
        """Returns every unique-id that is remembered for the account."""
        ...

    def troubled(self, account: str) -> Mapping[UniqueId, int]:
        """Returns the unique-ids whose retrieval broke a session, and when it last did (Unix seconds)."""
        ...

    def mark_troubled(self, account: str, uid: UniqueId, *, now: int) -> None:
        """Remembers that a session broke while this message was in hand; delivering it forgets that."""
        ...

    def commit(self, account: str, batch: Sequence[Committed], *, now: int, settled: Sequence[str] = ()) -> None:
        """Records a staged batch, seen and to be published: the one point of truth (DESIGN §4).

        Args:
            account: the account's name.
            batch: the messages, flushed in staging.
            now: Unix seconds; becomes ``first_seen`` of what is new.
            settled: names of an earlier batch that is published and durable: forgotten in the same transaction.
        """
        ...

    def settle(
        self, account: str, names: Sequence[str], *, durable: bool = True, known: AllKnown | None = None
    ) -> None:
        """Forgets names (and placements of them) that are published and durable.

        Args:
            account: the account's name.
            names: of the messages, as staged.
            durable: False where nothing is lost if the machine's power takes it back: the next recovery then finds
                these published.
            known: a listing of which everything is known with these: until anything changes, :meth:`all_known` has it.
        """
        ...

    def outbox(self, account: str) -> Sequence[Committed]:
        """Returns what was committed and not yet settled, in the order committed, each with its target."""
        ...

    def delivered_into(self, target: str) -> bool:
        """Returns whether a batch was ever committed for this target (``model.target_text``), by whichever account."""
        ...

    def mark(self, account: str, uids: Sequence[UniqueId], *, fate: Fate, now: int) -> None:
        """Remembers listed messages as seen without fetching them; one copy for each time a unique-id occurs."""
        ...

    def take_over(self, account: str, known: Mapping[UniqueId, Seen], *, now: int) -> None:
        """Remembers what another program fetched before us. The account is known from here on.

        What is known already keeps its earliest ``first_seen`` and its larger count; a repetition changes nothing.
        """
        ...

    def listed(
        self,
        account: str,
        *,
        vanished: Sequence[UniqueId],
        returned: Sequence[UniqueId],
        now: int,
        forgotten: Mapping[UniqueId, int] = ...,
        settled: Sequence[UniqueId] = (),
        known: AllKnown | None = None,
    ) -> int:
        """Records a listing: the account is known from here on; purges what vanished 90 days ago.

        Args:
            account: the account's name.
            vanished: not listed any more, and not by our doing.
            returned: had vanished, and is listed again: what was DELIVERED is UNPROVEN from here on.
            now: Unix seconds.
            forgotten: unique-id → copies of it that are not accounted for any more; one without copies is unheard of.
            settled: unique-ids whose :class:`Deletion` is settled.
            known: this listing, if everything in it is known: until anything changes, :meth:`all_known` has it.

        Returns:
            How many unique-ids were recorded at a time yet to come, by a clock that was ahead, and count as first seen
            now from here on: noticed once, by the first listing after the clock was set back by a day or more.
        """
        ...

    def all_known(self, account: str) -> AllKnown | None:
        """Returns the listing of which everything is known, if nothing has changed since it was recorded."""
        ...

    def is_listed_since_opened(self, account: str) -> bool:
        """Returns whether a listing of the account was recorded since the store was opened, or put back meanwhile."""
        ...

    def last_commit(self, account: str) -> LastCommit:
        """Returns which names of files the store knows of, by their age."""
        ...

    def doubt(self, account: str) -> None:
        """Makes nothing that was delivered so far ours to delete any more: its fate is UNPROVEN from here on."""
        ...

    def deleting(self, account: str, deletions: Mapping[UniqueId, Deletion]) -> None:
        """Records, before QUIT is sent, what it is going to delete."""
        ...

    def deletions(self, account: str) -> Mapping[UniqueId, Deletion]:
        """Returns what :meth:`deleting` recorded and no listing has settled since."""
        ...

    def journal(self, account: str) -> Journal:
        """Returns the account's journal of appends to its mbox."""
        ...

    def poll_ended(self, account: str, result: PollResult, *, error: str, now: int) -> None:
        """Records the end of a poll for ``fetchd status``; ``error`` is "" where it ended well."""
        ...

    def accounts(self) -> Sequence[AccountRecord]:
        """Returns a line for every account that the store has heard of."""
        ...


# ── the use case: what it works with, and how the daemon sees it ─────────────────────────────────────────────────


class Lane(Protocol):
    """A second hand for one session, so that a batch goes to disk while the next one is coming in.

    One thing at a time, in the order given. What it raises is raised by the next :meth:`start` or :meth:`wait`.
    """

    def start(self, work: Callable[[], object]) -> None:
        """Begins ``work`` once what was begun before has ended; does not where that raised."""
        ...

    def wait(self) -> None:
        """Returns when nothing is under way."""
        ...


@value
class BatchLimits:
    """When a batch is closed, whichever comes first; ``seconds`` bounds how long mail stays invisible.

    Two batches may be in flight in one session: one that goes to disk, and one that is coming in.
    """

    messages: int = 128
    octets: int = 16 * 2**20
    seconds: float = 1.0


@value
class World:
    """What the use case works with; ``app.py`` fills it.

    ``nonce`` returns 64 random bits, ``host`` is our name, ``lane`` makes a second hand for one session.
    """

    connect: Connect
    open_delivery: OpenDelivery
    store: Store
    secrets: Secrets
    clock: Clock
    emit: Emit
    nonce: Callable[[], int]
    host: str
    lane: Callable[[], Lane]
    limits: BatchLimits = BatchLimits()

    def now(self) -> int:
        """Returns Unix seconds."""
        return int(self.clock.wall())


Poll = Callable[[Account, StopSignal], PollResult]
"""Polls one account once. Raises ``AccountError``; anything else is a bug in fetchd."""
