"""A password in the system's keyring: the real library in a process of its own, with keyrings of our making."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from fetchd.config.secrets import SecretReader
from fetchd.errors import SecretError
from fetchd.model import SecretKeyring

ENTRY = SecretKeyring("gmx", "alice")
WHERE = 'keyring entry "gmx" of "alice"'
RING = """
import os, sys, time
from keyring import errors
from keyring.backend import KeyringBackend

class Ring(KeyringBackend):
    priority = 1

    def set_password(self, service, username, password):
        raise NotImplementedError

    def get_password(self, service, username):
        print("hunter2 is what I found", file=sys.stderr)
        BODY
"""

pytestmark = pytest.mark.skipif(importlib.util.find_spec("keyring") is None, reason="needs the extra: fetchd[keyring]")


def ring(tmp_path: Path, body: str) -> dict[str, str]:
    """Returns the environment in which a keyring answers as the body of its function says."""
    (tmp_path / "ring.py").write_text(RING.replace("BODY", body))
    return {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "ring.Ring",
    }


def refusal(environ: dict[str, str], timeout: float = 30.0) -> str:
    with pytest.raises(SecretError) as refused:
        SecretReader(environ, timeout=timeout).reveal(ENTRY)
    assert "hunter2" not in repr(refused.value)
    return str(refused.value)


def test_an_entry_gives_its_password_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    environ = ring(tmp_path, "return {('gmx', 'alice'): ' grün '}.get((service, username))")
    assert SecretReader(environ).reveal(ENTRY).reveal() == " grün ".encode()
    assert capfd.readouterr() == ("", ""), "what a keyring says may be the secret"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", f"{WHERE} is not there: keyring set gmx alice makes it"),
        ("raise errors.KeyringLocked('hunter2')", f"{WHERE} cannot be read: the keyring is locked: unlock it"),
        ("raise ValueError('hunter2')", f"{WHERE} cannot be read: keyring get gmx alice says why"),
        ("os._exit(7)", f"{WHERE} failed with exit code 7"),
        ("return ''", f"{WHERE} is empty"),
        ("return 'a' + chr(10) + 'b'", f"{WHERE} holds a line break, which no POP3 command can carry"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_to_do(body: str, said: str, tmp_path: Path) -> None:
    assert refusal(ring(tmp_path, body)) == said


def test_a_machine_without_a_keyring_says_so(tmp_path: Path) -> None:
    """As a service's is: nobody is logged in at a desktop."""
    environ = ring(tmp_path, "") | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    assert refusal(environ).startswith(f"{WHERE} cannot be read: no keyring runs here, as is usual for a service: ")


def test_a_missing_library_is_told_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in for it is a Python that has no packages but the standard library."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    assert refusal({"PATH": os.defpath}) == f"{WHERE} cannot be read: install fetchd[keyring]"


def test_a_keyring_that_waits_for_somebody_is_ended(tmp_path: Path) -> None:
    assert refusal(ring(tmp_path, "time.sleep(600)"), timeout=2.0) == f"{WHERE} did not end within 2 s"


def test_no_module_of_ours_stands_in_for_one_of_pythons(tmp_path: Path) -> None:
    """The program lies beside our secrets.py, and Python looks beside a program first."""
    environ = ring(tmp_path, "import secrets; return secrets.token_hex.__module__")
    assert SecretReader(environ).reveal(ENTRY).reveal() == b"secrets"


def test_what_an_entry_is_called_reaches_no_shell(tmp_path: Path) -> None:
    environ = ring(tmp_path, "return service + '|' + username")
    found = SecretReader(environ).reveal(SecretKeyring("a $HOME; id", "-h 'x'"))
    assert found.reveal() == b"a $HOME; id|-h 'x'"
