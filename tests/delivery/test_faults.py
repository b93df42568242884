"""OSError → DeliveryError: one clear line (FAULTS G 96–98)."""

import errno
import os
from pathlib import Path

import pytest

from fetchd.delivery.faults import translated
from fetchd.errors import DeliveryError


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "disk is full or out of inodes: free some space, and delivery goes on by itself"),
        (errno.EDQUOT, f"quota of uid {os.geteuid()} is used up"),
        (errno.EACCES, f"fetchd runs as uid {os.geteuid()}, which is not allowed"),
        (errno.EPERM, f"fetchd runs as uid {os.geteuid()}, which is not allowed"),
        (errno.EROFS, "mounted read-only"),
        (errno.EIO, "the disk reports an error"),
        (errno.EMFILE, "raise LimitNOFILE"),
        (errno.EFBIG, "ulimit -f"),
        (errno.ENOTDIR, "not a directory"),
        (errno.ELOOP, "symbolic link"),
        (errno.EDEADLK, os.strerror(errno.EDEADLK)),
    ],
)
def test_an_os_error_says_what_where_why_and_what_to_do(code: int, advice: str) -> None:
    with (
        pytest.raises(DeliveryError, match=rf"^cannot write to /var/mail/{{x}}: .*{advice}") as caught,
        translated("cannot write to", Path("/var/mail/{x}")),
    ):
        raise OSError(code, os.strerror(code))
    assert "\n" not in str(caught.value)
    assert "Errno" not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_what_is_translated_already_passes_through() -> None:
    error = DeliveryError("said already")
    with pytest.raises(DeliveryError) as caught, translated("cannot lock", "x"):
        raise error
    assert caught.value is error
