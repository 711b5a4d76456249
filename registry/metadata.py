"""The `metadata` of every object (meta/v1 ObjectMeta): reading it, what the server decides in it, and what it must obey.

`read` comes first: it makes sure of the types and drops what is unknown or empty, and everything else here counts on that. Then, on
a create, `for_create`; on an update, `inherit`; on both `dedup_owners`; at the end, when the object has its name, `validate` or
`validate_update`. Nothing given is changed. Words of errors and warnings are those of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from registry.errors import Cause, forbidden, invalid, required, shown, too_long
from registry.names import (
    NameRule,
    annotation_key,
    dns1123_label,
    dns1123_subdomain,
    is_label,
    label_value,
    prefix_problems,
    qualified_name,
)
from registry.patches import json_type
from registry.times import normalise_time

Metadata = dict[str, Any]

ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes that all keys and values of the annotations may have together."""

STANDARD_FINALIZERS = ("orphan", "foregroundDeletion")
"""Finalizers of the garbage collector: they need no domain, and an object may have one of them at most."""

_SERVER_SET = frozenset({"uid", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"})
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_CONTENTS = frozenset({"labels", "annotations", "ownerReferences", "finalizers", "generation"})
_COMPARED = (*_IMMUTABLE, *_CONTENTS)
_CANNOT_OWN = frozenset({("v1", "Event")})
_ONLY_TEXT = frozenset((str,))
_NO_MANAGED_FIELDS: tuple[Any, ...] = (None, [], [{}])
_INT64 = 1 << 63


class MetadataTypeError(ValueError):
    """A part of metadata is of the wrong type. The message is what clients know after `cannot be handled as a Widget: `."""


class Reading(NamedTuple):
    """Metadata with known fields only, and the dotted paths of those that were dropped (`metadata.ownerReferences[0].x`)."""

    metadata: Metadata
    unknown: tuple[str, ...]


def read(raw: Any, builtin: str = "") -> Reading:
    """The metadata in a document. `builtin` is the name of the kind when it is one of Kubernetes': errors then name the whole path.

    Empty values are left out (but an empty list of managedFields, which means something), null counts as absent, times are
    normalised, `selfLink` is dropped. MetadataTypeError: a wrong type.
    """
    if raw is None:
        return Reading({}, ())
    if not isinstance(raw, dict):
        place = f"struct field {builtin}.metadata of" if builtin else "value of"
        raise MetadataTypeError(f"json: cannot unmarshal {json_type(raw)} into Go {place} type v1.ObjectMeta")
    unknown: list[str] = []
    metadata = _struct(raw, _METADATA, _Place("ObjectMeta", "metadata" if builtin else "", "metadata", unknown))
    metadata.pop("selfLink", None)
    return Reading(metadata, tuple(unknown))


def for_create(metadata: Metadata) -> Metadata:
    """Metadata of a new object: what only the server sets is gone. A resourceVersion stays, for whoever refuses it."""
    dropped = {*_SERVER_SET, "managedFields"} if metadata.get("managedFields") in _NO_MANAGED_FIELDS else _SERVER_SET
    return {key: value for key, value in metadata.items() if key not in dropped}


def inherit(new: Metadata, old: Metadata) -> Metadata:
    """Metadata of an update, with what the stored object knows better or what may be left out.

    Creation time and generation are the old ones; a deletion cannot be taken back; uid and namespace that are not sent stay. What
    is sent and differs, such as another uid, is kept for `validate_update` to refuse. managedFields that are not sent stay; those
    that are sent as `[]` or `[{}]` are given up.
    """
    kept: Metadata = {key: old[key] for key in ("namespace", "uid", "deletionGracePeriodSeconds", "managedFields") if key in old}
    fixed: Metadata = {key: old[key] for key in ("creationTimestamp", "generation", "deletionTimestamp") if key in old}
    sent = {key: value for key, value in new.items() if key not in {"creationTimestamp", "generation"}}
    result = {**kept, **sent, **fixed}
    if result.get("managedFields") in _NO_MANAGED_FIELDS:
        result.pop("managedFields", None)
    return result


def dedup_owners(metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata with each owner reference once, and the warning if there were more."""
    owners = metadata.get("ownerReferences", ())
    if len(owners) < 2:
        return metadata, ()
    unique: dict[tuple[Any, ...], Any] = {}
    repeated: list[str] = []
    for owner in owners:
        identity = tuple(owner.items())  # `read` gives the fields in one order
        if identity in unique:
            repeated.append(owner["uid"])
        unique.setdefault(identity, owner)
    if not repeated:
        return metadata, ()
    warning = (
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such "
        f"requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {', '.join(repeated)}"
    )
    return {**metadata, "ownerReferences": list(unique.values())}, (warning,)


def finalizer_warnings(new: Metadata, old: Metadata | None = None) -> tuple[str, ...]:
    """A warning for every finalizer without a domain that was not there before. For writes that succeed."""
    if "finalizers" not in new:
        return ()
    known = {*STANDARD_FINALIZERS, *(old or {}).get("finalizers", ())}
    bare = [name for name in new.get("finalizers", ()) if "/" not in name and name not in known]
    return tuple(
        f"metadata.finalizers: {shown(name)}: prefer a domain-qualified finalizer name to avoid accidental conflicts with other "
        "finalizer writers"
        for name in bare
    )


def validate(
    metadata: Metadata, *, namespaced: bool, name_rule: NameRule = dns1123_subdomain, field: str = "metadata"
) -> list[Cause]:
    """What is wrong with the metadata of a new object, which has been given its name and namespace."""
    return [*_check_names(metadata, namespaced, name_rule, field), *_check_contents(metadata, field)]


def validate_update(new: Metadata, old: Metadata, *, field: str = "metadata") -> list[Cause]:
    """What is wrong with metadata that is to replace `old`, after `inherit`. Names are not checked: they cannot change."""
    changed = [key for key in _COMPARED if new.get(key) != old.get(key)]
    if not changed:
        return []
    causes = [] if _CONTENTS.isdisjoint(changed) else [*_check_contents(new, field)]
    added = sorted(set(new.get("finalizers", ())) - set(old.get("finalizers", ())))
    if added and old.get("deletionTimestamp"):
        listed = "[]string{" + ", ".join(map(shown, added)) + "}"
        detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {listed}"
        causes.append(forbidden(f"{field}.finalizers", detail))
    fixed = [key for key in changed if key in _IMMUTABLE]
    causes.extend(invalid(f"{field}.{key}", new.get(key), "field is immutable") for key in fixed)
    return causes


def check_labels(labels: Mapping[str, str], field: str) -> Iterator[Cause]:
    """What is wrong with the keys and values of labels."""
    for key, value in labels.items():
        if is_label(key, value):
            continue
        for problem in qualified_name(key):
            yield invalid(field, key, problem)
        for problem in label_value(value):
            yield invalid(field, value, problem)


def _check_names(metadata: Metadata, namespaced: bool, name_rule: NameRule, field: str) -> Iterator[Cause]:
    prefix, name, namespace = (metadata.get(key, "") for key in ("generateName", "name", "namespace"))
    if prefix:
        for problem in prefix_problems(name_rule, prefix):
            yield invalid(f"{field}.generateName", prefix, problem)
    if not name:
        yield required(f"{field}.name", "name or generateName is required")
    else:
        for problem in name_rule(name):
            yield invalid(f"{field}.name", name, problem)
    if namespaced and not namespace:
        yield required(f"{field}.namespace")
    elif namespaced:
        for problem in dns1123_label(namespace):
            yield invalid(f"{field}.namespace", namespace, problem)
    elif namespace:
        yield forbidden(f"{field}.namespace", "not allowed on this type")


def _check_contents(metadata: Metadata, field: str) -> Iterator[Cause]:
    if metadata.get("generation", 0) < 0:
        yield invalid(f"{field}.generation", metadata["generation"], "must be greater than or equal to 0")
    if "labels" in metadata:
        yield from check_labels(metadata["labels"], f"{field}.labels")
    if "annotations" in metadata:
        yield from _check_annotations(metadata["annotations"], f"{field}.annotations")
    if "ownerReferences" in metadata:
        yield from _check_owners(metadata["ownerReferences"], f"{field}.ownerReferences")
    if "finalizers" in metadata:
        yield from _check_finalizers(metadata["finalizers"], f"{field}.finalizers")


def _check_annotations(annotations: Mapping[str, str], field: str) -> Iterator[Cause]:
    for key in annotations:
        for problem in annotation_key(key):
            yield invalid(field, key, problem)
    characters = sum(map(len, annotations)) + sum(map(len, annotations.values()))
    if characters * 4 > ANNOTATIONS_LIMIT and _bytes_of(annotations) > ANNOTATIONS_LIMIT:  # a character has four bytes at most
        yield too_long(field, ANNOTATIONS_LIMIT)


def _bytes_of(texts: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in texts.items())


def _check_owners(owners: list[dict[str, Any]], field: str) -> Iterator[Cause]:
    for owner in owners:
        yield from _check_owner(owner, field)
    controllers = [f"{owner['kind']}/{owner['name']}" for owner in owners if owner.get("controller")]
    for another in controllers[1:]:
        detail = f'Found "true" in references for {controllers[0]} and {another}'
        yield invalid(field, owners, f"Only one reference can have Controller set to true. {detail}")


def _check_owner(owner: dict[str, Any], field: str) -> Iterator[Cause]:
    version = owner["apiVersion"]
    group_and_version = version.count("/") < 2 and bool(version.rpartition("/")[2])
    if not group_and_version:
        yield invalid(f"{field}.apiVersion", version, "version must not be empty")
    for key in ("kind", "name", "uid"):
        if not owner[key]:
            yield invalid(f"{field}.{key}", "", "must not be empty")
    if (version, owner["kind"]) in _CANNOT_OWN:
        yield invalid(field, owner, f"/{version}, Kind={owner['kind']} is disallowed from being an owner")


def _check_finalizers(finalizers: list[str], field: str) -> Iterator[Cause]:
    for name in finalizers:
        for problem in qualified_name(name):
            yield invalid(field, name, problem)
    if set(STANDARD_FINALIZERS) <= set(finalizers):
        yield invalid(field, finalizers, f"finalizer {' and '.join(STANDARD_FINALIZERS)} cannot be both set")


# Reading. A reader takes a value and its place and gives the value as it is stored; None: leave the field out.


class _Place(NamedTuple):
    """Where a value is: the Go struct and path that errors name, the path in the document, and where unknown fields are noted."""

    struct: str
    path: str
    at: str
    unknown: list[str]

    def field(self, name: str) -> _Place:
        return self._replace(path=f"{self.path}.{name}" if self.path else name, at=f"{self.at}.{name}")


_Reader = Callable[[Any, _Place], Any]


def _struct(value: dict[str, Any], readers: Mapping[str, _Reader], place: _Place) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, inner in value.items():
        reader = readers.get(key)
        if reader is None:
            place.unknown.append(f"{place.at}.{key}")
        elif (reader is _string and type(inner) is str) or (
            reader is _text_map and type(inner) is dict and _ONLY_TEXT.issuperset(map(type, inner.values()))
        ):  # most fields are, and need no place for an error
            if inner:
                result[key] = inner
        elif inner is not None:
            stored = reader(inner, place.field(key))
            if stored is not None:
                result[key] = stored
    return result


def _mistyped(value: Any, place: _Place, wanted: str) -> NoReturn:
    said = f"{json_type(value)} {shown(value)}" if isinstance(value, float) else json_type(value)
    raise MetadataTypeError(f"json: cannot unmarshal {said} into Go struct field {place.struct}.{place.path} of type {wanted}")


def _string(value: Any, place: _Place) -> str | None:
    if not isinstance(value, str):
        _mistyped(value, place, "string")
    return value or None


def _boolean(value: Any, place: _Place) -> bool:
    if not isinstance(value, bool):
        _mistyped(value, place, "bool")
    return value


def _integer(value: Any, place: _Place) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _mistyped(value, place, "int64")
    if not -_INT64 <= value < _INT64:
        said = f"number {value if abs(value) < 1 << 256 else '...'}"
        raise MetadataTypeError(f"json: cannot unmarshal {said} into Go struct field {place.struct}.{place.path} of type int64")
    return value


def _generation(value: Any, place: _Place) -> int | None:
    return _integer(value, place) or None


def _time(value: Any, place: _Place) -> str:
    if not isinstance(value, str):
        _mistyped(value, place, "string")
    try:
        return normalise_time(value)
    except ValueError as error:
        raise MetadataTypeError(str(error)) from error


def _text_map(value: Any, place: _Place) -> dict[str, str] | None:
    if not isinstance(value, dict):
        _mistyped(value, place, "map[string]string")
    return {key: _string(inner, place) or "" if inner is not None else "" for key, inner in value.items()} or None


def _text_list(value: Any, place: _Place) -> list[str] | None:
    if not isinstance(value, list):
        _mistyped(value, place, "[]string")
    return [_string(item, place) or "" if item is not None else "" for item in value] or None


def _structs(value: Any, place: _Place, struct: str, readers: Mapping[str, _Reader]) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        _mistyped(value, place, f"[]v1.{struct}")
    result = []
    for number, item in enumerate(value):
        if not isinstance(item, dict | None):
            _mistyped(item, place, f"v1.{struct}")
        result.append(_struct(item or {}, readers, place._replace(struct=struct, at=f"{place.at}[{number}]")))
    return result


def _owners(value: Any, place: _Place) -> list[dict[str, Any]] | None:
    """Owner references, each with all that it must have, in the order of meta/v1, which shows in errors."""
    optional = {"controller", "blockOwnerDeletion"}
    found = _structs(value, place, "OwnerReference", _OWNER)
    return [{key: owner.get(key, "") for key in _OWNER if key in owner or key not in optional} for owner in found] or None


def _managed_fields(value: Any, place: _Place) -> list[dict[str, Any]]:
    return _structs(value, place, "ManagedFieldsEntry", _MANAGED_FIELDS)


def _anything(value: Any, place: _Place) -> Any:
    return value


_OWNER: dict[str, _Reader] = {
    "apiVersion": _string,
    "kind": _string,
    "name": _string,
    "uid": _string,
    "controller": _boolean,
    "blockOwnerDeletion": _boolean,
}

_MANAGED_FIELDS: dict[str, _Reader] = {
    "manager": _string,
    "operation": _string,
    "apiVersion": _string,
    "time": _time,
    "fieldsType": _string,
    "fieldsV1": _anything,
    "subresource": _string,
}

_METADATA: dict[str, _Reader] = {
    "name": _string,
    "generateName": _string,
    "namespace": _string,
    "selfLink": _string,
    "uid": _string,
    "resourceVersion": _string,
    "generation": _generation,
    "creationTimestamp": _time,
    "deletionTimestamp": _time,
    "deletionGracePeriodSeconds": _integer,
    "labels": _text_map,
    "annotations": _text_map,
    "ownerReferences": _owners,
    "finalizers": _text_list,
    "managedFields": _managed_fields,
}
