"""From bytes to a document of the kind that the path names: step two of a request.

Type before value: apiVersion and kind are compared with the path first, then metadata and the rest are read by what the
version's schema says. Unknown and duplicate fields are dropped and reported as the client wished: refused, warned of, or ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from anyio import to_thread

from apiserver.negotiation import PROTOBUF, YAML, body_media, unknown_format
from apiserver.options import WriteOptions
from apiserver.target import Target
from registry import metadata as meta
from registry.catalog import Registry
from registry.documents import Malformed, Parsed, parse_json, parse_yaml, unrecognized
from registry.errors import ApiError, BadRequest, Cause, Invalid, TooLarge, invalid
from registry.kinds import Kind, Version
from registry.protobuf import knows, open_envelope, read_message
from registry.schema import unreadable

Document = dict[str, Any]

LONG = 64 * 1024
"""Bytes of YAML or protobuf that are read in the event loop: about 50 ms of YAML."""


class Intake(msgspec.Struct, frozen=True):
    """A document as it was understood: known fields only, defaults in place. `causes` are what its schema says against it."""

    document: Document
    causes: list[Cause]
    warnings: list[str]


def parse_body(raw: bytes, content_type: str, api_version: str = "", kind: str = "") -> Parsed:
    """The document in a body, and what is wrong with its text (duplicate keys). Raises Malformed, UnsupportedMediaType.

    In protobuf only the type that is named can be there: what is of another is answered with its type alone. Such bodies are small,
    and are read in the event loop: what is longer than any that says something is refused. Raises TooLarge.
    """
    media = body_media(content_type, protobuf=knows(api_version, kind))
    if media != PROTOBUF:
        return parse_yaml(raw) if media == YAML else parse_json(raw)
    if len(raw) > LONG:
        raise TooLarge(f"Request entity too large: limit of a {kind} in protobuf is {LONG}")
    envelope = open_envelope(raw)
    said = {"apiVersion": envelope.api_version or api_version, "kind": envelope.kind or kind}
    same = said["kind"] == kind
    return Parsed({**read_message(api_version, kind, envelope.raw), **said} if same else said)


async def received(registry: Registry, target: Target, raw: bytes | Document, content_type: str, options: WriteOptions) -> Intake:
    """The same as `read`, without keeping others waiting: a long body of YAML or protobuf takes long, and is read in a thread, and
    so is one in which there is much to look at."""
    if (
        isinstance(raw, bytes)
        and len(raw) > LONG
        and (target.kind.strategy.looks_long or body_media(content_type) in (YAML, PROTOBUF))
    ):
        return await to_thread.run_sync(read, registry, target, raw, content_type, options)
    return read(registry, target, raw, content_type, options)


def read(registry: Registry, target: Target, raw: bytes | Document, content_type: str, options: WriteOptions) -> Intake:
    """What was sent for a create or an update. Raises BadRequest, Invalid, UnsupportedMediaType.

    Raw bytes are parsed; a document (from a client in this process) is taken as it is.
    """
    duplicates: tuple[str, ...] = ()
    if isinstance(raw, dict):
        document = {**raw}
    else:
        media = body_media(content_type)
        if media == PROTOBUF:
            return understand(target, _from_protobuf(registry, target, raw), options, (), ())
        try:
            document, duplicates = parse_yaml(raw) if media == YAML else parse_json(raw)
        except Malformed as error:
            raise unrecognized(target.kind.name, error, raw) from None
    warnings = _check_type(registry, target, document, raw)
    return understand(target, document, options, duplicates, warnings)


def understand(
    target: Target,
    document: Document,
    options: WriteOptions,
    duplicates: Sequence[str],
    warnings: Sequence[str],
    *,
    base: Document | None = None,
) -> Intake:
    """Reads metadata, prunes, defaults and checks. What is unknown is refused or warned of, as the options say.

    `base` is what `document` was made of (the stored object, by a patch): metadata that is the same is not read again.
    """
    kind, version = target.kind, target.version
    sent = document.get("metadata")
    untouched = base is not None and sent is base["metadata"]
    owned, dropped, warned = (sent, (), ()) if untouched else _metadata(kind, version, sent)
    part = "status" if target.subresource == "status" else ""
    outcome = version.schema.apply({key: value for key, value in document.items() if key != "metadata"}, part=part)
    if outcome.unreadable:
        raise unreadable(kind.name, version.name, outcome.unreadable)
    unknown = [*dropped, *outcome.unknown]
    if not kind.strategy.builtin:
        unknown.sort()
    said = [*duplicates, *(f'unknown field "{path}"' for path in unknown)]
    if said and options.field_validation == "Strict":
        raise _strict(kind, version, said, None if base is None else document)
    if options.field_validation == "Ignore":
        said = []
    return Intake({**outcome.document, "metadata": owned}, list(outcome.causes), [*warnings, *said, *warned])


def _metadata(kind: Kind, version: Version, sent: Any) -> tuple[Document, tuple[str, ...], tuple[str, ...]]:
    """Metadata as it is stored, the paths of what was unknown in it, and warnings. Raises BadRequest."""
    try:
        read = meta.read(sent, kind.name if kind.strategy.builtin else "")
    except ValueError as error:
        raise unreadable(kind.name, version.name, str(error)) from None
    owned, warned = meta.dedup_owners(read.metadata)
    return owned, read.unknown, warned


def _strict(kind: Kind, version: Version, said: list[str], patched: Document | None) -> ApiError:
    problem = f"strict decoding error: {', '.join(said)}"
    if patched is None:
        return unreadable(kind.name, version.name, problem)
    return bad_patch(patched, problem)


def bad_patch(patched: Document, problem: str) -> Invalid:
    """The 422 of a patch whose result does not decode. Like a real server's, it names no kind and no name."""
    text = msgspec.json.encode(patched).decode()
    shown = text if len(text) <= 1_000 else text[:1_000] + " ..."
    refused = Invalid("", "", "", [invalid("patch", shown, problem)])
    refused.details = {"causes": refused.details["causes"]} if refused.details else None
    return refused


