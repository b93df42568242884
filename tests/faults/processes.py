"""fetchd as a process, and the configuration that it runs with."""

from pathlib import Path
from typing import Any

import yaml

from tests.faults.bench import PASSWORD, USER
from tests.faults.server import FaultyServer


def account(home: Path, server: FaultyServer, **more: Any) -> dict[str, Any]:
    """An account of that server, polled when SIGUSR1 says so; its mail goes into ``HOME/Maildir``."""
    secret = home / "secret"
    secret.write_bytes(PASSWORD + b"\n")
    secret.chmod(0o600)
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": "none",
        "user": USER,
        "password": {"file": str(secret)},
        "deliver": {"maildir": str(home / "Maildir")},
        "interval": "1h",
        **more,
    }


def write_accounts(home: Path, **accounts: dict[str, Any]) -> Path:
    """Writes ``HOME/fetchd.yaml``; the store is ``HOME/state/fetchd.db``."""
    path = home / "fetchd.yaml"
    path.write_text(yaml.safe_dump({"state": str(home / "state" / "fetchd.db"), "accounts": accounts}))
    path.chmod(0o600)
    return path
