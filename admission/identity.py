"""Who asks: the result of authentication, and the subject of every permission.

An identity is a value: two that are equal may do the same things. It can be a key of a dict, so that a decision about it can be
kept.
"""

from __future__ import annotations

import msgspec

AUTHENTICATED = "system:authenticated"
"""The group of everybody who showed a credential that holds (Kubernetes convention)."""

MASTERS = "system:masters"
"""The group that may do all, whatever the roles say (Kubernetes convention)."""


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
