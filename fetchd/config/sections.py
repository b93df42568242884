"""The mappings within an account and within the file: ``tls``, ``password``, ``deliver``, ``log``, ``metrics``. Pure.

They are pydantic models, see ``schema.py`` for the rules that all of them follow.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fetchd.config import addresses, fields
from fetchd.config.paths import Anchor
from fetchd.config.units import format_duration
from fetchd.model import PROXY_EXPECTED, Proxy, Secret, TlsMode

DURATION_PATTERN: Final = "^[0-9]+ ?[smhdw]$"
PROXY_PATTERN: Final = "^(socks5h?|http)://.+$"


def _options(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields what an ``anyOf`` allows, and what an ``anyOf`` within it does."""
    for option in entry.get("anyOf", ()):
        if option.keys() == {"anyOf"}:
            yield from _options(option)
        else:
            yield option


def as_written(schema: dict[str, Any]) -> None:
    """Turns a model's JSON Schema into that of the YAML: no key takes null, and a default is what one would write."""
    for entry in schema.get("properties", {}).values():
        options = [option for option in _options(entry) if option != {"type": "null"}]
        if len(options) == 1:
            del entry["anyOf"]
            entry.update(options[0])
        elif options:
            entry["anyOf"] = options
        default = entry.pop("default", None)
        if entry.get("pattern") == DURATION_PATTERN and default is not None:
            entry["default"] = format_duration(default)
        elif default not in (None, "") and not isinstance(default, dict):
            entry["default"] = default


class Keys(BaseModel):
    """A mapping of known keys; anything else in it is an error."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        json_schema_extra=as_written,
        defer_build=True,  # as parts of the whole; else each one is built by itself, too
    )
    example: ClassVar[str] = ""

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        if value is None:
            raise ValueError("has no value: give one, or remove the line")
        return value


class OrShort:
    """Marks a mapping that may be written as a short form too, for the JSON Schema."""

    def __init__(self, **short: Any) -> None:
        self._short = short

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [self._short, handler(core)]}


def _located(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "not a text")
    anchor = info.context
    assert isinstance(anchor, Anchor), "validate with context=Anchor(…)"
    return anchor.resolve(fields.file_path(value))


FilePath = Annotated[Path, BeforeValidator(_located), WithJsonSchema({"type": "string", "minLength": 1})]
"""A path, absolute once it is read; the validation's context is the :class:`Anchor` that it starts from."""
OneLine = Annotated[str, AfterValidator(fields.one_line)]


class LogKeys(Keys):
    """How events are logged."""

    example: ClassVar[str] = "log: {format: json, level: info}"

    format: Annotated[
        str,
        BeforeValidator(partial(fields.choice, known=fields.LOG_FORMATS)),
        WithJsonSchema({"enum": list(fields.LOG_FORMATS)}),
    ] = Field(
        default="auto",
        description="`console` for people, `json` for machines; `auto`: console on a terminal, else JSON.",
    )
    level: Annotated[
        str,
        BeforeValidator(partial(fields.choice, known=fields.LOG_LEVELS)),
        WithJsonSchema({"enum": list(fields.LOG_LEVELS)}),
    ] = Field(default="info", description="The least important events that are logged: debug, info, warning or error.")


class MetricsKeys(Keys):
    """What /metrics tells."""

    example: ClassVar[str] = "metrics: {per_account: false}"

    per_account: bool = Field(
        default=True,
        description="Whether each account has series of its own; `false`: sums over all accounts, for very many.",
    )


class NoticesKeys(Keys):
    """Who is told that an account fails, and that it is well again: once each, not at every poll."""

    example: ClassVar[str] = "notices: {after: 3, command: [/usr/local/bin/tell-me]}"

    after: int = Field(default=3, ge=1, le=1000, description="How many polls in a row have to fail before that.")
    command: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(fields.command),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
    ] = Field(
        default=None,
        description="A command to run, as a text or a list of words. No shell is involved; its environment says what "
        "happened: FETCHD_EVENT (failing or recovered), FETCHD_ACCOUNT, FETCHD_SINCE, FETCHD_ERROR and more.",
        examples=["/usr/local/bin/tell-me"],
    )
    timeout: Annotated[
        int,
        BeforeValidator(partial(fields.duration, least=1, most=3600)),
        WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
    ] = Field(default=30, description="How long the command may take; then it is ended.")
    deliver: bool = Field(
        default=False, description="Whether a message is delivered into the Maildir of the account that fails."
    )

    @model_validator(mode="after")
    def _tells_somebody(self) -> "NoticesKeys":
        if not self.command and not self.deliver:
            raise ValueError("nobody is told: give `command`, or `deliver: true`")
        return self


