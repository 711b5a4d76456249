"""Acting as somebody else: the `Impersonate-*` headers of the Kubernetes API ("User impersonation").

`Impersonate-User` names whom, `Impersonate-Group` (any number), `Impersonate-Uid` and `Impersonate-Extra-<key>` say more. Only
members of `system:masters` may. From then on the request is that of the impersonated user, with that user's rights and no others;
the access log names both.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

import msgspec

from admission.identity import ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED, Identity
from apiserver.target import Target
from registry.actors import SERVICE_ACCOUNT, groups_of_account
from registry.errors import BadRequest, Forbidden, Unauthorized, details

PREFIX = b"impersonate-"
EXTRA = b"impersonate-extra-"


def asked(names: Iterable[bytes]) -> bool:
    """Whether any of the headers may be about this. It is asked of every request, and takes a fraction of a microsecond."""
    return PREFIX in b"\n".join(names)


def impersonated(identity: Identity | None, headers: Iterable[tuple[bytes, bytes]], verb: str, on: Target | str) -> Identity | None:
    """Who a request is from, once its headers are looked at. Raises Unauthorized, Forbidden, BadRequest."""
    asked = [(name, value) for name, value in headers if name.startswith(PREFIX)]
    if not asked:
        return identity
    if identity is None:
        raise Unauthorized
    wanted = _wanted(asked)
    if MASTERS not in identity.groups:
        raise _refusal(identity.username, verb, on)
    return wanted


def _wanted(asked: list[tuple[bytes, bytes]]) -> Identity:
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
    return Identity(user, uid, _groups(user, groups), pairs)


def _groups(user: str, sent: list[str]) -> tuple[str, ...]:
    """The groups that were sent, those that a service account has by its name, and the one that everybody has."""
    groups = list(dict.fromkeys(sent))
    if user.startswith(SERVICE_ACCOUNT) and not groups:
        namespace = user[len(SERVICE_ACCOUNT) :].partition(":")[0]
        groups = [*groups_of_account(namespace)]
    everybody = UNAUTHENTICATED if user == ANONYMOUS else AUTHENTICATED
    return tuple(groups if everybody in groups else [*groups, everybody])


def _refusal(user: str, verb: str, on: Target | str) -> Forbidden:
    action = f'User "{user}" cannot impersonate-on:user-info:{verb}'
    if isinstance(on, str):
        return Forbidden(f'forbidden: {action} path "{on}"', details={})
    group, plural = on.version.group, on.kind.plural
    resource = f"{plural}.{group}" if group else plural
    namespace = on.name if on.kind.resource == "namespaces" else on.namespace
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    asked = f'{resource} "{on.name}"' if on.name else resource
    sub = f"{plural}/{on.subresource}" if on.subresource else plural
    said = f'{asked} is forbidden: {action} resource "{sub}" in API group "{group}" {where}'
    return Forbidden(said, details=details(name=on.name, group=group, kind=plural))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
