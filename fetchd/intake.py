"""The way of a message from the session into its target: stage → flush → commit → publish, in batches (DESIGN §4).

The order stands here and nowhere else. Nothing is published before it is committed, and what a failed commit did is
never guessed: the staged files stay, and the next poll's recovery asks the store.
"""

import errno
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fetchd import events
from fetchd.errors import AccountError, DeliveryError, Interrupted, NetworkError, POP3Error, ProtocolError, StoreError
from fetchd.model import Account, AllKnown, Committed, MessageRef, PollResult, SkipReason, Staged, target_text
from fetchd.names import NO_UNIQUE_ID, message_name
from fetchd.ports import Delivery, InStep, Maildrop, StagedFile, StopSignal, World, Write

SIZE_SLACK: Final = 1.25
"""How far beyond ``max_size`` a body may run before the session is broken: sizes in LIST are hints (FACTS §5)."""
_PROOF_MESSAGES: Final = 64
_PROOF_OCTETS: Final = 2**20
"""How much is retrieved from one proof to the next, at most: it waits for the proof before it is delivered."""
_STOPPED: Final = "asked to stop: what is not fetched yet is fetched next time"


@dataclass(slots=True)
class Tally:
    """What one poll has done so far."""

    account: str
    delivered: int = 0
    octets: int = 0
    deleted: int = 0
    more: bool = False
    login_delay: int = 0
    maildrop_messages: int | None = None
    maildrop_octets: int | None = None
    skipped: Counter[SkipReason] = field(default_factory=Counter)

    def result(self) -> PollResult:
        """Returns the tally as a value."""
        return PollResult(
            account=self.account,
            delivered=self.delivered,
            octets=self.octets,
            deleted=self.deleted,
            skipped=dict(self.skipped),
            maildrop_messages=self.maildrop_messages,
            maildrop_octets=self.maildrop_octets,
            more=self.more,
            login_delay=self.login_delay,
        )


@dataclass(slots=True)
class _InHand:
    """The message that is coming in now."""

    ref: MessageRef
    file: StagedFile
    account: str
    limit: float | None
    stop: StopSignal
    emit: events.Emit
    octets: int = 0
    beginning: bytes = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if len(self.beginning) < 4:  # noqa: PLR2004 - as long as a status indicator
            self.beginning += bytes(data[: 4 - len(self.beginning)])
        if self.stop.overdue():
            raise Interrupted(f"asked to stop: message {self.ref.number} is dropped and will be fetched again")
        self.octets += len(data)
        if self.limit is not None and self.octets > self.limit:
            raise ProtocolError(
                f"message {self.ref.number} is longer than max_size, though the server's LIST says "
                f"{self.ref.size} octets: dropped, and fetched last from now on"
            )
        self.file.write(data)
        self.emit(events.Received(self.account, len(data)))


