"""Access tokens for sessions: read from the token file, renewed ahead of their end, and once after a refusal.

Fills ``ports.Secrets`` for accounts with ``oauth:``.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fetchd import events
from fetchd.errors import AccountError, Retry, SecretError
from fetchd.model import Secret, SecretOAuth, SecretSource
from fetchd.oauth.client import OAuthClient
from fetchd.oauth.files import LockedTokens, TokenFiles
from fetchd.oauth.providers import Provider, provider_of
from fetchd.oauth.replies import Refusal
from fetchd.oauth.tokens import Tokens, granted
from fetchd.ports import Clock

TOO_YOUNG: Final = 60.0
"""Seconds: an access token of this age that a server refuses has not run out, so a new one would be refused, too."""
ASK_AGAIN: Final = 3600.0
"""Seconds between two questions with a refresh token that the provider refuses. It may come to its senses (an account
that was locked is open again), but ``fetchd login`` is what we wait for; the token file is looked at in each poll."""


class TokenReader:
    """Reads and renews the tokens of all accounts; safe for many threads, and beside other processes."""

    def __init__(
        self,
        files: TokenFiles,
        *,
        reveal: Callable[[SecretSource], Secret],
        clock: Clock,
        chance: Callable[[], float],
        emit: events.Emit,
        client: Callable[..., OAuthClient] = OAuthClient,
    ) -> None:
        """Reads nothing yet.

        Args:
            files: where the tokens are.
            reveal: returns a client's secret.
            clock: its wall time is what tokens run out by.
            chance: returns a random number in [0, 1): accounts do not renew in step.
            emit: is told of renewals.
            client: makes who asks the provider.
        """
        self._files = files
        self._reveal = reveal
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._client = client
        self._told: dict[str, float | None] = {}
        self._unsaved: dict[str, Tokens] = {}
        """What was granted and could not be stored, though there was room: all there is of that login."""

    def reveal(self, source: SecretOAuth) -> Secret:
        """Returns an access token that is good for a while.

        Raises:
            SecretError: somebody has to run ``fetchd login``, or the token file cannot be used.
            NetworkError, ProtocolError: it has run out, and the provider does not answer as it should.
        """
        provider = provider_of(source)
        tokens = _checked(source, provider, self._files.read(source.account))
        if tokens.is_due(self._clock.wall()) or source.account in self._unsaved:
            tokens = self._renewed_ahead(source, provider)
        self._tell(source.account, tokens)
        return tokens.access_token

    def renew(self, source: SecretOAuth, refused: Secret) -> Secret | None:
        """Returns another access token than the one that a server refused; None where that would be no use.

        Raises:
            SecretError, NetworkError, ProtocolError: as :meth:`reveal`.
        """
        provider = provider_of(source)

        def is_wanted(tokens: Tokens) -> bool:
            return tokens.access_token == refused

        tokens = _checked(source, provider, self._files.read(source.account))
        if is_wanted(tokens) and not self._is_worth_renewing(tokens):
            return None
        tokens = self._renewed(source, provider, is_wanted)
        self._tell(source.account, tokens)
        return tokens.access_token

    def _is_worth_renewing(self, tokens: Tokens) -> bool:
        age = self._clock.wall() - tokens.obtained_at
        return tokens.refresh_token is not None and not 0 <= age < TOO_YOUNG

    def _renewed_ahead(self, source: SecretOAuth, provider: Provider) -> Tokens:
        try:
            return self._renewed(source, provider, lambda found: found.is_due(self._clock.wall()))
        except AccountError as error:
            now = self._clock.wall()
            current = _checked(source, provider, self._files.read(source.account))
            if not current.is_good(now):
                raise
            self._emit(events.RenewalFailed(source.account, str(error)))
            return current

    def _renewed(self, source: SecretOAuth, provider: Provider, is_wanted: Callable[[Tokens], bool]) -> Tokens:
        """Renews under the lock, unless another process has done so meanwhile."""
        account = source.account
        with self._files.locked(account) as file:
            tokens = _checked(source, provider, self._latest(account, file))
            if not is_wanted(tokens):
                return tokens
            now = self._clock.wall()
            if tokens.refresh_token is None:
                if tokens.is_good(now):
                    return tokens
                raise _run_out(source)
            if tokens.refused_at is not None and 0 <= now - tokens.refused_at < ASK_AGAIN:
                raise _login_ended(source, provider)
            secret = None if source.client_secret is None else self._reveal(source.client_secret)
            file.prepare()
            reply = self._client(source, provider, secret=secret).refresh(tokens.refresh_token)
            if isinstance(reply, Refusal):
                raise self._refused(reply, source, provider, tokens=tokens, file=file)
            new = granted(reply, source, provider, now=now, chance=self._chance(), before=tokens)
            self._unsaved[account] = new
            self._save(account, new, file)
        self._emit(events.TokenRenewed(account, new.expires_at))
        return new

    def _latest(self, account: str, file: LockedTokens) -> Tokens | None:
        """Returns what the file holds, or what could not be stored before; that is stored now."""
        unsaved, found = self._unsaved.get(account), file.read()
        if unsaved is None:
            return found
        if found is not None and found.obtained_at > unsaved.obtained_at:  # somebody has logged in since
            self._unsaved.pop(account, None)
            return found
        self._save(account, unsaved, file)
        return unsaved

    def _save(self, account: str, tokens: Tokens, file: LockedTokens) -> None:
        file.write(tokens)
        self._unsaved.pop(account, None)

    def _refused(
        self, refusal: Refusal, source: SecretOAuth, provider: Provider, *, tokens: Tokens, file: LockedTokens
    ) -> SecretError:
        if refusal.is_end_of_login:
            ended = replace(tokens, refused_at=self._clock.wall())
            file.write(ended)
            self._tell(source.account, ended)
            return _login_ended(source, provider, refusal.text)
        return refused_request(refusal, provider)

    def _tell(self, account: str, tokens: Tokens) -> None:
        at = tokens.ends_at()
        if account not in self._told or self._told[account] != at:
            self._told[account] = at
            self._emit(events.LoginExpires(account, at))


def why_not(source: SecretOAuth, files: TokenFiles, *, now: float) -> str:
    """Returns why an account cannot log in before somebody does something about it; "" where nothing is known of that.

    Nobody is asked, and nothing is written.
    """
    provider = provider_of(source)
    try:
        tokens = _checked(source, provider, files.read(source.account))
        if tokens.refused_at is not None:
            raise _login_ended(source, provider)
        if tokens.refresh_token is None and not tokens.is_good(now):
            raise _run_out(source)
    except SecretError as error:
        return str(error)
    return ""


def refused_request(refusal: Refusal, provider: Provider) -> SecretError:
    """Returns the error for a refusal that no new login would mend."""
    if refusal.is_about_client:
        advice = f"look at client_id and client_secret, as registered at {provider.registration}"
        return SecretError(f"{provider.name} does not accept this client ({refusal.text}): {advice}")
    return SecretError(f"{provider.name} refuses to give a token: {refusal.text}")


def _checked(source: SecretOAuth, provider: Provider, tokens: Tokens | None) -> Tokens:
    if tokens is None:
        raise _login_needed(source, f"{source.account} has not been logged in")
    if not tokens.belongs_to(source, provider):
        raise _login_needed(source, "its user, client_id or token endpoint has changed since somebody logged in")
    return tokens


def _run_out(source: SecretOAuth) -> SecretError:
    return _login_needed(source, "the access token has run out, and there is no refresh token")


def _login_needed(source: SecretOAuth, why: str) -> SecretError:
    # It costs nothing to look for the file again soon: nobody is asked.
    return SecretError(f"{why}: run fetchd login {source.account}", retry=Retry.SOON)


def _login_ended(source: SecretOAuth, provider: Provider, detail: str = "") -> SecretError:
    said = f" ({detail})" if detail else ""
    return _login_needed(source, f"{provider.name} accepts the login no more: it has run out or was revoked{said}")
