"""Objects that an actor makes for an object of its own: its children. Written so that any number of runs come to the same.

What it promises:

* **Once.** A child has a name that is the same in every run, and its owner's uid in an owner reference from the moment it exists:
  a run that is repeated, wherever the one before it ended, finds what that one made.
* **By difference.** Fields that the actor sets are compared and, if they differ, patched. Fields that it leaves out (None, or a
  default that is not written) stay as they are: what the server or others put there is no reason for a write. Maps and lists that
  it sets are as it set them; labels and annotations of others stay.
* **Only its own.** What exists under the name of a child and does not belong to the owner (by uid) is never changed and never
  deleted: `NotTheOwnerError` says whose it is.
* **On what was read.** Every write holds for the revision that it was decided on; when somebody was faster, it is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from actors.cache import Seen
from actors.client import Client, Preconditions, place_of
from registry.declarations import Place
from registry.errors import AlreadyExists, ApiError, ConflictError, NotFound
from registry.nodes import Document, Node
from registry.resource import Metadata, Object, OwnerReference, replace
from registry.typed import node_of, to_document

T = TypeVar("T", bound=Object)

_ATTEMPTS = 20
"""Of a write that others keep overtaking."""

_ELSEWHERE = ("apiVersion", "kind", "metadata", "status")
"""Fields of an object that are not compared: its identity, and what belongs to the owner of its kind."""

FOREGROUND = "foregroundDeletion"
"""The finalizer of an object that is deleted after its children."""

Kin = Callable[[type, str], Collection[Place] | None]
"""Where objects of a kind are that name an owner (by uid), as far as they have been seen; None: not known, they must be listed."""


class NotTheOwnerError(AlreadyExists):
    """An object has the name that a child is to have, and belongs to somebody else."""


async def own(client: Client, owner: Object, child: T) -> T:
    """Makes sure that the child is there, belongs to the owner, and is as it is given; returns it as it is stored.

    Raises NotTheOwnerError; ConflictError if it is being deleted, is to be made for an owner that is deleted after its children, or
    if others keep changing it; what `Client.create` and
    `Client.patch` raise; ValueError for an owner that is not stored, a child without a name, and a child in another namespace.
    """
    wanted = _belonging(owner, child)
    model, place = type(wanted), place_of(wanted)
    for _ in range(_ATTEMPTS):
        found = await client.get(model, place.name, place.namespace)
        if found is not None:
            _check_own(owner, found)
        elif _goes_with_children(owner):
            raise ConflictError(f"{_named(owner)} is being deleted after its children: {_named(wanted)} is not made again")
        try:
            if found is None:
                return await client.create(wanted)
            patch = changes(found, wanted)
            if not patch:
                return found
            patch["metadata"] = {**patch.get("metadata", {}), "resourceVersion": found.metadata.resource_version}
            return await client.patch(model, place.name, place.namespace, patch, uid=found.metadata.uid)
        except (AlreadyExists, ConflictError, NotFound) as error:
            refused: ApiError = error
            if found is None and isinstance(error, NotFound):
                raise  # its namespace is not there
    raise ConflictError(f"{_named(wanted)} was changed {_ATTEMPTS} times while it was to be written: {refused.message}")


async def exactly(
    client: Client, owner: Object, wanted: Iterable[Object], of: Sequence[type[Object]], kin: Kin | None = None
) -> list[Object]:
    """Makes the owner's children of the kinds `of` be exactly the wanted ones: creates, changes, and deletes what is too many.

    Returns them as they are stored, in their order. Raises what `own` raises, and ValueError for two of one name, or of a kind that
    is not in `of`: all of that before anything is written.
    """
    children = [_belonging(owner, child) for child in wanted]
    places: set[tuple[type, Place]] = set()
    for child in children:
        model, place = type(child), place_of(child)
        if model not in of:
            raise ValueError(f"{_named(child)} is of a kind that is not in of=[{', '.join(each.__name__ for each in of)}]")
        if (model, place) in places:
            raise ValueError(f"{_named(child)} is wanted twice; each child needs a name of its own")
        places.add((model, place))
    stored = [await own(client, owner, child) for child in children]
    for model in dict.fromkeys(of):
        for place in await _places(client, owner, model, kin):
            if (model, place) not in places:
                await _remove(client, owner, model, place)
    return stored


def changes(found: Object, wanted: Object) -> Document:
    """The merge patch that makes what is stored what is wanted; empty if it is, as far as the wanted one says."""
    stored, said = to_document(found), to_document(wanted)
    patch = _struct(_node(type(wanted)), {key: value for key, value in said.items() if key not in _ELSEWHERE}, stored)
    metadata: Document = {}
    for key in ("labels", "annotations"):
        theirs = stored["metadata"].get(key) or {}
        differing = {name: value for name, value in (said["metadata"].get(key) or {}).items() if theirs.get(name) != value}
        if differing:
            metadata[key] = differing
    owners = _owners(stored["metadata"].get("ownerReferences") or [], said["metadata"]["ownerReferences"])
    if owners is not None:
        metadata["ownerReferences"] = owners
    return patch | ({"metadata": metadata} if metadata else {})


class Family:
    """Keeps in mind which observed objects name which owner. `places` is a `Kin`."""

    def __init__(self) -> None:
        self._places: dict[type, dict[str, set[Place]]] = {}  # of each kind that has been listed: owner's uid -> where
        self._owners: dict[type, dict[Place, tuple[str, ...]]] = {}  # the same the other way round

    def listed(self, model: type) -> None:
        """Everything that there is of a kind has been seen."""
        self._places.setdefault(model, {})

    def saw(self, model: type, seen: Seen) -> None:
        """An object has changed, and perhaps its owners."""
        if seen.old is not None and seen.new is not None and seen.old.desired == seen.new.desired:
            return
        places = self._places.setdefault(model, {})
        owners = self._owners.setdefault(model, {})
        for uid in owners.pop(seen.place, ()):
            places[uid].discard(seen.place)
            if not places[uid]:
                del places[uid]
        references = seen.new.document()["metadata"].get("ownerReferences") or () if seen.new is not None else ()
        named = tuple(dict.fromkeys(reference["uid"] for reference in references))
        if named:
            owners[seen.place] = named
        for uid in named:
            places.setdefault(uid, set()).add(seen.place)

    def places(self, model: type, uid: str) -> Collection[Place] | None:
        """See `Kin`."""
        known = self._places.get(model)
        return None if known is None else tuple(sorted(known.get(uid, ())))


def _belonging(owner: Object, child: T) -> T:
    """The child as it is to be stored: in its owner's namespace, with its owner. Raises ValueError."""
    metadata = child.metadata
    if not owner.metadata.uid or not owner.kind:
        raise ValueError(f"{_named(owner)} has no uid: only an object that was read from the server can own others")
    if not metadata.name or metadata.generate_name:
        raise ValueError(f"a child {type(child).__name__} needs a name, the same in every run; without one each run makes another")
    namespace = metadata.namespace or owner.metadata.namespace
    if owner.metadata.namespace and namespace != owner.metadata.namespace:
        raise ValueError(f"{_named(child)} cannot belong to {_named(owner)}: owners and children are in the same namespace")
    theirs = tuple(reference for reference in metadata.owner_references if reference.uid != owner.metadata.uid)
    return replace(child, metadata=replace(metadata, namespace=namespace, owner_references=(*theirs, reference_to(owner))))


