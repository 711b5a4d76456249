"""Names by which actors are known to the API: who they are, and where their lease is."""

from __future__ import annotations

from hashlib import blake2b

from registry.names import dns1123_subdomain

ACTOR = "system:actor:"
"""How the user names of actors begin."""

LEASE_NAMESPACE = "kube-system"
_LEASE = "skep-actor-"


def lease_name(actor: str) -> str:
    """The name of the Lease that the runners of an actor elect one of them by. An actor's name that no object could have is
    digested."""
    name = _LEASE + actor
    return name if not dns1123_subdomain(name) else _LEASE + blake2b(actor.encode(), digest_size=16).hexdigest()
