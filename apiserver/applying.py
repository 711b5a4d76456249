"""Server-side apply: a configuration, and who applies it, become a proposal of what an object shall be; and the owners of every
other write of an object that was applied to.

An apply goes the way of every other write (`apiserver.manager`): what is proposed here is understood, admitted and stored like an
update, or like a create when there is no object. Only who owns what is added in the end, when it is known what the write changed.
`registry.managed` has the rules.

What cannot be applied is refused at once: a configuration of another kind, one with fields that the schema does not know (whatever
fieldValidation says, as in Kubernetes, since nobody could own them), one that brings managedFields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
from anyio import to_thread

from apiserver import intake, patching
from apiserver.options import MANAGER_LIMIT, Query, WriteOptions, flag, write_options
from apiserver.target import Target
from registry import managed
from registry.documents import Malformed, parse_json, parse_yaml
from registry.errors import BadRequest, Invalid, required
from registry.fieldsets import NONE, Fields
from registry.kinds import Version
from registry.managed import Entry, Form, Forms, Writer
from registry.merging import everything, mergeable, undeclared, without_nulls
from registry.nodes import TOLD
from registry.schema import unreadable

Document = dict[str, Any]

KUBECTL = "kubectl"
"""The manager who may take over what kubectl applied before without the server's help."""

REMEMBERED_LIMIT = 128 * 1024
"""Characters of a configuration that is kept in an annotation; longer ones leave no room for other annotations."""

IDENTITY = ("name", "namespace", "uid", "resourceVersion")
"""What of metadata is read where metadata cannot be written."""


class Proposed(intake.Intake, frozen=True):
    """What an apply proposes, and who owns what if it is done."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Apply:
    """A configuration for an object, and how it is applied. `config` has the name of the object and nothing that cannot be written
    here."""

    target: Target
    config: Document
    options: WriteOptions
    writer: Writer
    force: bool
    warnings: tuple[str, ...]

    def propose(self, old: Document) -> Proposed:
        """The object with the configuration in it. Raises FieldConflict, BadRequest, Invalid."""
        forms = forms_of(self.target)
        entries = _entries(old)
        last_applied = _last_applied(old)
        if not entries:
            entries = managed.first_owners(_owned_part(self.target, old), last_applied, forms, self.writer)
        allowed: Fields | None = NONE
        if self.force:
            allowed = None
        elif self.writer.manager == KUBECTL and last_applied is not None:
            allowed = everything(_form(self.target, self.target.version).node, last_applied)
        applied = managed.apply(old, self.config, entries, forms, self.writer, allowed=allowed)
        document = applied.document
        if self.writer.manager == KUBECTL and last_applied is not None:
            document = _remembering(document, self.config)
        taken = patching.propose(self.target, document, old, self.options)
        return Proposed(taken.document, taken.causes, taken.warnings, applied.entries)

    def creation(self) -> Document:
        """The object that is made when there is none, with its owner."""
        applied = managed.apply({}, self.config, (), forms_of(self.target), self.writer)
        entries = managed.encode(managed.stamped(applied.entries, self.writer))
        return {**self.config, "metadata": {**self.config["metadata"], "managedFields": entries}}


def options_of(query: Query) -> tuple[WriteOptions, bool]:
    """The options of an apply, and whether it is forced. Raises Invalid: it has to say who applies."""
    options = write_options({key: value for key, value in query.items() if key != "force"}, "PatchOptions")
    if not options.field_manager:
        raise Invalid("PatchOptions", "meta.k8s.io", "", [required("fieldManager", "is required for apply patch")])
    return options, flag(query, "force")


async def received(body: bytes | Document, target: Target, query: Query, now: str) -> Apply:
    """The same as `parse`; a long body is read in a thread, since it may be YAML."""
    if isinstance(body, bytes) and len(body) > intake.LONG:
        return await to_thread.run_sync(parse, body, target, query, now)
    return parse(body, target, query, now)


def parse(body: bytes | Document, target: Target, query: Query, now: str) -> Apply:
    """The apply in a request; the body is YAML, whatever it looks like.

    Raises BadRequest, Invalid, and UnsupportedMediaType for a Scale, which has no fields of its own to be owned.
    """
    if target.subresource == "scale":
        raise patching.not_taken((patching.JSON_PATCH, patching.MERGE_PATCH))
    options, force = options_of(query)
    config, duplicates = (body, ()) if isinstance(body, dict) else _parsed(body, options)
    version = target.version
    kind, api_version = config.get("kind") or "", config.get("apiVersion") or ""
    if (kind, api_version) != (version.kind, version.api_version):
        raise BadRequest(f"invalid object type: {_gvk(api_version, kind)}")
    metadata = config.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise unreadable(target.kind.name, version.name, "metadata is not an object")
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    config = _writable(target, config, metadata)
    _check_declared(target, config)
    writer = Writer(options.field_manager, version.api_version, target.subresource, now)
    return Apply(target, config, options, writer, force, duplicates)


def _gvk(api_version: Any, kind: Any) -> str:
    """A type as messages name it; the core group is an empty one."""
    named = api_version if isinstance(api_version, str) else ""
    return f"{named if '/' in named else f'/{named}'}, Kind={kind if isinstance(kind, str) else ''}"


def _parsed(body: bytes, options: WriteOptions) -> tuple[Document, tuple[str, ...]]:
    try:
        config, duplicates = parse_yaml(body)
    except Malformed as error:
        raise BadRequest(f"error decoding YAML: error converting YAML to JSON: {error.message}") from None
    if duplicates and options.field_validation == "Strict":
        raise BadRequest(f"error strict decoding YAML: {', '.join(duplicates)}")
    return config, () if options.field_validation == "Ignore" else duplicates


def _writable(target: Target, config: Document, metadata: Document) -> Document:
    """What of a configuration can be written at its path: a subresource is a part of the object, and so is what is beside it."""
    metadata = {key: value for key, value in metadata.items() if key != "managedFields"}
    metadata["name"] = metadata.get("name") or target.name
    version = target.version
    whole = without_nulls(_form(target, version).node, {**config, "metadata": metadata})
    return _owned_part(target, whole)


def _owned_part(target: Target, document: Document) -> Document:
    """The part of a document that is written at the path of the target."""
    if target.subresource != "status":
        return {key: value for key, value in document.items() if key != "status" or not target.kind.has_status}
    metadata = document["metadata"]
    if not target.kind.strategy.builtin:
        metadata = {key: metadata[key] for key in IDENTITY if key in metadata}
    part = {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": metadata}
    return {**part, "status": document["status"]} if "status" in document else part


def _check_declared(target: Target, config: Document) -> None:
    version = target.version
    unknown = list(islice(undeclared(_form(target, version).node, config), TOLD))
    if unknown:
        said = [f".{path}: field not declared in schema" for path in unknown]
        listed = said[0] if len(said) == 1 else "errors:" + "".join(f"\n  {line}" for line in said)
        metadata = config["metadata"]
        what = f"{metadata.get('namespace') or ''}/{metadata['name']}; {version.api_version}, Kind={version.kind}"
        raise BadRequest(f"failed to create typed patch object ({what}): {listed}")


def forms_of(target: Target) -> Forms:
    """The versions of a kind for merging, each as seen from the version of the path."""
    served = {version.api_version: version for version in target.kind.versions}
    return lambda api_version: _form(target, served[api_version]) if api_version in served else None


def _form(target: Target, version: Version) -> Form:
    here = target.version
    return Form(mergeable(version.schema.node), _between(here, version), _between(version, here))


def _between(source: Version, wanted: Version) -> Callable[[Document], Document]:
    """What brings a document of one version into another. Of an object that is not there yet nothing is converted."""
    ways = source.ways
    if ways is None or ways.same(source.api_version, wanted.api_version):
        return lambda document: document

    def convert(document: Document) -> Document:
        return (
            ways.convert({**document, "apiVersion": source.api_version}, wanted.api_version, quiet=True) if document else document
        )

    return convert


def _entries(document: Document) -> tuple[Entry, ...]:
    """Who owns what of a document, as far as that makes sense."""
    try:
        return managed.decode(document["metadata"].get("managedFields", ()))
    except ValueError:
        return ()


def _last_applied(document: Document) -> Document | None:
    """What kubectl says that it applied without the server's help; None if it says nothing that can be read."""
    said = document["metadata"].get("annotations", {}).get(managed.LAST_APPLIED)
    if not said:
        return None
    try:
        applied: Document = parse_json(said.encode()).document
    except Malformed:
        return None
    return applied