class Intake:
    """Brings the messages of one account, in one session, into its target.

    A reply too many or too few among those in flight would give messages the unique-ids of others, and a message could
    be deleted that was never delivered. So only what is *proven* is delivered: the server has shown behind it that it
    is in step. Proofs come after 1, 2, 4 … messages, so that the shortest session makes progress; what was not proven
    when a session broke stays in staging, where the next poll's recovery settles it.
    """

    def __init__(self, account: Account, stop: StopSignal, *, world: World, delivery: Delivery, tally: Tally) -> None:
        self._name = account.name
        max_size = account.policy.max_size
        self._limit = None if max_size is None else max_size * SIZE_SLACK
        self._stop = stop
        self._world = world
        self._delivery = delivery
        self._tally = tally
        self._target = target_text(account.target)
        self._journal = world.store.journal(account.name)
        self._lane = world.lane()
        self._in_hand: _InHand | None = None
        self._unproven: list[tuple[MessageRef, Staged]] = []
        self._batch: list[tuple[MessageRef, Staged]] = []
        self._batch_opened = 0.0
        self._answered = 0
        self._proven = 0
        self._as_announced = 0
        self._differing = 0
        # These two, and what the tally counts as delivered, belong to the lane while a batch is in its hands.
        self._published: list[str] = []
        self.delivered: list[MessageRef] = []
        """What this session retrieved, committed and published."""
        self.proves = True
        """False once the server would not show underway that it is in step: only the end of a portion tells."""

    def fetch(self, maildrop: Maildrop, refs: Sequence[MessageRef]) -> None:
        """Retrieves messages and delivers them; on an error, what is proven is delivered before it is raised.

        Without unique-ids nothing can be recognised at the next poll: there all is delivered at the end, or nothing.
        """
        if self._stop.requested():
            raise Interrupted(_STOPPED)
        in_one = any(ref.uid is None for ref in refs)
        self._answered = self._proven = 0
        try:
            self._retrieve(maildrop, {ref.number: ref for ref in refs}, in_one=in_one)
        except AccountError as error:
            self._blame(error, refs)
            if not in_one:
                self._deliver()
            raise
        finally:
            if self._in_hand is not None:
                self._in_hand.file.abandon()
            self._lane.wait()
        self._deliver()

    def say_what_differed(self) -> None:
        """Tells of messages whose octets are not those that LIST announced, where the server's sizes are exact."""
        if self._differing and self._as_announced:
            self._world.emit(events.SizesDiffer(self._name, self._differing, of=self._differing + self._as_announced))

    def _retrieve(self, maildrop: Maildrop, refs: Mapping[int, MessageRef], *, in_one: bool) -> None:
        def sink(number: int) -> Write:
            return self._stage(refs[number])

        for item in maildrop.retrieve_proven([*refs], sink, proofs=self._proofs([*refs.values()])):
            if isinstance(item, InStep):
                self.proves = self.proves and item.proven
                if item.proven:
                    self._prove(in_one=in_one)
                continue
            self._answered += 1
            if item.refused is not None:
                self._refuse(refs[item.number], item.refused)
            else:
                self._complete(refs[item.number], item.octets)
            if self._stop.requested() and self._answered < len(refs):
                raise Interrupted(_STOPPED)
        if self._unproven:
            maildrop.check_in_step()
        self._prove(in_one=in_one)

    def _proofs(self, refs: Sequence[MessageRef]) -> set[int]:
        """Returns the numbers of the messages behind which a proof is wanted."""
        most_messages = min(_PROOF_MESSAGES, self._world.limits.messages)
        most_octets = min(_PROOF_OCTETS, self._world.limits.octets)
        proofs, size, messages, octets = set(), 1, 0, 0
        for ref in refs:
            messages += 1
            octets += ref.size or 0
            if messages >= size or octets >= most_octets or ref is refs[-1]:
                proofs.add(ref.number)
                size = min(2 * size, most_messages)
                messages = octets = 0
        return proofs

    def _prove(self, *, in_one: bool) -> None:
        self._proven = self._answered
        if self._unproven and not self._batch:
            self._batch_opened = self._world.clock.monotonic()
        self._batch += self._unproven
        self._unproven = []
        if not in_one and self._batch_is_full():
            batch, self._batch = self._batch, []  # first: should the lane fail, nothing may be delivered twice
            self._lane.start(partial(self._bring, batch))

    def _blame(self, error: AccountError, refs: Sequence[MessageRef]) -> None:
        """Remembers whose fault a broken session may be.

        That is the message in hand, also where no file of ours may be as big; or the one that did not come; or, where
        the server is out of step, the first of those that are not proven.
        """
        if not isinstance(error, NetworkError | ProtocolError) and not _is_too_big(error):
            return
        if self._in_hand is not None:
            self._trouble(self._in_hand.ref)
            return
        suspect = self._answered if isinstance(error, NetworkError) else self._proven
        if suspect < len(refs):
            self._trouble(refs[suspect])

    def publish(self, batch: Sequence[Committed], *, is_sealed: bool = False) -> None:
        """Commits a flushed batch, the one point of truth; then publishes it.

        What the batch before left to settle rides on this commit: a lost settling costs recovery work, never a message.

        Args:
            batch: the messages.
            is_sealed: whether that batch before is known to be sealed.
        """
        if self._published and not is_sealed:
            self._delivery.seal()
        settled, self._published = self._published, []
        self._world.store.commit(self._name, batch, now=self._world.now(), settled=settled)
        self._delivery.publish(batch, self._journal)
        self._published = [committed.staged.name for committed in batch]
        self._tally.delivered += len(batch)
        self._tally.octets += sum([committed.staged.size for committed in batch])
        name, emit = self._name, self._world.emit
        for committed in batch:
            staged = committed.staged
            emit(events.MessageDelivered(name, committed.uid, staged.size, staged.name))

    def settle(self, known: AllKnown | None = None) -> None:
        """Seals what was published, and forgets the last batch's names.

        Where publishing moves a file, recovery sees from its being gone that it was published, however late that is:
        what is forgotten may come back with an outage of the machine's power. An mbox may have been rewritten by then.

        Args:
            known: the listing, if everything in it is known by now.
        """
        if self._published:
            self._delivery.seal()
            durable = not self._delivery.publishes_by_moving
            self._world.store.settle(self._name, self._published, durable=durable, known=known)
            self._published = []

    def _stage(self, ref: MessageRef) -> Write:
        world = self._world
        uid = ref.uid or NO_UNIQUE_ID
        name = message_name(self._name, uid, seconds=world.now(), nonce=world.nonce(), host=world.host)
        self._in_hand = in_hand = _InHand(
            ref, self._delivery.stage(name), self._name, self._limit, self._stop, world.emit
        )
        return in_hand.write

    def _complete(self, ref: MessageRef, octets: int) -> None:
        """The terminator was seen: the message is whole. An empty one may never have met the sink."""
        if self._in_hand is None:
            self._stage(ref)
        in_hand = self._in_hand
        if in_hand is None:
            raise AssertionError("staging opens a file")
        if octets != ref.size and in_hand.beginning.upper().startswith((b"+OK", b"-ERR")):
            raise ProtocolError(f"message {ref.number} begins with a reply: the server has answered twice")
        self._in_hand = None
        self._unproven.append((ref, in_hand.file.finish()))
        if octets == ref.size:
            self._as_announced += 1
        else:
            self._differing += 1

    def _batch_is_full(self) -> bool:
        limits = self._world.limits
        return bool(self._batch) and (
            len(self._batch) >= limits.messages
            or sum(staged.size for _, staged in self._batch) >= limits.octets
            or self._world.clock.monotonic() - self._batch_opened >= limits.seconds
        )

    def _deliver(self) -> None:
        """Delivers what is proven, after what the lane has in hand: batches are delivered in order."""
        self._lane.wait()
        batch, self._batch = self._batch, []
        if batch:
            self._bring(batch)

    def _bring(self, batch: Sequence[tuple[MessageRef, Staged]]) -> None:
        is_sealed = self._delivery.flush_batch([staged for _, staged in batch])
        self.publish([Committed(ref.uid, staged, self._target) for ref, staged in batch], is_sealed=is_sealed)
        self.delivered.extend(ref for ref, _ in batch)

    def _refuse(self, ref: MessageRef, refused: POP3Error) -> None:
        self._tally.skipped[SkipReason.REFUSED] += 1
        self._trouble(ref)
        self._world.emit(events.MessageSkipped(self._name, ref.uid, SkipReason.REFUSED, ref.size, str(refused)))

    def _trouble(self, ref: MessageRef) -> None:
        """From now on this message comes where there is nothing else to do, or once a day."""
        if ref.uid is not None:
            with suppress(StoreError):
                self._world.store.mark_troubled(self._name, ref.uid, now=self._world.now())


def _is_too_big(error: AccountError) -> bool:
    return isinstance(error, DeliveryError) and getattr(error.__cause__, "errno", None) == errno.EFBIG