class TlsKeys(Keys):
    """How the line to the server is protected. Certificates are verified unless `fingerprint` pins one.

    Whether one was revoked is not checked.
    """

    example: ClassVar[str] = "tls: implicit, or tls: {mode: implicit, ca_file: /etc/ssl/our-ca.pem}"

    mode: Annotated[TlsMode, BeforeValidator(fields.tls_mode)] = Field(
        default=TlsMode.IMPLICIT,
        description="`implicit`: TLS from the first octet (port 995). `starttls`: STLS on a plain line (port 110), "
        "never going on without it. `none`: no protection.",
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="PEM file of the authorities to trust instead of the system's.",
        examples=["/etc/ssl/ca.pem"],
    )
    fingerprint: Annotated[bytes | None, BeforeValidator(addresses.fingerprint), WithJsonSchema({"type": "string"})] = (
        Field(
            default=None,
            description="SHA-256 fingerprint of the server's certificate (hex, colons or not): trusted instead of any "
            "authority, for servers with a self-signed certificate.",
            examples=[":".join(["5E"] * 32)],
        )
    )
    client_cert: FilePath | None = Field(
        default=None,
        description="PEM file of the certificate that fetchd shows the server.",
        examples=["/etc/fetchd/alice.pem"],
    )
    client_key: FilePath | None = Field(
        default=None,
        description="PEM file of that certificate's key. Default: it is in `client_cert` too.",
        examples=["/etc/fetchd/alice.key"],
    )
    server_name: Annotated[str, AfterValidator(addresses.host_name)] | None = Field(
        default=None,
        description="The name that the certificate must have. Default: the `host`.",
        examples=["pop.example.com"],
    )

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> "TlsKeys":
        if self.client_key and not self.client_cert:
            raise ValueError("client_key is of no use without client_cert")
        return self


class KeyringKeys(Keys):
    """Which entry of the system's keyring holds the password."""

    example: ClassVar[str] = "keyring: {service: gmx, user: alice}"

    service: OneLine | None = Field(default=None, description="What the entry is for.", examples=["gmx"])
    user: OneLine | None = Field(
        default=None, description="Whose entry it is. Default: the `user` of the account.", examples=["alice"]
    )

    @model_validator(mode="after")
    def _has_service(self) -> "KeyringKeys":
        if self.service is None:
            raise ValueError("service is missing")
        return self


class PasswordKeys(Keys):
    """Where the password comes from: exactly one of these keys. It is read anew at every login."""

    example: ClassVar[str] = "password: {file: /run/secrets/gmx}"

    file: FilePath | None = Field(
        default=None,
        description="A file that holds the password; one line end after it is ignored. So does a secret of Docker, "
        "Podman or Kubernetes, at the path where that is mounted.",
        examples=["/run/secrets/gmx"],
    )
    env: Annotated[str, AfterValidator(fields.variable)] | None = Field(
        default=None, description="An environment variable that holds the password.", examples=["GMX_PASSWORD"]
    )
    command: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(fields.command),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
    ] = Field(
        default=None,
        description="A command that prints the password, as a text or a list of words. No shell is involved.",
        examples=["pass show mail/gmx"],
    )
    credential: Annotated[str, AfterValidator(fields.credential)] | None = Field(
        default=None,
        description="A systemd credential (`LoadCredential=NAME:…`) that holds the password.",
        examples=["gmx"],
    )
    keyring: (
        Annotated[KeyringKeys, BeforeValidator(partial(fields.short_for, key="service")), OrShort(type="string")] | None
    ) = Field(
        default=None,
        description="An entry of the system's keyring (needs the extra: `fetchd[keyring]`), as `keyring set SERVICE "
        "USER` makes it: the service, or a mapping of `service` and `user`.",
        examples=["gmx"],
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> "PasswordKeys":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"exactly one of {fields.listed(PasswordKeys.model_fields)} is expected")
        return self


class PlainPassword(PasswordKeys):
    """A password that stands in the configuration itself; no mapping in YAML becomes one."""

    value: Secret = Secret(b"")

    @model_validator(mode="after")
    def _exactly_one(self) -> "PlainPassword":
        return self


def plain_password(value: object) -> object:
    """Returns a password that stands in the configuration as the model of one; a mapping as it is."""
    return PlainPassword(value=Secret(fields.one_line(value).encode())) if isinstance(value, str) else value


class ProxyKeys(Keys):
    """The proxy to connect through."""

    example: ClassVar[str] = "proxy: {url: 'socks5://alice@127.0.0.1:1080', password: {file: /run/secrets/proxy}}"

    url: Annotated[
        Proxy | None, BeforeValidator(addresses.proxy), WithJsonSchema({"type": "string", "pattern": PROXY_PATTERN})
    ] = Field(
        default=None,
        description="`socks5://[user[:password]@]host:port`, or `http://…`. User and password are percent-encoded.",
        examples=["socks5://127.0.0.1:1080"],
    )
    password: Annotated[PasswordKeys, BeforeValidator(plain_password), OrShort(type="string")] | None = Field(
        default=None, description="Where the proxy's password comes from, so that it does not stand in the URL."
    )

    @model_validator(mode="after")
    def _password_fits(self) -> "ProxyKeys":
        if self.url is None:
            raise ValueError("url is missing")
        if bool(self.url.user) is not (self.url.password is not None or self.password is not None):
            what = "a user and no password" if self.url.user else "a password and no user"
            raise ValueError(f"{what}: {PROXY_EXPECTED}, or password: {{file: …}} beside url")
        if self.url.password is not None and self.password is not None:
            raise ValueError("a password stands in url and beside it: remove one of them")
        return self


