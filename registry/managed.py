"""Who has set which fields of an object: metadata.managedFields, and server-side apply, which is decided by it.

*Lazy ownership.* An object carries no managedFields until somebody applies to it: whoever only creates and updates pays nothing for
what nobody asks. At the first apply everything that is there belongs to `before-first-apply` (as in Kubernetes for objects that
have no managedFields) - but for what kubectl says in its annotation that it applied, which is its own. From then on every write of
the object is tracked, by comparing what was with what is, until managedFields are reset by an empty list.

The rules, of structured-merge-diff and of Kubernetes (KEP-555):

* A manager owns what it applied last, or what it wrote and nobody else has changed since. Several may own a field.
* An apply that gives another value to somebody else's field is a conflict, unless it is forced; then the field changes hands. Any
  other write takes the fields that it changes.
* What a manager applied, and applies no more, is removed, unless somebody else owns it too.
* What only the server sets is owned by nobody.

Pure; nothing given is changed. Sets are kept in terms of the version that the manager wrote; `Forms` gives a document in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from registry.carrying import carried
from registry.errors import CAUSES_TOLD, Cause, ConflictError, shown
from registry.fieldsets import NONE, Fields, difference, intersection, parse, paths, render, union
from registry.merging import Comparison, compare, everything, fields_of, merge, remove, with_parents
from registry.nodes import Document, Node
from registry.ways import ConversionError

APPLY = "Apply"
UPDATE = "Update"
FIELDS_TYPE = "FieldsV1"

BEFORE_FIRST_APPLY = "before-first-apply"
"""The manager of what was there before anybody applied."""

ANCIENT_CHANGES = "ancient-changes"
"""The manager of the oldest updates, when there are too many managers to remember each."""

CLIENT_SIDE_APPLY = "kubectl-client-side-apply"
"""The manager of what kubectl says that it applied without the server's help. kubectl looks for it when it changes over."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps what it applied so."""

UPDATE_LIMIT = 10
"""How many entries of updates an object has at most (of one version)."""

_NAMES = ("name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion", "selfLink", "managedFields")

UNTRACKED: Fields = parse(
    {".": {}, "f:apiVersion": {}, "f:kind": {}, "f:metadata": {".": {}, **{f"f:{name}": {} for name in _NAMES}}}
)
"""What nobody owns."""


class Form(NamedTuple):
    """A version of a kind for merging: its root, and how a document of the version of the request is brought into it, and back."""

    node: Node
    to: Callable[[Document], Document]
    back: Callable[[Document], Document]


Forms = Callable[[str], Form | None]
"""The form of an apiVersion; None for one that is served no more: what was set in terms of it is forgotten."""


class Writer(NamedTuple):
    """Who writes, through which subresource, in which version, and when (a Time)."""

    manager: str
    api_version: str
    subresource: str
    now: str


class Entry(NamedTuple):
    """What one manager owns. `time` is empty if it never changed a value."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: Fields

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells entries apart: those who apply have one entry, those who update one for each version."""
        return (self.manager, self.operation, "" if self.operation == APPLY else self.api_version, self.subresource)


class FieldConflict(ConflictError):
    """409: what was applied gives other values to fields that others own. Every such field is a cause, up to `CAUSES_TOLD`."""

    def __init__(self, conflicts: Iterable[tuple[Entry, Fields]]) -> None:
        every = ((_called(entry), path) for entry, fields in conflicts for path in paths(fields))
        said = sorted(islice(every, CAUSES_TOLD))
        by_manager: dict[str, list[str]] = {}
        for manager, path in said:
            by_manager.setdefault(manager, []).append(path)
        if len(said) == 1:
            message = f"1 conflict: conflict with {said[0][0]}: {said[0][1]}"
        else:
            listed = (
                "".join((f"conflicts with {manager}:", *(f"\n- {path}" for path in own))) for manager, own in by_manager.items()
            )
            message = f"{len(said)} conflicts: " + "\n".join(listed)
        causes = [Cause("FieldManagerConflict", f"conflict with {manager}", path) for manager, path in said]
        super().__init__(f"Apply failed with {message}", details={"causes": [_cause(cause) for cause in causes]})
        self.causes = tuple(causes)


def _called(entry: Entry) -> str:
    """The manager of an entry as conflicts call it."""
    within = f" with subresource {shown(entry.subresource)}" if entry.subresource else ""
    version = f" using {entry.api_version}" if entry.operation == UPDATE else ""
    return f"{shown(entry.manager)}{within}{version}"


