"""Which objects a list or a watch is about: namespace, labels, fields.

Labels are read from the stored bytes by a decoder that skips the rest; whole documents are decoded only for selectors of fields
other than name and namespace. What is computed from a change is kept with the change, so a thousand watchers ask once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from apiserver.stored import converted, document_of, is_convertible
from registry.jsonpath import JSONPath
from registry.kinds import Kind, Version
from registry.selectors import FieldSelector, LabelSelector, unknown_field, unsupported_field
from registry.ways import ConversionError
from storage.store import Change, Key, Op, Record


class _LabelMeta(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _LabelMeta


_labelled = msgspec.json.Decoder(_Labelled).decode
_NAME_FIELDS = ("metadata.name", "metadata.namespace")
NO_LABELS: Mapping[str, str] = {}


def labels_of(record: Record) -> Mapping[str, str]:
    """The labels of a stored object."""
    return _labelled(record.desired).metadata.labels or NO_LABELS


class Matcher:
    """Decides whether an object is wanted. `name` is the one name that can match, when the selector demands one."""

    def __init__(self, kind: Kind, version: Version, namespace: str | None, labels: LabelSelector, fields: FieldSelector) -> None:
        for path in fields.paths:
            if path not in version.selectable and (path not in _NAME_FIELDS or (path == _NAME_FIELDS[1] and not kind.namespaced)):
                known = kind.strategy.builtin and not version.selectable
                raise unknown_field(path, _NAME_FIELDS) if known else unsupported_field(path)
        self.namespace = namespace
        self._labels = labels or None
        self._fields = fields or None
        self._version = version
        self._paths = {path: version.selectable[path] for path in fields.paths if path in version.selectable}
        self.selective = self._labels is not None or self._fields is not None
        self.name = fields.requires("metadata.name") if self._fields else None

    def could_mean(self, key: Key) -> bool:
        """Whether an object could be wanted, as far as its address tells."""
        return self.namespace in (None, key.namespace) and self.name in (None, key.name)

    def matches(self, record: Record) -> bool:
        """Whether an object is wanted as it is in `record`."""
        if self.namespace is not None and record.key.namespace != self.namespace:
            return False
        if self._labels is not None and not self._labels.matches(labels_of(record)):
            return False
        return self._fields is None or self._fields.matches(self._getter(record))

    def matches_change(self, change: Change, *, before: bool) -> bool:
        """The same for the object after a change, or before it; labels and documents are decoded once per change."""
        record = change.previous if before else change.record
        if record is None or (self.namespace is not None and record.key.namespace != self.namespace):
            return False
        if self._labels is not None and not self._labels.matches(_once(change, ("labels", before), labels_of, record)):
            return False
        if self._fields is None:
            return True
        if not self._paths:
            return self._fields.matches(self._getter(record))
        document = _once(change, ("document", before, self._version.api_version), self._document, record)
        return self._fields.matches(lambda path: self._value(path, record, document))

    def seen_as(self, change: Change) -> Op | None:
        """What a change is to this watcher: what comes to match is ADDED, what ceases to match is DELETED. None: nothing.

        What cannot be converted to the version of the watch is not in its lists, so it is as if it did not match.
        """
        op = self._selected(change)
        return op if op is None or self._version.ways is None else self._convertible(change, op)

    def _convertible(self, change: Change, op: Op) -> Op | None:
        name = self._version.api_version

        def can(record: Record) -> bool:
            return is_convertible(self._version, record)

        before = change.previous is not None and op is not Op.ADDED and _once(change, ("shown", True, name), can, change.previous)
        after = op is not Op.DELETED and _once(change, ("shown", False, name), can, change.record)
        if after:
            return Op.MODIFIED if before else Op.ADDED
        return Op.DELETED if before else None

    def _selected(self, change: Change) -> Op | None:
        if not self.selective:
            return change.op if self.namespace is None or change.record.key.namespace == self.namespace else None
        before = self.matches_change(change, before=True)
        after = change.op is not Op.DELETED and self.matches_change(change, before=False)
        if after:
            return Op.MODIFIED if before else Op.ADDED
        return Op.DELETED if before else None

    def _getter(self, record: Record) -> Callable[[str], str]:
        document = self._document(record) if self._paths else {}
        return lambda path: self._value(path, record, document)

    def _document(self, record: Record) -> dict[str, Any]:
        """The object in the version of whoever asks; empty, when it cannot be converted."""
        try:
            return document_of(converted(self._version, record))
        except ConversionError:
            return {}

    def _value(self, path: str, record: Record, document: dict[str, Any]) -> str:
        if path in self._paths:
            return _text(self._paths[path], document)
        return record.key.name if path == _NAME_FIELDS[0] else record.key.namespace


def _once(change: Change, key: Any, compute: Callable[[Record], Any], record: Record) -> Any:
    found = change.derived.get(key)
    if found is None:
        found = change.derived[key] = compute(record)
    return found


def _text(path: JSONPath, document: dict[str, Any]) -> str:
    value = path.first(document)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
