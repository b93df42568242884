"""A message of fetchd's own into an account's Maildir: staged, flushed, published, as fetched mail is.

It is none of the account's messages: its file bears the name of a sender that no account can have, so neither recovery
nor a lost store takes it for one. There is no commit: a notice that a crash loses is told again (``notices.py``).
"""

from dataclasses import replace

from fetchd.errors import DeliveryError
from fetchd.model import Account, Committed, MaildirTarget, target_text
from fetchd.names import NO_UNIQUE_ID, message_name
from fetchd.ports import World
from fetchd.values import value


@value
class Letterbox:
    """Puts messages into Maildirs. An mbox takes none: an append that a crash cuts short is the store's to mend."""

    world: World

    def put(self, account: Account, message: bytes) -> None:
        """Delivers a message, durably.

        Args:
            account: into whose target.
            message: in the form of RFC 5322.

        Raises:
            DeliveryError: it is not delivered; or the target is an mbox.
            StoreError: it is not known whether the target may be created.
        """
        if not isinstance(account.target, MaildirTarget):
            raise DeliveryError("notices go into a Maildir only, not into an mbox: have a command tell you instead")
        sender = f"fetchd:{account.name}"
        target = target_text(account.target)
        delivery = self.world.open_delivery(replace(account, name=sender))
        delivery.prepare(create=not self.world.store.delivered_into(target), waiting=False)
        delivery.discard(delivery.leftovers())
        name = message_name(
            sender, NO_UNIQUE_ID, seconds=self.world.now(), nonce=self.world.nonce(), host=self.world.host
        )
        file = delivery.stage(name)
        try:
            file.write(message)
            staged = file.finish()
        except BaseException:
            file.abandon()
            raise
        delivery.flush_batch([staged])
        delivery.publish([Committed(None, staged, target)], self.world.store.journal(sender))
        delivery.seal()