class OAuthKeys(Keys):
    """Logging in with OAuth 2, instead of a password: `fetchd login NAME` gets the tokens, and fetchd renews them."""

    example: ClassVar[str] = "oauth: {provider: microsoft, client_id: …}"

    provider: (
        Annotated[
            str,
            BeforeValidator(partial(fields.choice, known=fields.OAUTH_PROVIDERS)),
            WithJsonSchema({"enum": list(fields.OAUTH_PROVIDERS)}),
        ]
        | None
    ) = Field(
        default=None, description="Who gives the tokens: `google`, `microsoft`, or `custom` with endpoints of its own."
    )
    client_id: Annotated[str, AfterValidator(fields.one_word)] | None = Field(
        default=None,
        description="The application's id, as the provider gave it when you registered one (docs/oauth.md).",
        examples=["9e5f94bc-e8a4-4e73-b8be-63364c29d753"],
    )
    client_secret: Annotated[PasswordKeys, BeforeValidator(plain_password), OrShort(type="string")] | None = Field(
        default=None, description="The application's secret, where it has one; written like a `password`."
    )
    tenant: Annotated[str, AfterValidator(fields.tenant)] | None = Field(
        default=None,
        description="Of `microsoft`: `common` (the default), `organizations`, `consumers`, or an organisation's.",
        examples=["common"],
    )
    scope: OneLine | None = Field(
        default=None,
        description="What to ask for. Default: what the provider wants for POP3; nothing for `custom`.",
        examples=["mail.read offline_access"],
    )
    authorization_endpoint: Annotated[str, AfterValidator(addresses.endpoint)] | None = Field(
        default=None,
        description="Of `custom`: the URL of the page that a browser opens.",
        examples=["https://login.example.com/authorize"],
    )
    token_endpoint: Annotated[str, AfterValidator(addresses.endpoint)] | None = Field(
        default=None,
        description="Of `custom`: the URL that gives tokens.",
        examples=["https://login.example.com/token"],
    )
    device_authorization_endpoint: Annotated[str, AfterValidator(addresses.endpoint)] | None = Field(
        default=None,
        description="Of `custom`: the URL that begins a login on any device (RFC 8628).",
        examples=["https://login.example.com/device"],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "OAuthKeys":
        missing = [key for key in ("provider", "client_id") if getattr(self, key) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise ValueError(f"{fields.listed(missing, 'and')} {verb} missing")
        endpoints = [key for key in OAuthKeys.model_fields if key.endswith("_endpoint") and getattr(self, key)]
        if self.provider != "custom" and endpoints:
            raise ValueError(f"{endpoints[0]} goes with provider: custom; those of {self.provider} are known")
        if self.provider == "custom" and (self.token_endpoint is None or len(endpoints) == 1):
            raise ValueError(
                "provider: custom needs a token_endpoint, and an authorization_endpoint or a "
                "device_authorization_endpoint"
            )
        if self.tenant is not None and self.provider != "microsoft":
            raise ValueError("a tenant goes with provider: microsoft")
        return self


class DeliverKeys(Keys):
    """Where the mail goes: exactly one of `maildir` and `mbox`."""

    example: ClassVar[str] = "deliver: {maildir: /home/alice/Maildir}"

    maildir: FilePath | None = Field(
        default=None, description="A Maildir; created where it is missing.", examples=["/home/alice/Maildir"]
    )
    mbox: FilePath | None = Field(
        default=None,
        description="An mbox file (mboxrd quoting); created where it is missing.",
        examples=["/var/mail/alice"],
    )
    create_parents: bool = Field(default=False, description="Whether missing directories above it may be created too.")
    owner: Annotated[
        str | None,
        BeforeValidator(fields.owner),
        WithJsonSchema({"anyOf": [{"type": "string", "pattern": fields.OWNER}, {"type": "integer", "minimum": 0}]}),
    ] = Field(
        default=None,
        description="Whose mailbox this is, where fetchd runs as root: a user's name or number. All is done with that "
        "user's rights. `USER:GROUP` for another group than the user's own. Default: whoever fetchd runs as.",
        examples=["alice", "alice:mail"],
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> "DeliverKeys":
        if (self.maildir is None) == (self.mbox is None):
            what = "maildir and mbox are both given" if self.maildir else "neither maildir nor mbox is given"
            raise ValueError(f"{what}: exactly one of them is expected")
        return self
