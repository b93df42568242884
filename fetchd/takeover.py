"""Taking over what another fetcher has seen, so that a switch to fetchd fetches nothing twice.

::

    log in → list → compare with the old tool's files (migration/uids.py) → the store, one transaction an account

Nothing is fetched here, and nothing deleted.
"""

from collections.abc import Mapping, Sequence

from fetchd.errors import AccountError, PolicyError
from fetchd.migration.uids import Known, Match, OldUids, as_they_are, match, may_be_changed
from fetchd.model import Account, Fate, Seen, UniqueId
from fetchd.ports import Clock, Connect, Secrets, Store
from fetchd.values import value


@value
class Compared:
    """One account beside what the old tool remembers of it.

    Attributes:
        account: its name.
        remembered: entries in the tool's files.
        match: beside the server's listing; None where that was not asked for, or could not be had.
        is_complete: whether the listing shows all messages that the server says it has.
        known: what there is to take over.
        uncertain: entries that the tool may have written otherwise than the server has them, where it was not asked.
        error: why the server could not be asked.
    """

    account: str
    remembered: int
    match: Match | None = None
    is_complete: bool = True
    known: Mapping[UniqueId, Known] | None = None
    uncertain: int = 0
    error: AccountError | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether nothing that the tool remembers is listed: another maildrop, or other unique-ids than before."""
        return self.match is not None and self.match.unmatched > 0 and self.remembered > 0 and not self.match.matched


class Takeover:
    """What ``fetchd import TOOL --seen`` does to one account after the other."""

    def __init__(self, *, connect: Connect, secrets: Secrets, clock: Clock, store: Store | None) -> None:
        """``store`` is None where nothing is to be written."""
        self._connect = connect
        self._secrets = secrets
        self._clock = clock
        self._store = store

    def compare(self, account: Account, old: Sequence[OldUids], *, offline: bool = False) -> Compared:
        """Compares what the tool remembers with what the server lists; the server's faults are in the result.

        Args:
            account: as configured.
            old: the tool's lists of this account.
            offline: take what the tool remembers as it is, without asking the server.
        """
        remembered = sum(len(one.entries) for one in old)
        if offline:
            return Compared(account.name, remembered, known=as_they_are(old), uncertain=may_be_changed(old))
        try:
            live, is_complete = self._listing(account)
        except AccountError as error:
            return Compared(account.name, remembered, error=error)
        found = match(old, live)
        return Compared(account.name, remembered, found, is_complete, {**found.stale, **found.matched})

    def take_over(self, compared: Compared, *, fate: Fate) -> None:
        """Writes it into the store.

        Args:
            compared: without an error.
            fate: SKIPPED, which fetchd never deletes, or DELIVERED, where the user says that the old tool has
                delivered it: then the account's policy says when it is deleted.

        Raises:
            StoreError: nothing was written, or it is not known.
        """
        assert self._store is not None, "Takeover(…, store=…)"
        now = int(self._clock.wall())
        # Of a listing with gaps, what is not listed may be there all the same.
        gone = compared.match.stale if compared.match is not None and compared.is_complete else {}
        seen = {
            uid: Seen(
                copies=known.copies,
                first_seen=now if known.first_seen is None else known.first_seen,
                fate=fate,
                listed=uid not in gone,
            )
            for uid, known in (compared.known or {}).items()
        }
        self._store.take_over(compared.account, seen, now=now)

    def _listing(self, account: Account) -> tuple[Sequence[UniqueId], bool]:
        """Returns the unique-ids listed, in the order of message numbers, and whether these are all there are."""
        with self._connect(account, self._secrets.reveal(account.password)) as maildrop:
            found = maildrop.survey()
            maildrop.leave()
        if found.uids is None:
            raise PolicyError("the server has no UIDL, so there is nothing to compare with")
        return [found.uids[number] for number in sorted(found.uids)], len(found.uids) >= found.messages
