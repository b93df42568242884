"""The bench with an mbox, which keeps no names: whose a message is, its content tells."""

import mailbox
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fetchd.delivery.mbox import Mbox
from fetchd.model import Account, MaildirTarget, MboxTarget, UniqueId
from fetchd.names import uid_digest
from fetchd.ports import Delivery
from tests.faults.bench import Bench
from tests.faults.server import FaultyServer
from tests.faults.steps import digest

OTHERS = b"From bob Tue Nov 24 06:01:00 2026\nSubject: others\n\n"
"""How a message begins that is not ours."""
_OTHERS_SUBJECT = b"Subject: others\n"


class MboxBench(Bench):
    """The account ``alice`` delivers into ``ROOT/spool/mbox``, and waits for its locks for a moment only."""

    def __init__(self, root: Path, server: FaultyServer) -> None:
        super().__init__(root, server)
        self._is_read = False
        self.path = root / "spool" / "mbox"
        self.path.parent.mkdir()
        self.account = replace(self.account, target=MboxTarget(self.path))

    def mail(self) -> list[bytes]:
        """Returns what the standard library reads of ours, less the quoting."""
        if not self.path.is_file():
            return []
        box = mailbox.mbox(self.path, create=False)
        try:
            ours = (octets for key in box.iterkeys() if not (octets := box.get_bytes(key)).startswith(_OTHERS_SUBJECT))
            return sorted(re.sub(rb"(?m)^>(>*From )", rb"\1", octets) for octets in ours)
        finally:
            box.close()

    def there(self) -> Counter[str]:
        """Returns how many messages are delivered of each unique-id, by its digest."""
        whose = {content: name for name, contents in self.server.ever.items() for content in contents}
        return Counter(uid_digest("alice", UniqueId(whose[digest(message)])) for message in self.mail())

    @contextmanager
    def emptied_by_a_reader(self) -> Iterator[None]:
        """What is recorded need not be there any more: somebody has read it."""
        self._is_read = True
        yield
        self._is_read = False

    def _check_mail(self) -> None:
        if not self._is_read:
            super()._check_mail()

    def _open_delivery(self, account: Account) -> Delivery:
        if isinstance(account.target, MaildirTarget):
            return super()._open_delivery(account)
        staging = self.root / "mbox-staging"
        return Mbox(account.target.path, account.name, staging=staging, lock_timeout=0.05, now=self.clock.wall)
