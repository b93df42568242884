"""The configuration's keys as pydantic models: what is allowed, what it means, and the JSON Schema of it. Pure.

Only shapes and single values are checked here; what several keys must agree on is in ``checks.py``. The account's
keys and those of ``defaults`` are one model, in which nothing is required: what an account lacks, the defaults may
give. The values that come out are those of ``fetchd.model`` (seconds, octets, enums, absolute paths). No error of
these models shows a value (``hide_input_in_errors``), for a password may stand anywhere.
"""

from functools import partial
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fetchd.config import addresses, fields
from fetchd.config.sections import (
    DURATION_PATTERN,
    PROXY_PATTERN,
    DeliverKeys,
    FilePath,
    Keys,
    LogKeys,
    MetricsKeys,
    NoticesKeys,
    OAuthKeys,
    OneLine,
    OrShort,
    PasswordKeys,
    ProxyKeys,
    TlsKeys,
    plain_password,
)
from fetchd.model import LOGIN_WAYS, FirstPoll, HttpAddress, TlsMode, UniqueIdsChanged

SIZE_PATTERN: Final = "^[0-9]+ ?([kKmMgGtT]i?)?[bB]?$"

_SIZE: Final = {"type": "string", "pattern": SIZE_PATTERN}
_DURATION: Final = {"type": "string", "pattern": DURATION_PATTERN}
_COUNT: Final = {"type": "integer", "minimum": 1}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": addresses.LAST_PORT}
_NO_LIMIT: Final = {"const": "none"}
_DAY: Final = 86400

AccountName = Annotated[
    str,
    AfterValidator(fields.account_name),
    WithJsonSchema({"type": "string", "pattern": fields.ACCOUNT_NAME}),
]


class AccountKeys(Keys):
    """One POP3 account, or what all accounts have in common (`defaults`).

    A key that an account gives replaces the default as a whole: `tls: starttls` leaves nothing of a default `tls: {…}`.
    """

    example: ClassVar[str] = "alice-gmx: {host: pop.gmx.net, user: alice@gmx.net, password: {…}, deliver: {…}}"

    host: Annotated[str, AfterValidator(addresses.host)] | None = Field(
        default=None,
        description="The POP3 server's name or IP address; or `unix:` and the path of a Unix socket on this machine.",
        examples=["pop.gmx.net", "unix:/run/pop3.sock"],
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=addresses.LAST_PORT,
        description="The server's TCP port. Default: 995 with `tls: implicit`, 110 otherwise.",
        examples=[995],
    )
    tls: Annotated[
        TlsKeys,
        BeforeValidator(lambda value: value if isinstance(value, dict) else {"mode": value}),
        OrShort(enum=[mode.value for mode in TlsMode]),
    ] = Field(default=TlsKeys(), description="How the line is protected: a mode, or a mapping of `mode` and more.")
    user: OneLine | None = Field(default=None, description="The name to log in with.", examples=["alice@gmx.net"])
    password: Annotated[PasswordKeys, BeforeValidator(plain_password), OrShort(type="string")] | None = Field(
        default=None, description="Where the password comes from, or the password itself (a warning says why not)."
    )
    oauth: OAuthKeys | None = Field(
        default=None, description="Log in with OAuth 2 tokens instead of a password; `fetchd login NAME` gets them."
    )
    deliver: DeliverKeys | None = Field(default=None, description="Where the mail goes.")
    leave_on_server: Annotated[
        int | None,
        BeforeValidator(fields.leave_on_server),
        WithJsonSchema({"anyOf": [{"type": "boolean"}, _DURATION]}),
    ] = Field(
        default=None,
        description="`true` (the default): messages stay on the server. `false`: deleted there as soon as the "
        "delivered copy is on disk. An age such as `14d`: deleted that long after fetchd first saw them.",
        examples=["14d"],
    )
    first_poll: Annotated[FirstPoll, BeforeValidator(fields.first_poll)] = Field(
        default=FirstPoll.ALL,
        description="What to do with the mail that is there already: `all` fetches it, `skip` marks it as seen and "
        "never touches it.",
    )
    unique_ids_changed: Annotated[UniqueIdsChanged, BeforeValidator(fields.unique_ids_changed)] = Field(
        default=UniqueIdsChanged.STOP,
        description="What to do when the server knows not one of the messages seen before, as after a migration: "
        "`stop` the account and say so, `fetch` everything again, or `skip` what is there.",
    )
    max_size: Annotated[
        int | None,
        BeforeValidator(fields.size_limit),
        WithJsonSchema({"anyOf": [_COUNT, _SIZE, _NO_LIMIT]}),
    ] = Field(
        default=None,
        description="Larger messages stay on the server, with a warning and a metric. Default: `none`.",
        examples=["50MB"],
    )
    max_messages: Annotated[
        Annotated[int, Field(ge=1)] | None,
        BeforeValidator(fields.count_limit),
        WithJsonSchema({"anyOf": [_COUNT, _NO_LIMIT]}),
    ] = Field(
        default=None,
        description="The most messages that one poll fetches; the next goes on. Default: `none`.",
        examples=[1000],
    )
    interval: Annotated[
        int, BeforeValidator(partial(fields.duration, least=1, most=366 * _DAY)), WithJsonSchema(_DURATION)
    ] = Field(default=300, description="How often the account is polled. Default: 5m.", examples=["5m"])
    timeout: Annotated[
        int, BeforeValidator(partial(fields.duration, least=1, most=_DAY)), WithJsonSchema(_DURATION)
    ] = Field(
        default=60,
        description="How long connecting, the TLS handshake, the greeting, and every single read or write, may take.",
    )
    session_timeout: Annotated[
        int, BeforeValidator(partial(fields.duration, least=1, most=30 * _DAY)), WithJsonSchema(_DURATION)
    ] = Field(default=3600, description="How long one session may take as a whole. Default: 1h.")
    login_timeout: Annotated[
        int | None, BeforeValidator(partial(fields.duration, least=1, most=_DAY)), WithJsonSchema(_DURATION)
    ] = Field(
        default=None,
        description="How long the login may take as a whole. Default: twice the `timeout`.",
        examples=["2m"],
    )
    minimum_rate: Annotated[
        int,
        BeforeValidator(fields.rate),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _SIZE, _NO_LIMIT]}),
    ] = Field(
        default=100,
        description="Octets a second: a reply that comes in slower for a minute ends the session. `none`: no limit.",
    )
    source_address: Annotated[
        str | None, BeforeValidator(addresses.source_address), WithJsonSchema({"type": "string"})
    ] = Field(
        default=None,
        description="The IP address of this machine to connect from. Default: `none`, the system chooses.",
        examples=["192.0.2.10"],
    )
    proxy: Annotated[
        ProxyKeys | None,
        BeforeValidator(addresses.proxy_short),
        OrShort(type="string", pattern=f"^none$|{PROXY_PATTERN}"),
    ] = Field(
        default=None,
        description="Connect through a proxy: `socks5://[user:password@]host:port`, or `http://…`; or a mapping of "
        "`url` and `password`. `none`: directly.",
        examples=["socks5://127.0.0.1:9050"],
    )
    mechanism: Annotated[str, BeforeValidator(fields.mechanism), WithJsonSchema({"enum": ["auto", *LOGIN_WAYS]})] = (
        Field(
            default="",
            description="The one way to log in: `USER` (and PASS), `APOP`, or a SASL mechanism such as "
            "`SCRAM-SHA-256`. `auto` (the default): the strongest that the server offers.",
            examples=["SCRAM-SHA-256"],
        )
    )
    allow_plaintext_password: bool = Field(
        default=False,
        description="Whether the password may go over an unprotected line (TLS mode `none`) to a host that is not this "
        "one. Everyone on the way can read it.",
    )