def _remembering(document: Document, config: Document) -> Document:
    """The document with what kubectl applied in its annotation, so that it can go on without the server's help, too."""
    said = msgspec.json.encode(config, order="sorted").decode() + "\n"
    annotations = (document.get("metadata") or {}).get("annotations")
    if not isinstance(annotations, dict) or managed.LAST_APPLIED not in annotations or len(said) > REMEMBERED_LIMIT:
        return document
    return {**document, "metadata": {**document["metadata"], "annotations": {**annotations, managed.LAST_APPLIED: said}}}


def manager_of(options: WriteOptions, agent: bytes, username: str) -> str:
    """Who a write is from: what it says itself, else the program (the User-Agent up to its first slash), else the user."""
    if options.field_manager:
        return options.field_manager
    program = agent.partition(b"/")[0].decode("latin-1")
    return "".join(filter(str.isprintable, program))[:MANAGER_LIMIT] or username


def owned(target: Target, taken: intake.Intake, old: Document, new: Document, writer: Callable[[], Writer]) -> Document:
    """The new state with the owners of its fields: after an apply, and after any write of an object that was applied to."""
    metadata = new["metadata"]
    if isinstance(taken, Proposed):
        entries = taken.entries if _unowned(new) == _unowned(old) else managed.stamped(taken.entries, writer())
    elif "managedFields" not in metadata or new == old:
        return new
    else:
        entries = managed.track(old, new, _entries(new) or _entries(old), forms_of(target), writer())
    encoded = managed.encode(entries)
    metadata = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**new, "metadata": {**metadata, "managedFields": encoded} if encoded else metadata}


def _unowned(document: Document) -> Document:
    return {**document, "metadata": {key: value for key, value in document["metadata"].items() if key != "managedFields"}}
