"""The models: every key is explained, and the JSON Schema says what the loader does."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fetchd.config.paths import Anchor
from fetchd.config.schema import AccountKeys, FileKeys
from fetchd.config.sections import (
    DeliverKeys,
    KeyringKeys,
    Keys,
    LogKeys,
    MetricsKeys,
    NoticesKeys,
    OAuthKeys,
    PasswordKeys,
    PlainPassword,
    ProxyKeys,
    TlsKeys,
)
from fetchd.model import (
    Account,
    LogSettings,
    MetricsSettings,
    NoticeSettings,
    Policy,
    Secret,
    SecretOAuth,
    Settings,
    Tls,
)

MODELS = [
    FileKeys,
    AccountKeys,
    TlsKeys,
    PasswordKeys,
    DeliverKeys,
    LogKeys,
    MetricsKeys,
    NoticesKeys,
    KeyringKeys,
    OAuthKeys,
    ProxyKeys,
]
EXAMPLE = Path(__file__).parents[2] / "config/fetchd.yaml"


@pytest.mark.parametrize("model", MODELS)
def test_every_key_has_a_description(model: type[Keys]) -> None:
    """The reference and the editors' help are made from them."""
    assert model.__doc__
    for name, info in model.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name


def test_everything_that_an_account_is_has_a_key() -> None:
    renamed = {"target": "deliver", "delete_after": "leave_on_server"}
    wanted = {renamed.get(field.name, field.name) for model in (Account, Policy) for field in fields(model)}
    assert wanted - {"name", "policy", "proxy_password"} == set(AccountKeys.model_fields) - {"oauth"}
    resolved = {"account", "user"}  # the account's own
    assert {field.name for field in fields(SecretOAuth)} - resolved == set(OAuthKeys.model_fields)
    assert {field.name for field in fields(Tls)} == set(TlsKeys.model_fields)
    assert {field.name for field in fields(LogSettings)} == set(LogKeys.model_fields)
    assert {field.name for field in fields(MetricsSettings)} == set(MetricsKeys.model_fields)
    assert {field.name for field in fields(NoticeSettings)} == set(NoticesKeys.model_fields)
    assert {f.name for f in fields(Settings)} - {"source", "warnings"} == set(FileKeys.model_fields) - {"defaults"}


def test_the_defaults_are_those_of_the_model() -> None:
    account, policy, settings = AccountKeys(), Policy(), Settings(Path(), {}, Path())
    given = {field.name: field.default for field in fields(Account)}
    assert (account.interval, account.timeout, account.session_timeout) == (
        given["interval"],
        given["timeout"],
        given["session_timeout"],
    )
    assert account.tls.mode is Tls().mode
    assert account.allow_plaintext_password is given["allow_plaintext_password"] is False
    assert (account.leave_on_server, account.first_poll, account.unique_ids_changed) == (
        policy.delete_after,
        policy.first_poll,
        policy.unique_ids_changed,
    )
    assert (account.max_size, account.max_messages) == (policy.max_size, policy.max_messages)
    top = FileKeys(accounts={})
    assert (top.workers, top.sessions_per_host, top.http) == (settings.workers, settings.sessions_per_host, None)
    assert LogSettings(top.log.format, top.log.level) == settings.log
    assert MetricsSettings(top.metrics.per_account) == settings.metrics
    notices = NoticesKeys(deliver=True)
    assert NoticeSettings(notices.after, notices.command or (), notices.timeout, notices.deliver) == NoticeSettings(
        deliver=True
    )
    assert (top.notices, NoticeSettings().deliver) == (None, False)


def walk(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for value in schema.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from walk(inner)


def test_the_json_schema_takes_no_nulls_and_no_unknown_keys() -> None:
    schema = FileKeys.model_json_schema()
    parts = list(walk(schema))
    assert {"type": "null"} not in parts
    assert not [part for part in parts if "default" in part and part["default"] is None]
    assert all(part["additionalProperties"] is False for part in parts if "properties" in part and "title" in part)
    assert schema["required"] == ["accounts"]
    assert "required" not in schema["$defs"]["AccountKeys"], "the defaults may give what an account lacks"


def test_the_json_schema_shows_short_forms_and_defaults_as_one_writes_them() -> None:
    account = FileKeys.model_json_schema()["$defs"]["AccountKeys"]["properties"]
    assert account["interval"]["default"] == "5m"
    assert account["tls"]["anyOf"][0] == {"enum": ["implicit", "starttls", "none"]}
    assert account["password"]["anyOf"][0] == {"type": "string"}
    assert {"type": "boolean"} in account["leave_on_server"]["anyOf"]
    assert account["deliver"]["$ref"] == "#/$defs/DeliverKeys"
    assert account["deliver"]["description"]


def test_the_big_example_shows_every_key() -> None:
    """One of them in a comment: the user that ``owner`` names has to be there, and fetchd root."""
    data = yaml.safe_load(EXAMPLE.read_text())
    assert set(data) == set(FileKeys.model_fields)
    accounts = [data["defaults"], *data["accounts"].values()]
    assert set().union(*accounts) == set(AccountKeys.model_fields)
    for key, model in (("tls", TlsKeys), ("password", PasswordKeys), ("deliver", DeliverKeys), ("proxy", ProxyKeys)):
        shown = set().union(*(a[key] for a in accounts if isinstance(a.get(key), dict)))
        assert shown | {"owner"} >= set(model.model_fields), key
    assert "owner: bob" in EXAMPLE.read_text()


def test_a_plain_password_shows_in_no_repr() -> None:
    keys = AccountKeys(password=PlainPassword(value=Secret(b"xyzzy-hunter2")))
    assert "xyzzy" not in f"{keys} {keys!r} {keys.password!r}"


def test_the_models_errors_show_no_values() -> None:
    """Should one ever be logged: pydantic shows the input unless told not to."""
    with pytest.raises(ValidationError) as refused:
        AccountKeys.model_validate({"password": {"env": 1, "file": ["xyzzy-hunter2"]}}, context=Anchor(Path(), None))
    assert refused.value.error_count() == 2
    assert "xyzzy" not in str(refused.value)