def reference_to(owner: Object) -> OwnerReference:
    """What a child says of the one that made it and looks after it."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def belongs(metadata: Metadata, uid: str) -> bool:
    """Whether the owner of this uid looks after the object: it is its controller, or nobody is and it is an owner."""
    controllers = [reference.uid for reference in metadata.owner_references if reference.controller]
    return uid in (controllers or [reference.uid for reference in metadata.owner_references])


def _check_own(owner: Object, found: Object) -> None:
    """Raises NotTheOwnerError, and ConflictError for what is about to go."""
    if not belongs(found.metadata, owner.metadata.uid):
        named = [f"{each.kind} {each.name!r} (uid {each.uid})" for each in found.metadata.owner_references]
        whose = f"belongs to {', '.join(named)}" if named else "belongs to nobody"
        raise NotTheOwnerError(f"{_named(found)} exists and {whose}, not to {_named(owner)} (uid {owner.metadata.uid})")
    if found.metadata.deletion_timestamp:
        raise ConflictError(f"{_named(found)} is being deleted; it can be made again when it is gone")


def _goes_with_children(owner: Object) -> bool:
    """Whether the owner waits for the garbage collector to take its children away: what is made now keeps it waiting."""
    return owner.metadata.deletion_timestamp is not None and FOREGROUND in owner.metadata.finalizers


async def _places(client: Client, owner: Object, model: type[Object], kin: Kin | None) -> Collection[Place]:
    """Where children may be. Those that are known may have changed since, so that `_remove` looks again.

    What is not known yet wakes the actor when it is: then it is taken away. An owner that goes is not woken any more, so that its
    children are asked for.
    """
    known = kin(model, owner.metadata.uid) if kin is not None and owner.metadata.deletion_timestamp is None else None
    if known is not None:
        return known
    listed = await client.list(model, owner.metadata.namespace or None)
    return [place_of(each) for each in listed.items if belongs(each.metadata, owner.metadata.uid)]


async def _remove(client: Client, owner: Object, model: type[Object], place: Place) -> None:
    """Deletes a child, if it is there, is one, and is not about to go."""
    for _ in range(_ATTEMPTS):
        found = await client.get(model, place.name, place.namespace)
        if found is None or found.metadata.deletion_timestamp or not belongs(found.metadata, owner.metadata.uid):
            return
        exactly_this = Preconditions(uid=found.metadata.uid, revision=int(found.metadata.resource_version))
        try:
            await client.delete(model, place.name, place.namespace, preconditions=exactly_this)
        except ConflictError:
            continue
        return
    raise ConflictError(f"{model.__name__} {place} was changed {_ATTEMPTS} times while it was to be deleted")


@lru_cache(maxsize=1024)
def _node(model: type) -> Node:
    return node_of(model)


def _struct(node: Node | None, wanted: Document, stored: Document) -> Document:
    """The patch for fields that are given. Others are not looked at."""
    patch: Document = {}
    for key, value in wanted.items():
        if value is None:
            continue
        there = stored.get(key)
        inner = node.properties.get(key) if node is not None else None
        if isinstance(value, dict) and isinstance(there, dict):
            differing = _object(inner, value, there)
            if differing:
                patch[key] = differing
        elif not _same(inner, value, there):
            patch[key] = value
    return patch


def _object(node: Node | None, wanted: Document, stored: Document) -> Document:
    """The same for an object: of a map all keys count."""
    if node is not None and node.properties:
        return _struct(node, wanted, stored)
    surplus = {key: None for key in stored if key not in wanted}
    each = None if node is None or node.additional is None else node.additional
    return surplus | _struct(Node(properties=dict.fromkeys(wanted, each)) if each is not None else None, wanted, stored)


def _same(node: Node | None, wanted: Any, stored: Any) -> bool:
    """Whether what is stored is what is wanted, and perhaps says more where the wanted one says nothing."""
    if isinstance(wanted, dict) and isinstance(stored, dict):
        return not _object(node, wanted, stored)
    if isinstance(wanted, list) and isinstance(stored, list):
        items = node.items if node is not None else None
        return len(wanted) == len(stored) and all(map(lambda one, other: _same(items, one, other), wanted, stored))
    if isinstance(wanted, bool) or isinstance(stored, bool):
        return wanted is stored
    return bool(wanted == stored)


def _owners(stored: list[Document], wanted: list[Document]) -> list[Document] | None:
    """All owners, with the wanted ones as they are to be; None if they are."""
    named = {owner["uid"]: owner for owner in wanted}
    merged = [named.pop(owner["uid"], owner) for owner in stored] + list(named.values())
    return None if merged == stored else merged


def _named(obj: Object) -> str:
    return f"{obj.kind or type(obj).__name__} {str(place_of(obj))!r}"