def _cause(cause: Cause) -> Document:
    return {"reason": cause.reason, "message": cause.message, "field": cause.field}


class Applied(NamedTuple):
    """What an apply makes of an object: the document, before defaults, and who owns what of it then."""

    document: Document
    entries: tuple[Entry, ...]


def decode(raw: Sequence[Document]) -> tuple[Entry, ...]:
    """The entries in managedFields. Raises ValueError if one makes no sense."""
    entries = {}
    for item in raw:
        if item.get("operation") not in (APPLY, UPDATE) or item.get("fieldsType", FIELDS_TYPE) != FIELDS_TYPE:
            raise ValueError("an entry of managedFields is an Apply or an Update, with FieldsV1")
        entry = Entry(
            item.get("manager", ""),
            item["operation"],
            item.get("apiVersion", ""),
            item.get("subresource", ""),
            item.get("time", ""),
            parse(item.get("fieldsV1", {})),
        )
        entries[entry.identity] = entry
    return tuple(entries.values())


def encode(entries: Iterable[Entry]) -> list[Document]:
    """The entries as managedFields, in the order of Kubernetes: by operation, time and manager."""
    ordered = sorted(entries, key=lambda entry: (entry.operation, entry.time, entry.manager, entry.api_version, entry.subresource))
    return [_encoded(entry) for entry in ordered]


def _encoded(entry: Entry) -> Document:
    said = {
        "manager": entry.manager,
        "operation": entry.operation,
        "subresource": entry.subresource,
        "apiVersion": entry.api_version,
        "time": entry.time,
        "fieldsType": FIELDS_TYPE,
        "fieldsV1": render(entry.fields),
    }
    return {key: value for key, value in said.items() if value or key == "fieldsV1"}


def first_owners(live: Document, last_applied: Document | None, forms: Forms, writer: Writer) -> tuple[Entry, ...]:
    """Who owns what of an object that nobody has applied to. `last_applied` is what kubectl says that it applied before."""
    form = forms(writer.api_version)
    if form is None:
        return ()
    rest = _tracked(everything(form.node, live))
    entries = []
    if last_applied is not None:
        annotation = {"metadata": {"annotations": {LAST_APPLIED: ""}}}
        claimed = union(everything(form.node, last_applied), everything(form.node, annotation))
        own = intersection(rest, claimed)
        rest = difference(rest, own)
        entries.append(Entry(CLIENT_SIDE_APPLY, UPDATE, writer.api_version, "", writer.now, own))
    entries.append(Entry(BEFORE_FIRST_APPLY, UPDATE, writer.api_version, "", writer.now, rest))
    return tuple(entry for entry in entries if entry.fields)


def apply(
    live: Document, config: Document, entries: Sequence[Entry], forms: Forms, writer: Writer, *, allowed: Fields | None = NONE
) -> Applied:
    """Merges a configuration into an object, and takes out what the manager applied before and applies no more.

    Fields in `allowed` are taken from whoever owns them; None allows all (force). Raises FieldConflict.
    """
    form = forms(writer.api_version)
    if form is None:
        raise AssertionError(f"{writer.api_version} is not served")
    me = Entry(writer.manager, APPLY, writer.api_version, writer.subresource, "", fields_of(form.node, config))
    others = [entry for entry in entries if entry.identity != me.identity]
    last = next((entry for entry in entries if entry.identity == me.identity), None)
    document = merge(form.node, live, config)
    if last is not None:
        document = _pruned(document, last, [me, *others], forms)
    changes = _Changes(live, document, forms)
    if allowed is not None:
        conflicts = [(entry, difference(changes.taken_from(entry), allowed)) for entry in others]
        if any(fields for _, fields in conflicts):
            raise FieldConflict(conflicts)
    mine = me._replace(fields=_tracked(me.fields), time=last.time if last is not None else "")
    return Applied(document, _owning([*map(changes.left_to, others), mine]))


def track(old: Document, new: Document, entries: Sequence[Entry], forms: Forms, writer: Writer) -> tuple[Entry, ...]:
    """Who owns what after a write that was no apply: the writer owns what it changed, and nobody what is gone."""
    changes = _Changes(old, new, forms)
    found = changes.since(writer.api_version)
    if found is None:
        return tuple(entries)
    me = Entry(writer.manager, UPDATE, writer.api_version, writer.subresource, "", NONE)
    last = next((entry for entry in entries if entry.identity == me.identity), me)
    taken = _tracked(found.written)
    mine = last._replace(fields=union(difference(last.fields, found.removed), taken), time=writer.now if taken else last.time)
    others = [changes.left_to(entry) for entry in entries if entry.identity != me.identity]
    return _capped(_owning([*others, mine]))