def _check_type(registry: Registry, target: Target, document: Document, raw: bytes | Document) -> list[str]:
    """Compares apiVersion and kind with the path; built-in kinds get them from there. Returns warnings."""
    kind, version = target.kind, target.version
    named_kind, named_version = document.get("kind"), document.get("apiVersion")
    if kind.strategy.builtin or isinstance(raw, dict):
        return _check_builtin(registry, kind, version, document)
    if named_kind == version.kind and named_version == version.api_version:
        return []
    text = raw.decode(errors="replace")
    if not isinstance(named_kind, str) or not named_kind:
        missing = f"Object 'Kind' is missing in '{text[:2_000]}' ({brief(text)})"
        raise BadRequest(f"the object provided is unrecognized (must be of type {kind.name}): {missing}")
    if named_version != version.api_version:
        said = named_version if isinstance(named_version, str) else ""
        refused = BadRequest(
            f"the API version in the data ({said}) does not match the expected API version ({version.api_version})"
        )
        if said.partition("/")[0] == version.group and registry.of_type(said, named_kind) is None:
            refused.warnings = unknown_version_warnings(document)
        raise refused
    raise wrong_kind(version, named_kind, document)


def wrong_kind(version: Version, named: str, document: Document) -> Invalid:
    """The 422 of a body that says another kind than its path."""
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return Invalid(named, version.group, name if isinstance(name, str) else "", [invalid("kind", named, f"must be {version.kind}")])


def unknown_version_warnings(document: Document) -> tuple[str, ...]:
    """Of a version that is not served no field is known but type and metadata."""
    return tuple(f'unknown field "{field}"' for field in sorted(document) if field not in ("apiVersion", "kind", "metadata"))


def _from_protobuf(registry: Registry, target: Target, raw: bytes) -> Document:
    """The document in a protobuf body. Raises BadRequest, and UnsupportedMediaType for a kind whose messages nobody knows."""
    kind, version = target.kind, target.version
    if not kind.strategy.builtin or not knows(version.api_version, version.kind):
        raise unknown_format(protobuf=False)
    try:
        envelope = open_envelope(raw)
    except Malformed as error:
        raise unrecognized(kind.name, error, raw) from None
    document: Document = {"apiVersion": envelope.api_version, "kind": envelope.kind}
    _check_builtin(registry, kind, version, document)
    try:
        return {**document, **read_message(version.api_version, version.kind, envelope.raw)}
    except Malformed as error:
        raise unreadable(kind.name, version.name, error.message) from None


def _check_builtin(registry: Registry, kind: Kind, version: Version, document: Document) -> list[str]:
    named_kind = document.get("kind") or version.kind
    named_version = document.get("apiVersion") or version.api_version
    for field, value in (("kind", named_kind), ("apiVersion", named_version)):
        if not isinstance(value, str):
            raise BadRequest(f"couldn't get version/kind; {field} must be a string")
    short = named_version.rpartition("/")[2]
    if (named_kind, named_version) != (version.kind, version.api_version):
        if registry.of_type(named_version, named_kind) is None:
            scheme = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"
            why = f'no kind "{named_kind}" is registered for version "{named_version}" in scheme "{scheme}"'
        else:
            why = f"converting ({short}.{named_kind}) to (core.{kind.name}): unknown conversion"
        raise BadRequest(f'{named_kind} in version "{short}" cannot be handled as a {kind.name}: {why}')
    document["kind"], document["apiVersion"] = version.kind, version.api_version
    return []


def brief(text: str) -> str:
    """The beginning of a text, as messages about unreadable bodies show it."""
    return f"{text[:30]} ..." if len(text) > 30 else text
