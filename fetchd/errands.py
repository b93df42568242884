"""What single commands do with servers and the store: ``fetchd check --connect``, ``fetchd import --seen``.

Composition roots, as ``app.py`` is for the daemon and ``--once``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from fetchd import events
from fetchd.inbox import PipeInbox
from fetchd.model import Account, Remembered, Settings
from fetchd.sessions import Connector, Secrets, SystemClock
from fetchd.store.reader import is_missing
from fetchd.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from fetchd.takeover import Takeover
    from fetchd.trial import Trial


def try_accounts(
    settings: Settings, names: Sequence[str] = (), *, tell: "Callable[[Trial], object]"
) -> "tuple[Trial, ...]":
    """Logs in everywhere and looks, for ``fetchd check --connect``; fetches, deletes and records nothing.

    A signal ends it at once, with the trials that were over by then.

    Raises:
        UsageError: no account has one of these names.
    """
    from fetchd.trial import Means, try_accounts  # noqa: PLC0415 - for this alone

    def recall(account: Account) -> Remembered:
        if is_missing(settings.state):
            return Remembered()
        with SqliteStore.open_readonly(settings.state) as store:
            return store.remembered(account.name, user=account.user)

    inbox, clock = PipeInbox(), SystemClock()
    inbox.post_signals()
    passwords = Secrets(settings.state, clock=clock, emit=lambda _: None)
    means = Means(Connector(reveal=passwords.reveal), passwords, recall, clock)
    try:
        return try_accounts(settings, names, means=means, inbox=inbox, tell=tell)
    finally:
        passwords.close()


@contextmanager
def taking_over(settings: Settings, *, writes: bool, emit: events.Emit) -> "Iterator[Takeover]":
    """Gives what ``fetchd import TOOL --seen`` works with.

    Args:
        settings: the new configuration.
        writes: whether the store is opened, for this process alone.
        emit: is told of tokens that were renewed.

    Raises:
        StoreError: another fetchd works on the store, or it cannot be used.
    """
    from fetchd.takeover import Takeover  # noqa: PLC0415 - one command needs it

    clock = SystemClock()
    with ExitStack() as opened:
        store = None
        if writes:
            store = opened.enter_context(SqliteStore.open(settings.state))
            store.configure({account.name: (account.host, account.user) for account in settings.accounts.values()})
        own = Secrets(settings.state, clock=clock, emit=emit)
        opened.callback(own.close)
        yield Takeover(connect=Connector(reveal=own.reveal), secrets=own, clock=clock, store=store)
