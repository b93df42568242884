"""What every test may ask for: the real server, mailboxes on it, an authority for certificates."""

import signal
from collections.abc import Iterator
from itertools import count
from typing import Protocol

import pytest
from hypothesis import settings

from tests.servers.dovecot import Dovecot, DovecotMissingError, Mailbox
from tests.servers.pki import TestAuthority

# One example may meet an import, an fsync or a busy machine: its time says nothing about the code.
settings.register_profile("fetchd", deadline=None, print_blob=True)
settings.load_profile("fetchd")

# A shell starts what runs in its background with SIGINT ignored, and all that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class MakeMailbox(Protocol):
    """What the fixture ``mailbox`` gives."""

    def __call__(self, *messages: bytes, password: str = ...) -> Mailbox:
        """Returns a new user's mailbox that holds ``messages``."""
        ...


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """The authority that issued the servers' certificates."""
    return TestAuthority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def dovecot(authority: TestAuthority) -> Iterator[Dovecot]:
    """One server for the whole run; ask ``mailbox`` for users, since they are shared too."""
    try:
        server = Dovecot(authority)
    except DovecotMissingError as error:
        pytest.fail(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def _mailbox_numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def mailbox(dovecot: Dovecot, _mailbox_numbers: Iterator[int]) -> MakeMailbox:
    """Makes mailboxes on the shared server, each for a user that no other test has."""

    def make(*messages: bytes, password: str = "open sesame") -> Mailbox:
        made = dovecot.add_user(f"user{next(_mailbox_numbers)}@example.org", password)
        made.put(*messages)
        return made

    return make