class FileKeys(Keys):
    """fetchd's configuration file."""

    example: ClassVar[str] = "accounts: {…}"

    state: Annotated[FilePath, BeforeValidator(fields.state_file)] | None = Field(
        default=None,
        description="The file that remembers what was fetched; a directory means `fetchd.db` in it. Default: in "
        "`$STATE_DIRECTORY`, else in `$XDG_STATE_HOME/fetchd`, else `/var/lib/fetchd` for root.",
        examples=["/var/lib/fetchd/fetchd.db"],
    )
    http: Annotated[
        HttpAddress | None,
        BeforeValidator(addresses.http_address),
        WithJsonSchema({"anyOf": [{"type": "string"}, _PORT, {"const": False}]}),
    ] = Field(
        default=None,
        description="Where the status page, /status, /metrics, /healthz and /readyz are served: `host:port`, a port "
        "alone for 127.0.0.1, or `unix:` and the path of a Unix socket (mode 0660). Default: off.",
        examples=["127.0.0.1:9725", "unix:/run/fetchd/http.sock"],
    )
    metrics: MetricsKeys = Field(default=MetricsKeys(), description="What /metrics tells.")
    notices: NoticesKeys | None = Field(
        default=None,
        description="Who is told that an account fails, and that it is well again. Default: nobody.",
    )
    log: Annotated[
        LogKeys, BeforeValidator(fields.log_short), OrShort(enum=[*fields.LOG_LEVELS, *fields.LOG_FORMATS])
    ] = Field(default=LogKeys(), description="How events are logged: a level, a format, or a mapping of both.")
    workers: int = Field(default=64, ge=1, le=1000, description="The most sessions at a time.")
    sessions_per_host: int = Field(default=4, ge=1, le=1000, description="The most sessions at a time with one server.")
    defaults: AccountKeys = Field(
        default=AccountKeys(), description="What all accounts have in common: any account key."
    )
    accounts: dict[AccountName, AccountKeys] = Field(
        description="The accounts, each under a name of its own: it appears in logs and metrics, and the store "
        "remembers by it what was fetched; renaming an account is noticed, by host and user."
    )
