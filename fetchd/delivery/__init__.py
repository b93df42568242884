"""Delivery: the durable way of a message into a Maildir or an mbox (DESIGN §4)."""

from pathlib import Path

from fetchd.delivery.maildir import Maildir
from fetchd.delivery.owned import OwnedDelivery
from fetchd.delivery.rights import Rights
from fetchd.delivery.sightings import Sightings
from fetchd.model import MaildirTarget, Target
from fetchd.ports import Delivery


def open_delivery(account: str, target: Target, *, mbox_staging: Path, sightings: Sightings | None = None) -> Delivery:
    """Returns an account's delivery into its target; touches nothing yet.

    Args:
        account: the account's name.
        target: as configured.
        mbox_staging: the directory in which messages for mboxes are staged, of all accounts; created when needed.
        sightings: of Maildirs, for the caller to keep between sessions.
    """
    if isinstance(target, MaildirTarget):
        maildir = Maildir(target.path, account, create_parents=target.create_parents, sightings=sightings)
        rights = Rights(target.owner)
        if rights.owner is None:
            return maildir
        # Now: where Maildirs are created, it is with the owner's rights, which may not reach Python's library.
        import shutil  # noqa: F401, PLC0415 - see above
        import tempfile  # noqa: F401, PLC0415 - likewise

        return OwnedDelivery(maildir, rights)
    from fetchd.delivery.mbox import Mbox  # noqa: PLC0415 - with its locks and settlement, only where it is used

    return Mbox(target.path, account, staging=mbox_staging, create_parents=target.create_parents, owner=target.owner)
