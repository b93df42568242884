"""The file name of a message: made before it is staged, kept for its life, and readable by recovery.

A name follows the Maildir rule ``time.unique.host`` (https://cr.yp.to/proto/maildir.html) and its unique part carries
two digests::

    1795461986.F3d1f…(16 hex: the account)…a80c…(24 hex: account and unique-id)…R5b6c7d8e.mx1

They let recovery tell whose a staged file is, and whether its message is still listed, without asking the store; and
they let a lost store be rebuilt from the Maildir itself. Staging appends ``,S=`` and the file's size in octets, as
Maildir++ has it, which saves readers a look at the file; they append more, such as ``:2,S``. Both do not count.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from fetchd.model import UniqueId
from fetchd.values import value

NO_UNIQUE_ID: Final = UniqueId(b"")
"""Stands for the unique-id of a message whose server has no UIDL. No server can send it (RFC 1939 §7)."""

_SIZE: Final = re.compile(r",S=(\d{1,19})(?![^,:])")
_PATTERN: Final = re.compile(r"(\d{1,19})\.F([0-9a-f]{16})([0-9a-f]{24})R([0-9a-f]{8,16})(?:\.|$)")


@value
class MessageName:
    """What a name says: Unix seconds of staging, and the digests (hex) of the account and of the unique-id."""

    seconds: int
    account: str
    uid: str


@lru_cache(maxsize=1024)
def account_digest(account: str) -> str:
    """Returns the 16 hex digits that mark an account's files."""
    return blake2b(account.encode(), digest_size=8).hexdigest()


def uid_digest(account: str, uid: UniqueId) -> str:
    """Returns the 24 hex digits that mark one unique-id of one account."""
    return blake2b(uid, digest_size=12, key=_key(account)).hexdigest()


@lru_cache(maxsize=1024)
def _key(account: str) -> bytes:
    return blake2b(account.encode(), digest_size=32).digest()


@lru_cache(maxsize=4)
def _shown(host: str) -> str:
    return host.replace("/", "\\057").replace(":", "\\072").replace(",", "\\054")


def message_name(account: str, uid: UniqueId, *, seconds: int, nonce: int, host: str) -> str:
    r"""Returns a new file name.

    Args:
        account: the account's name.
        uid: the unique-id, or :data:`NO_UNIQUE_ID`.
        seconds: Unix time.
        nonce: at least 32 random bits; it keeps apart what the same unique-id named twice.
        host: this host's name; ``/``, ``:`` and ``,`` in it are written as ``\057``, ``\072`` and ``\054``, as
            Maildir says.
    """
    return f"{seconds}.F{account_digest(account)}{uid_digest(account, uid)}R{nonce:08x}.{_shown(host)}"


def parse_name(name: str) -> MessageName | None:
    """Returns what a name says, or None where the name is not one of ours."""
    match = _PATTERN.match(name)
    if match is None:
        return None
    return MessageName(seconds=int(match[1]), account=match[2], uid=match[3])


def stated_size(name: str) -> int | None:
    """Returns the octets that a name's ``,S=`` states; None where there is none.

    >>> stated_size("1795461986.M1P2.mx1,S=640:2,S")
    640
    """
    match = _SIZE.search(name)
    return None if match is None else int(match[1])


def stem(name: str) -> str:
    """Returns a name without what was appended to it.

    >>> stem("1795461986.M1P2.mx1,S=640:2,S")
    '1795461986.M1P2.mx1'
    """
    return name.split(":", 1)[0].split(",", 1)[0]
