"""Acting as somebody else: the `Impersonate-*` headers of the Kubernetes API ("User impersonation").

`Impersonate-User` names whom, `Impersonate-Group` (any number), `Impersonate-Uid` and `Impersonate-Extra-<key>` say more. Each of
them needs the verb `impersonate`, with the value as the name of the object: on `users` or `serviceaccounts`, on `groups`, and in
the API group authentication.k8s.io on `uids` and on `userextras/<key>`. From then on the request is that of the impersonated user,
with that user's rights and no others; the access log names both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote_to_bytes

import msgspec

from admission.identity import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, Identity
from admission.review import Attributes, Decision
from apiserver import refusals
from registry.actors import SERVICE_ACCOUNT
from registry.errors import BadRequest, Unauthorized
from registry.names import dns1123_label, dns1123_subdomain

Decide = Callable[[Attributes], Decision]

PREFIX = b"impersonate-"
EXTRA = b"impersonate-extra-"
AUTHENTICATION = "authentication.k8s.io"


def asked(names: Iterable[bytes]) -> bool:
    """Whether any of the headers may be about this. It is asked of every request, and takes a fraction of a microsecond."""
    return PREFIX in b"\n".join(names)


def impersonated(
    identity: Identity | None, headers: Iterable[tuple[bytes, bytes]], on: Attributes, decide: Decide
) -> Identity | None:
    """Who a request is from, once its headers are looked at. `on` is what is asked for. Raises Unauthorized, Forbidden,
    BadRequest."""
    asked = [(name, value) for name, value in headers if name.startswith(PREFIX)]
    if not asked:
        return identity
    if identity is None:
        raise Unauthorized
    wanted, groups = _wanted(asked)
    for attributes in _needed(identity, wanted, groups):
        if not decide(attributes).allowed:
            raise refusals.not_allowed(on, f'User "{identity.username}" cannot impersonate-on:user-info:{on.verb}')
    return wanted


def needed(identity: Identity | None, headers: Iterable[tuple[bytes, bytes]]) -> tuple[Attributes, ...]:
    """What `identity`, who acts as the one of the headers, has to be allowed for as long as that goes on. None: nobody does."""
    if identity is None:
        return ()
    return tuple(_needed(identity, *_wanted([(name, value) for name, value in headers if name.startswith(PREFIX)])))


def _needed(identity: Identity, wanted: Identity, groups: Iterable[str]) -> Iterator[Attributes]:
    """What one has to be allowed to be somebody else. `groups` are those that were asked for, without those that come by
    themselves."""

    def each(resource: str, name: str, namespace: str = "", subresource: str = "") -> Attributes:
        return Attributes(identity, "impersonate", resource, subresource, namespace, name)

    account = _account(wanted.username)
    yield each("users", wanted.username) if account is None else each("serviceaccounts", account[1], account[0])
    for group in groups:
        yield each("groups", group)
    if wanted.uid:
        yield each(f"uids.{AUTHENTICATION}", wanted.uid)
    for key, values in wanted.extra:
        for value in values:
            yield each(f"userextras.{AUTHENTICATION}", value, subresource=key)


def _account(username: str) -> tuple[str, str] | None:
    """Namespace and name of the service account that a user name is of; None if it is of none."""
    namespace, colon, name = username.removeprefix(SERVICE_ACCOUNT).partition(":")
    is_account = username.startswith(SERVICE_ACCOUNT) and colon and not dns1123_label(namespace) and not dns1123_subdomain(name)
    return (namespace, name) if is_account else None


def _wanted(asked: list[tuple[bytes, bytes]]) -> tuple[Identity, list[str]]:
    """Whom the headers ask for, and which of the groups they name. Raises BadRequest."""
    user, uid = "", ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for name, raw in asked:
        value = _text(raw)
        if name == b"impersonate-user":
            user = user or value
        elif name == b"impersonate-group":
            groups.append(value)
        elif name == b"impersonate-uid":
            uid = uid or value
        elif name.startswith(EXTRA):
            extra.setdefault(_text(unquote_to_bytes(name[len(EXTRA) :])).lower(), []).append(value)
    if not user:
        listed = f"[]string{{{', '.join(_quoted(group) for group in groups)}}}" if groups else "[]string(nil)"
        said = ", ".join(f"{_quoted(key)}:[]string{{{', '.join(map(_quoted, values))}}}" for key, values in sorted(extra.items()))
        shown_extra = f"map[string][]string{{{said}}}" if extra else "map[string][]string(nil)"
        info = f'&user.DefaultInfo{{Name:"", UID:{_quoted(uid)}, Groups:{listed}, Extra:{shown_extra}}}'
        raise BadRequest(f"requested {info} without impersonating a user name")
    pairs = tuple((key, tuple(values)) for key, values in sorted(extra.items()))
    return Identity(user, uid, groups_of(user, groups), pairs), groups


def groups_of(user: str, sent: list[str]) -> tuple[str, ...]:
    """The groups that were sent, those that a service account has by its name, and the one that everybody has."""
    groups = list(dict.fromkeys(sent))
    account = _account(user)
    if account is not None and not groups:
        namespace = account[0]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    everybody = UNAUTHENTICATED if user == ANONYMOUS else AUTHENTICATED
    return tuple(groups if everybody in groups else [*groups, everybody])


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
