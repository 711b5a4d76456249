"""A world whose service accounts have tokens, and forgeries of them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from admission.identity import Credentials, Identity
from admission.service_tokens import ServiceTokens
from admission.token_keys import KeyRing, rotated
from apiserver.calls import Answer
from apiserver.service_accounts import StoredAccounts, TokenRequests
from registry.errors import Unauthorized
from tests.apiserver.world import NAMESPACES, NOW, World, opened

ACCOUNTS = "/api/v1/namespaces/shop/serviceaccounts"
ISSUER = "https://skep.example"


@dataclass
class Keys:
    """Keys that a test turns over."""

    ring: KeyRing = field(default_factory=lambda: rotated(None))

    def current(self) -> KeyRing:
        return self.ring

    latest = current


@dataclass
class Till:
    """The world, its tokens, and the time, which stands still."""

    world: World
    keys: Keys
    tokens: ServiceTokens
    now: list[float]

    async def account(self, name: str = "till") -> str:
        """Makes an account; its uid."""
        made = await self.world.make(ACCOUNTS, name)
        return str(made["metadata"]["uid"])

    async def ask(self, name: str = "till", **spec: Any) -> Answer:
        """Asks for a token."""
        return await self.world.do("create", f"{ACCOUNTS}/{name}/token", {"spec": spec})

    async def token(self, name: str = "till", **spec: Any) -> str:
        """A token of an account."""
        answer = await self.ask(name, **spec)
        assert answer.document is not None
        return str(answer.document["status"]["token"])

    async def who(self, token: str) -> Identity | None:
        """Whom a request with the token is from."""
        return await self.tokens.authenticate(Credentials({b"authorization": b"Bearer " + token.encode()}))

    async def why_not(self, token: str) -> str:
        """Why a token is refused; empty: it is not, or it is nobody's."""
        try:
            await self.who(token)
        except Unauthorized as error:
            return error.why
        return ""


def till_in(world: World) -> Till:
    """The accounts of a world have tokens from now on."""
    keys, now, number = Keys(), [NOW], count(1)
    tokens = ServiceTokens(
        keys,
        StoredAccounts(world.store),
        issuer=ISSUER,
        now=lambda: now[0],
        unique=lambda: f"00000000-0000-4000-8000-{next(number):012}",
    )
    manager = world.manager
    requests = TokenRequests(world.registry, world.store, tokens, lambda: now[0], most_seconds=86_400)
    manager._subresources = {**manager._subresources, ("serviceaccounts", "token"): requests.create}
    return Till(world, keys, tokens, now)


@asynccontextmanager
async def till() -> AsyncIterator[Till]:
    """A world with tokens, and the namespace kube-system."""
    async with opened() as world:
        await world.make(NAMESPACES, "kube-system")
        yield till_in(world)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims."""
    header, claims, _ = token.split(".")
    return json.loads(decoded(header)), json.loads(decoded(claims))


def decoded(text: str) -> bytes:
    """Base64 without its padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(value: object) -> str:
    """A part of a token: JSON, or bytes as they are."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")
