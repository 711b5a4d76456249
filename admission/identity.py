"""Who asks: the result of authentication, and the subject of every permission.

An identity is a value: two that are equal may do the same things. It can be a key of a dict, so that a decision about it can be
kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from registry.actors import ACTOR_NAMESPACE, account_name, groups_of_account, user_of_account
from registry.builtin.actor import KEEPER

AUTHENTICATED = "system:authenticated"
"""The group of everybody who showed a credential that holds (Kubernetes convention)."""

MASTERS = "system:masters"
"""The group that may do all, whatever the roles say (Kubernetes convention)."""

ANONYMOUS = "system:anonymous"
UNAUTHENTICATED = "system:unauthenticated"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
"""The key in `extra` under which an identity says by which credential it was known, in a form that is no secret."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """A user name with its groups.

    `uid` tells users of the same name apart over time, and may be empty. `extra` holds what the authenticator knows besides, as
    pairs of a key and its values (the `extra` of a Kubernetes UserInfo).
    """

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def authenticated(identity: Identity) -> Identity:
    """The identity as a member of `system:authenticated`, which every authenticator adds exactly once."""
    if AUTHENTICATED in identity.groups:
        return identity
    return msgspec.structs.replace(identity, groups=(*identity.groups, AUTHENTICATED))


ADMIN = authenticated(Identity(username="admin", groups=(MASTERS,)))
"""Who the admin token of the data folder stands for."""

SYSTEM = authenticated(Identity(KEEPER, groups=(MASTERS,)))
"""The server itself. Its name and its group can be claimed by whoever may impersonate; this very object cannot: where the server is
to be told from others, ask with `is`."""

NOBODY = Identity(ANONYMOUS, groups=(UNAUTHENTICATED,))
"""Who asks without any credential, where that is allowed (Kubernetes convention)."""


def is_server(identity: Identity) -> bool:
    """Whether it is the server itself that writes, which nobody outside may keep from starting. The name alone is not enough: it
    may be impersonated, or stand in a certificate."""
    return identity is SYSTEM


def service_account(namespace: str, name: str, uid: str = "", extra: tuple[tuple[str, tuple[str, ...]], ...] = ()) -> Identity:
    """Who a service account is."""
    return authenticated(Identity(user_of_account(namespace, name), uid, groups_of_account(namespace), extra))


def actor_identity(name: str) -> Identity:
    """Who an actor is: its service account."""
    return service_account(ACTOR_NAMESPACE, account_name(name))


class Certificate(msgspec.Struct, frozen=True):
    """What a client certificate says of its owner (RFC 5280: the common name, and every organization). TLS has verified that its
    authority is ours; `common_name` is empty when it names nobody, or may not be shown by clients.

    `not_before` and `not_after`: when it holds, in seconds since 1970. `fingerprint` is its SHA-256.
    """

    common_name: str
    organizations: tuple[str, ...] = ()
    fingerprint: str = ""
    not_before: float = -math.inf
    not_after: float = math.inf


class Credentials(msgspec.Struct, frozen=True):
    """What a request shows of itself: its headers, with names in lower case, the address it came from, the certificate of its
    connection, if there was one, and the path that it is for, since some are for everybody.

    Of a header that came more than once the values are joined by commas.
    """

    headers: Mapping[bytes, bytes] = {}
    address: str = ""
    certificate: Certificate | None = None
    path: str = ""


class Authenticator(Protocol):
    """Tells who a request is from. One of a chain: the first that knows the credential answers."""

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """None: no credential of the kind that this one knows. Raises Unauthorized: of that kind, and bad."""
        ...


class TokenReviewer(Protocol):
    """Says whose a bearer token is, to those who were handed it and may ask (TokenReview)."""

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[Identity, tuple[str, ...]]:
        """Whom the token stands for, and for which of the audiences it was made (none asked for: those of this server).

        Raises Unauthorized, whose `why` says what is wrong.
        """
        ...
