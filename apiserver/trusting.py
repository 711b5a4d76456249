"""Tokens as the server has them: those that it makes itself, for service accounts, and those of an issuer that it trusts.

signing keys          a file, followed while the server runs
ServiceTokens         makes and recognizes tokens of accounts
OidcTokens            recognizes those of the issuer, whose keys a task of its own asks for
TokenReviews          says whose any of them is
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from admission.identity import Authenticator
from admission.oidc import OidcTokens, Trust, problems
from admission.service_tokens import ServiceTokens
from admission.token_keys import KeySource
from admission.token_review import TokenReviews
from apiserver import key_file, openid
from apiserver.config import ConfigError, StartError
from apiserver.following import follow
from apiserver.manager import Subresource
from apiserver.sections import Oidc, Tokens
from apiserver.service_accounts import StoredAccounts, TokenRequests
from apiserver.stored import is_deleting
from registry.builtin import SERVICE_ACCOUNT
from registry.catalog import Registry
from storage.sql import SqlStore
from storage.store import Record, Store

if TYPE_CHECKING:
    from apiserver.oidc_keys import DiscoveredKeys


class Log(Protocol):
    """Where it is told what is wrong with files and issuers."""

    def info(self, event: str, /, **values: Any) -> object: ...
    def warning(self, event: str, /, **values: Any) -> None: ...


class Trusted:
    """The parts, made of the settings. `authenticators` belong into the chain. StartError, ConfigError."""

    def __init__(
        self,
        tokens: Tokens,
        oidc: Oidc,
        keys: KeySource,
        store: Store,
        log: Log,
        time: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        """`time` is in seconds since 1970; `now` never goes back."""
        self._settings = tokens
        self._store = store
        self._time = time
        self.keys = keys
        self.accounts = ServiceTokens(
            keys,
            StoredAccounts(store),
            issuer=tokens.issuer,
            audiences=tokens.audiences,
            now=time,
            unique=lambda: str(uuid4()),
        )
        self._discovered: DiscoveredKeys | None = None
        self.authenticators: tuple[Authenticator, ...] = (self.accounts,)
        if oidc.issuer:
            from apiserver.oidc_keys import DiscoveredKeys

            trust = trust_of(oidc, tokens)
            self._discovered = DiscoveredKeys(
                oidc.issuer, issuer_context(oidc.ca), log, now, refresh=oidc.refresh_seconds, stale=oidc.stale_seconds
            )
            self.authenticators = (self.accounts, OidcTokens(trust, self._discovered, time))

    def reviews(self, others: Sequence[Authenticator] = ()) -> TokenReviews:
        """Says whose any token is. `others` know further ones."""
        return TokenReviews(self.accounts, (*self.authenticators[1:], *others))

    def subresources(self, registry: Registry) -> Mapping[tuple[str, str], Subresource]:
        """What answers requests for tokens."""
        requests = TokenRequests(registry, self._store, self.accounts, self._time, most_seconds=self._settings.max_seconds)
        return {(SERVICE_ACCOUNT.resource, "token"): requests.create}

    def documents(self, url: str) -> Mapping[str, Callable[[], openid.Document]]:
        """What others check tokens of accounts by. `url` is where this server is, which a configured issuer goes before."""
        base = url if self._settings.issuer == Tokens().issuer else self._settings.issuer
        return openid.documents(self._settings.issuer, base, self.keys)

    def follow(self, store: SqlStore, ended: Callable[[], None]) -> None:
        """Has `ended` called when an account is gone, or is going: its tokens are dead."""
        follow(store, SERVICE_ACCOUNT.resource, _Ends(ended))

    async def run(self) -> None:
        """Asks the issuer for its keys whenever they are needed, until it is cancelled."""
        if self._discovered is not None:
            await self._discovered.run()


class _Ends:
    """Implements `Follower`."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def put(self, record: Record) -> None:
        if is_deleting(record):
            self._ended()

    def remove(self, record: Record) -> None:
        del record
        self._ended()


def token_keys(folder: Path, tokens: Tokens, log: Log, now: Callable[[], float]) -> KeySource:
    """The keys that sign, in the data folder or in the file that is set. StartError."""
    return key_file.KeyFile(key_file.prepare(folder, tokens.key_file, log.warning), now, log.warning)


def check_issuer(oidc: Oidc, tokens: Tokens) -> None:
    """Refuses settings that cannot be meant, before anything is started. StartError, ConfigError."""
    if oidc.issuer:
        trust_of(oidc, tokens)
        issuer_context(oidc.ca)


def trust_of(oidc: Oidc, tokens: Tokens) -> Trust:
    """What the settings say of the issuer. ConfigError with everything that is wrong with them."""
    pairs = [each.partition("=") for each in oidc.required_claims]
    wrong = [f"oidc.required_claims: {name!r}: it takes NAME=VALUE" for name, equals, _ in pairs if not equals or not name]
    email = oidc.username_claim == "email"
    prefix = oidc.username_prefix or ("" if email else f"{oidc.issuer}#")
    trust = Trust(
        issuer=oidc.issuer,
        audiences=oidc.audiences,
        username_claim=oidc.username_claim,
        username_prefix="" if prefix == "-" else prefix,
        groups_claim=oidc.groups_claim,
        groups_prefix="" if oidc.groups_prefix == "-" else oidc.groups_prefix,
        required=tuple((name, value) for name, _, value in pairs),
        algorithms=oidc.algorithms,
        leeway=oidc.leeway_seconds,
    )
    wrong += problems(trust)
    if oidc.issuer == tokens.issuer:
        wrong.append(f"oidc.issuer and tokens.issuer are both {oidc.issuer!r}: nobody could tell whose a token is")
    if wrong:
        raise ConfigError(wrong)
    return trust


def issuer_context(ca: Path | None) -> ssl.SSLContext:
    """What the issuer's certificate is checked by. StartError."""
    from apiserver.oidc_keys import context_of

    try:
        return context_of(None if ca is None else ca.read_text(encoding="ascii"))
    except OSError as error:
        raise StartError(f"cannot read oidc.ca {ca}: {error.strerror}") from None
    except ValueError as error:
        raise StartError(f"oidc.ca {ca} cannot be used: {error}") from None
