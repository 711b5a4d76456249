"""All forms of one object: what is stored of it, and what the stored version cannot hold.

A kind is stored in one version. What a client writes in another is converted; what the stored version cannot hold of it is kept
aside, in the version in which it was written, where clients never see it. What it promises, whatever the converters do:

* What was written in a version is what is read in it.
* A write in one version changes in the others what it changes, and nothing else: `registry.carrying`. So what an older client
  cannot see survives everything that this client does.
* What follows from the rest is not kept aside.

Values are not changed: each write makes new `Views`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from registry.carrying import carried
from registry.nodes import Node
from registry.ways import Ways

Document = dict[str, Any]

ASIDE = "skep.dev/aside"
"""The annotation of a stored object, and the field of its status, that have what is kept aside."""
MARK = msgspec.json.encode(ASIDE) + b":"
"""Is in the bytes of every object that has something aside."""
OUTSIDE = frozenset(("apiVersion", "kind", "metadata"))

_encode = msgspec.json.Encoder(order="sorted").encode


class Views:
    """The forms that are kept of one object, by version. Metadata is one for all."""

    def __init__(self, ways: Ways, forms: Mapping[str, Document], metadata: Document) -> None:
        self._ways = ways
        self._forms = dict(forms)
        self.metadata = metadata

    def same(self, other: Views) -> bool:
        """Whether all is as in other views, but for the metadata."""
        return self._forms.keys() == other._forms.keys() and all(
            form is other._forms[version] or body(form) == body(other._forms[version]) for version, form in self._forms.items()
        )

    def seen(self, version: str) -> Document:
        """The object in a version, with the metadata. Raises ConversionError."""
        kept = self._kept(version)
        found = self._derived(version, self._forms) if kept is None else self._forms[kept]
        return {**found, "apiVersion": version, "metadata": self.metadata}

    def written(self, version: str, before: Document | None, after: Document) -> Views:
        """The object after somebody who saw it as `before` left it as `after`. Raises ConversionError."""
        ways, own = self._ways, self._kept(version)
        if before is not None and body(before) == body(after):
            return Views(ways, self._forms, after["metadata"])
        forms: dict[str, Document] = {}
        for each, form in self._forms.items():
            if each == own:
                forms[each] = {**after, "apiVersion": each}
            elif before is not None:
                node = ways.forms[each].node
                forms[each] = _carried(form, ways.convert(before, each), ways.convert(after, each), node)
        if own is None and not (forms and body(self._derived(version, forms)) == body(after)):
            forms[version] = after
        return Views(ways, forms, after["metadata"])

    def settled(self, storage: str) -> tuple[Document, dict[str, Document]]:
        """The object in the version that it is stored in, and what is to be kept aside, by version. Raises ConversionError."""
        forms = {storage: self.seen(storage)}
        forms |= {each: form for each, form in self._forms.items() if not self._ways.same(each, storage)}
        for each in tuple(forms)[1:]:
            rest = {other: form for other, form in forms.items() if other != each}
            if body(self._derived(each, rest)) == body(forms[each]):
                forms = rest
        return forms.pop(storage), {each: body(form) for each, form in forms.items()}

    def with_metadata(self, metadata: Document) -> Views:
        """The same object with other metadata."""
        return Views(self._ways, self._forms, metadata)

    def unsettled(self) -> Document:
        """The object as it was stored before, in its version, with what was aside. Converts nothing."""
        (version, form), *others = self._forms.items()
        document = {**form, "apiVersion": version, "metadata": self.metadata}
        return closed(document, {each: body(beside) for each, beside in others})

    def _kept(self, version: str) -> str | None:
        return next((each for each in self._forms if self._ways.same(each, version)), None)

    def _derived(self, version: str, forms: Mapping[str, Document]) -> Document:
        """The object in a version in which it is not kept: what the stored form says, which is the first, with what the others know
        besides. That is where they are not as they would be if they knew the stored form alone. The nearest is believed most."""
        first, *others = forms
        ways = self._ways
        found, node, order = ways.convert(forms[first], version), ways.forms[version].node, list(ways.forms)
        near = [each for each in others if not ways.through(each, first, version)]  # those beyond the stored one add nothing
        for each in sorted(near, key=lambda each: (-ways.distance(each, version), -order.index(each))):
            known = ways.convert(ways.convert(forms[first], each), version)
            found = _carried(found, known, ways.convert(forms[each], version), node)
        return found


def _carried(kept: Document, before: Document, after: Document, node: Node) -> Document:
    """As `carried`. A part (a status) that is taken away whole stays, if there is something in it that was not seen."""
    emptied = [
        key for key, value in before.items() if key not in after and isinstance(value, dict) and isinstance(kept.get(key), dict)
    ]
    made: Document = carried(kept, before, {**after, **{key: {} for key in emptied}}, node)
    return {key: value for key, value in made.items() if value or key not in emptied}


def body(document: Document) -> Document:
    """What converters make: all but type and metadata."""
    return {key: value for key, value in document.items() if key not in OUTSIDE}


def opened(ways: Ways, stored: Document) -> Views:
    """The views of a document as it is stored."""
    metadata, version = stored["metadata"], stored["apiVersion"]
    annotations = metadata.get("annotations") or {}
    text = annotations.get(ASIDE)
    if text is None:
        return Views(ways, {version: stored}, metadata)
    rest = {key: value for key, value in annotations.items() if key != ASIDE}
    metadata = {key: value for key, value in metadata.items() if key != "annotations"} | ({"annotations": rest} if rest else {})
    status = stored.get("status")
    beside: Document = {}
    if isinstance(status, dict) and ASIDE in status:
        beside = status[ASIDE]
        own = {key: value for key, value in status.items() if key != ASIDE}
        stored = {key: value for key, value in stored.items() if key != "status"} | ({"status": own} if own or "" in beside else {})
    forms = {version: {**stored, "metadata": metadata}}
    for each, form in msgspec.json.decode(text).items():
        if each in ways.forms:
            own = {"status": beside[each]} if each in beside else {}
            forms[each] = {"apiVersion": each, "kind": stored["kind"], "metadata": metadata, **form, **own}
    return Views(ways, forms, metadata)


def closed(stored: Document, aside: Mapping[str, Document]) -> Document:
    """A document with what is kept aside in it, as it is stored. A status is kept beside the status: a write of the one does not
    change the rest."""
    if not aside:
        return stored
    metadata = stored["metadata"]
    desired = {each: {key: value for key, value in form.items() if key != "status"} for each, form in aside.items()}
    annotations = {**(metadata.get("annotations") or {}), ASIDE: _encode(desired).decode()}
    document = {**stored, "metadata": {**metadata, "annotations": annotations}}
    beside = {each: form["status"] for each, form in aside.items() if "status" in form}
    if beside:
        own = stored.get("status")
        document["status"] = {**(own or {}), ASIDE: beside | ({"": True} if own is not None else {})}
    return document


def without_aside(document: Document) -> Document:
    """A document of a client, who has nothing to say about what is kept aside."""
    metadata = document["metadata"]
    annotations = metadata.get("annotations")
    if not annotations or ASIDE not in annotations:
        return document
    rest = {key: value for key, value in annotations.items() if key != ASIDE}
    return {**document, "metadata": {**metadata, "annotations": rest}}
