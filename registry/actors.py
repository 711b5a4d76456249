"""Names by which actors are known to the API: who they are, and where their lease is.

An actor acts as a service account of its own, `kube-system/skep-actor-<name>`. The Lease that its runners elect one of them by has
the same name, so that the user name of a write leads to the lease that fences it.
"""

from __future__ import annotations

from hashlib import blake2b

from registry.names import dns1123_subdomain

SERVICE_ACCOUNT = "system:serviceaccount:"
"""How the user names of service accounts begin; namespace and name follow (Kubernetes convention)."""

ACTOR_NAMESPACE = "kube-system"
"""Where the accounts of actors are, and their leases."""

ACTOR_ANNOTATION = "skep.dev/actor"
"""Says on an account which actor it is of."""

_PREFIX = "skep-actor-"
_HOME = f"{SERVICE_ACCOUNT}{ACTOR_NAMESPACE}:"
_ACTORS = _HOME + _PREFIX

BUILTIN_ACTORS = ("namespace-controller", "clusterrole-aggregation", "garbage-collector", "expiry", "custom-resource-definitions")
"""The actors that every server has. A plugin cannot take these names: it would act as them."""


def account_name(actor: str) -> str:
    """The name of an actor's service account, and of its lease. An actor's name that no object could have is digested."""
    name = _PREFIX + actor
    return name if not dns1123_subdomain(name) else _PREFIX + blake2b(actor.encode(), digest_size=16).hexdigest()


def user_of(actor: str) -> str:
    """The user name under which an actor acts."""
    return user_of_account(ACTOR_NAMESPACE, account_name(actor))


def account_of(user: str) -> str | None:
    """The name of an actor's service account, and of its lease, by the user name; None for whoever is no actor."""
    return user[len(_HOME) :] if user.startswith(_ACTORS) else None


def user_of_account(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{SERVICE_ACCOUNT}{namespace}:{name}"


def groups_of_account(namespace: str) -> tuple[str, ...]:
    """The groups of a service account: that of all accounts, and that of its namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
