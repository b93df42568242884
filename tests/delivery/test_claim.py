"""One fetchd at a time for an account in a Maildir (FAULTS G 108): ``delivery/claim.py``."""

import subprocess
import sys
from pathlib import Path

import pytest

from fetchd.delivery.maildir import Maildir
from fetchd.errors import DeliveryError, Retry

_HOLDER = """
import sys
from pathlib import Path
from fetchd.delivery.maildir import Maildir
delivery = Maildir(Path(sys.argv[1]), sys.argv[2])
delivery.prepare()
print("held", flush=True)
sys.stdin.read()
"""


def test_another_process_with_an_account_of_that_name_is_refused(tmp_path: Path) -> None:
    """Before it sweeps or discards anything; it goes on when the other has ended. Other accounts deliver meanwhile."""
    path = tmp_path / "Maildir"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path), "alice"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        alice = Maildir(path, "alice")
        with pytest.raises(DeliveryError, match=r"another fetchd delivers into .*Maildir") as caught:
            alice.prepare()
        assert caught.value.retry is Retry.LATER
        Maildir(path, "bob").prepare()
        assert holder.stdin is not None
        holder.stdin.close()
    alice.prepare()


def test_sessions_of_one_process_do_not_meet_it(tmp_path: Path) -> None:
    first, second = Maildir(tmp_path / "Maildir", "alice"), Maildir(tmp_path / "Maildir", "alice")
    first.prepare()
    second.prepare()