def stamped(entries: Sequence[Entry], writer: Writer) -> tuple[Entry, ...]:
    """The entries with the time of an apply that changed something."""
    return tuple(
        entry._replace(time=writer.now)
        if (entry.manager, entry.operation, entry.subresource) == (writer.manager, APPLY, writer.subresource)
        else entry
        for entry in entries
    )


class _Changes:
    """What differs between two documents, in terms of each version that is asked for."""

    def __init__(self, old: Document, new: Document, forms: Forms) -> None:
        self._old, self._new, self._forms = old, new, forms
        self._found: dict[str, Comparison | None] = {}

    def since(self, api_version: str) -> Comparison | None:
        """The difference in a version; None if it is not served."""
        if api_version not in self._found:
            form = self._forms(api_version)
            self._found[api_version] = None if form is None else compare(form.node, form.to(self._old), form.to(self._new))
        return self._found[api_version]

    def taken_from(self, entry: Entry) -> Fields:
        """The fields of an entry that have another value now."""
        found = self.since(entry.api_version)
        return NONE if found is None else intersection(entry.fields, found.written)

    def left_to(self, entry: Entry) -> Entry:
        """The entry without what has another value, or is gone."""
        found = self.since(entry.api_version)
        if found is None:
            return entry._replace(fields=NONE)
        return entry._replace(fields=difference(difference(entry.fields, found.written), found.removed))


def _pruned(merged: Document, last: Entry, owners: Sequence[Entry], forms: Forms) -> Document:
    """The document without what the last apply of a manager claimed and nobody claims now.

    A field that the schema names is claimed by whoever claims something below it: it stays as long as that does, and goes with it.
    """
    form = forms(last.api_version)
    if form is None:
        return merged
    abandoned = with_parents(form.node, last.fields)
    for owner in owners:
        if owner.api_version == last.api_version:
            abandoned = difference(abandoned, with_parents(form.node, owner.fields))
    if not abandoned:
        return merged
    pruned = _without(merged, form, abandoned)
    for owner in owners:
        its = forms(owner.api_version)
        if its is not None and owner.api_version != last.api_version:
            pruned = _with_owned(merged, pruned, its, owner.fields)
    return pruned


def _with_owned(merged: Document, pruned: Document, form: Form, fields: Fields) -> Document:
    """The pruned document with those fields back that an owner claims in terms of another version."""
    whole = form.to(merged)
    lost = compare(form.node, whole, form.to(pruned))  # what is gone; and what is another, since converters fill in what is gone
    gone = intersection(union(lost.removed, lost.written), everything(form.node, whole))
    unclaimed = difference(gone, with_parents(form.node, fields))
    return pruned if unclaimed == gone else _without(merged, form, unclaimed)


def _without(merged: Document, form: Form, fields: Fields) -> Document:
    """The document without what is called by these names in another form; what that form cannot hold of it stays."""
    seen = form.to(merged)
    less: Document = remove(form.node, seen, fields)
    if seen is merged:
        return less
    try:
        return dict(carried(merged, form.back(seen), form.back(less)))
    except ConversionError:  # without them it is no object of that form; then they are what other forms name otherwise, and stay
        return merged


def _tracked(fields: Fields) -> Fields:
    """The set without what nobody owns."""
    return difference(fields, UNTRACKED)


def _owning(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.fields)


def _capped(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries, the oldest updates of each version put together when there are too many."""
    updates = sorted((entry for entry in entries if entry.operation == UPDATE), key=lambda entry: (entry.time, entry.manager))
    surplus = len(updates) - UPDATE_LIMIT
    if surplus <= 0:
        return tuple(entries)
    oldest = updates[: surplus + 1]
    kept = {entry.identity: entry for entry in entries if entry not in oldest}
    for entry in oldest:
        bucket = Entry(ANCIENT_CHANGES, UPDATE, entry.api_version, "", entry.time, NONE)
        earlier = kept.get(bucket.identity, bucket)
        kept[bucket.identity] = earlier._replace(fields=union(earlier.fields, entry.fields), time=max(earlier.time, entry.time))
    return tuple(kept.values())
