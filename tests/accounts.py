"""Accounts and settings for tests, with every default that a test does not care about."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fetchd.model import Account, MaildirTarget, Secret, SecretValue, Settings, Tls, TlsMode


def make_account(name: str = "alice", **changes: Any) -> Account:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 110,
        "tls": Tls(TlsMode.NONE),
        "user": name,
        "password": SecretValue(Secret(b"secret")),
        "target": MaildirTarget(Path("/nonexistent")),
        "timeout": 5.0,
    }
    return Account(name=name, **(values | changes))


def make_settings(accounts: Iterable[Account], **changes: Any) -> Settings:
    values: dict[str, Any] = {"source": Path("/etc/fetchd/fetchd.yaml"), "state": Path("/nonexistent/fetchd.db")}
    return Settings(accounts={account.name: account for account in accounts}, **(values | changes))
