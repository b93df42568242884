"""From the configuration's keys to the values of ``fetchd.model``. Pure."""

from fetchd.config.checks import Candidate, port
from fetchd.config.sections import DeliverKeys, NoticesKeys, OAuthKeys, PasswordKeys, PlainPassword, ProxyKeys, TlsKeys
from fetchd.model import (
    Account,
    MaildirTarget,
    MboxTarget,
    NoticeSettings,
    Owner,
    Policy,
    SecretCommand,
    SecretCredential,
    SecretEnv,
    SecretFile,
    SecretKeyring,
    SecretOAuth,
    SecretSource,
    SecretValue,
    Target,
    Tls,
)


def build_account(candidate: Candidate, *, owner: Owner | None = None) -> Account | None:
    """Returns the account, or None where a key that it cannot be without is missing or no good.

    ``owner`` is the target's, as the machine knows that user.
    """
    keys = candidate.keys
    if keys.host is None or keys.user is None or keys.deliver is None:
        return None
    if keys.oauth is not None:
        password: SecretSource | SecretOAuth = _oauth(keys.oauth, candidate.name, keys.user)
    elif keys.password is not None:
        password = _source(keys.password, keys.user)
    else:
        return None
    return Account(
        candidate.name,
        keys.host,
        port=port(keys),
        tls=_tls(keys.tls),
        user=keys.user,
        password=password,
        target=_target(keys.deliver, owner),
        policy=Policy(
            delete_after=keys.leave_on_server,
            first_poll=keys.first_poll,
            unique_ids_changed=keys.unique_ids_changed,
            max_size=keys.max_size,
            max_messages=keys.max_messages,
        ),
        interval=float(keys.interval),
        timeout=float(keys.timeout),
        session_timeout=float(keys.session_timeout),
        login_timeout=None if keys.login_timeout is None else float(keys.login_timeout),
        minimum_rate=keys.minimum_rate,
        source_address=keys.source_address,
        proxy=keys.proxy.url if keys.proxy else None,
        proxy_password=_proxy_password(keys.proxy),
        mechanism=keys.mechanism,
        allow_plaintext_password=keys.allow_plaintext_password,
    )


def notices(keys: NoticesKeys | None) -> NoticeSettings | None:
    """Returns who is told that an account fails; None for nobody."""
    if keys is None:
        return None
    return NoticeSettings(keys.after, keys.command or (), float(keys.timeout), keys.deliver)


def _tls(keys: TlsKeys) -> Tls:
    return Tls(
        keys.mode,
        ca_file=keys.ca_file,
        fingerprint=keys.fingerprint,
        client_cert=keys.client_cert,
        client_key=keys.client_key,
        server_name=keys.server_name,
    )


def _proxy_password(keys: ProxyKeys | None) -> SecretSource | None:
    if keys is None or keys.url is None or keys.password is None:
        return None
    return _source(keys.password, keys.url.user)


def _source(keys: PasswordKeys, user: str) -> SecretSource:
    if isinstance(keys, PlainPassword):
        return SecretValue(keys.value)
    if keys.file is not None:
        return SecretFile(keys.file)
    if keys.env is not None:
        return SecretEnv(keys.env)
    if keys.command is not None:
        return SecretCommand(keys.command)
    if keys.keyring is not None and keys.keyring.service is not None:
        return SecretKeyring(keys.keyring.service, keys.keyring.user or user)
    assert keys.credential is not None, "exactly one key of a password is given"
    return SecretCredential(keys.credential)


def _oauth(keys: OAuthKeys, account: str, user: str) -> SecretOAuth:
    assert keys.provider is not None, "a provider is given"
    assert keys.client_id is not None, "a client_id is given"
    return SecretOAuth(
        account,
        user,
        keys.provider,
        keys.client_id,
        client_secret=None if keys.client_secret is None else _source(keys.client_secret, user),
        tenant=keys.tenant or "",
        scope=keys.scope or "",
        authorization_endpoint=keys.authorization_endpoint or "",
        token_endpoint=keys.token_endpoint or "",
        device_authorization_endpoint=keys.device_authorization_endpoint or "",
    )


def _target(keys: DeliverKeys, owner: Owner | None) -> Target:
    if keys.maildir is not None:
        return MaildirTarget(keys.maildir, keys.create_parents, owner)
    assert keys.mbox is not None, "exactly one of maildir and mbox is given"
    return MboxTarget(keys.mbox, keys.create_parents, owner)
