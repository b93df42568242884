"""A program of its own, run by ``secrets.py``: prints one entry of the system's keyring, and nothing else.

A keyring may wait for somebody who unlocks it, with no deadline that could be set; a process can be ended. It is run by
its path, so that neither fetchd nor pydantic is loaded for it. Its exit code says what is wrong; no message does, since
the library's own may hold anything.
"""

import sys
from enum import IntEnum


class Outcome(IntEnum):
    """The exit codes. Those that Python uses itself are not among them."""

    FOUND = 0
    NO_ENTRY = 40
    NO_LIBRARY = 41
    NO_KEYRING = 42
    LOCKED = 43
    FAILED = 44


def main(service: str, user: str) -> Outcome:
    """Writes the password of ``user`` at ``service`` to standard output, as it is."""
    try:
        import keyring  # noqa: PLC0415 - an extra, which may be missing
        from keyring import errors  # noqa: PLC0415 - likewise
    except ImportError:
        return Outcome.NO_LIBRARY
    try:
        password = keyring.get_password(service, user)
    except errors.NoKeyringError:
        return Outcome.NO_KEYRING
    except errors.KeyringLocked:
        return Outcome.LOCKED
    except Exception:  # noqa: BLE001 - whatever a backend raises: fetchd has to go on
        return Outcome.FAILED
    if password is None:
        return Outcome.NO_ENTRY
    sys.stdout.buffer.write(password.encode())
    return Outcome.FOUND


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
