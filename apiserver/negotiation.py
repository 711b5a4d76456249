"""Which form an answer takes: JSON, YAML, a Table, or metadata alone. Pure.

Clients list what they would like (protobuf, then Table, then JSON) and rely on the server passing over what it does not make. So
every clause of Accept is tried in order of quality and position, and only when none can be met is the request refused with 406.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import msgspec

from registry.errors import BadRequest, NotAcceptable, UnsupportedMediaType

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MAX_ACCEPT = 4_096


class Shape(Enum):
    """What of an object is answered: all of it, a row of cells, or its metadata."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


class Form(msgspec.Struct, frozen=True):
    """A media type, a shape, and the version of meta.k8s.io that the shape is of."""

    media: str = JSON
    shape: Shape = Shape.OBJECT
    version: str = "v1"

    @property
    def plain(self) -> bool:
        """The object as it is, in JSON: what needs no second look at its bytes."""
        return self.shape is Shape.OBJECT and self.media == JSON


PLAIN = Form()
ACCEPTED = f"{JSON}, {YAML}, {PROTOBUF}"
ACCEPTED_CUSTOM = f"{JSON}, {YAML}"
"""What kinds are sent in whose messages nobody knows."""
STREAMED = f"{JSON};stream=watch, {PROTOBUF};stream=watch"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of an Accept header."""

    media: str
    parameters: tuple[tuple[str, str], ...]

    def parameter(self, name: str) -> str:
        """A parameter's value, empty when it is not there."""
        return next((value for key, value in self.parameters if key == name), "")


@lru_cache(maxsize=512)
def clauses(accept: str) -> tuple[Clause, ...]:
    """The clauses of an Accept header, best first. What cannot be read is left out. Raises BadRequest for an oversized header."""
    if len(accept) > MAX_ACCEPT:
        raise BadRequest(f"the Accept header is longer than {MAX_ACCEPT} characters")
    found: list[tuple[float, int, Clause]] = []
    for position, part in enumerate(accept.split(",")):
        media, *rest = (piece.strip() for piece in part.split(";"))
        pairs = tuple((key.strip().lower(), value.strip().strip('"')) for key, _, value in (piece.partition("=") for piece in rest))
        try:
            quality = float(dict(pairs).get("q", "1"))
        except ValueError:
            quality = 1.0
        if media:
            found.append((-quality, position, Clause(media.lower(), pairs)))
    return tuple(clause for _, _, clause in sorted(found, key=lambda item: item[:2]))


@lru_cache(maxsize=512)
def choose(accept: str, *, watch: bool = False, shapes: bool = True) -> Form:
    """The form of an answer. `shapes` says whether Table and metadata can be made of it. Raises NotAcceptable.

    A watch is a stream of JSON lines: YAML is passed over there.
    """
    if not accept.strip():
        return PLAIN
    listed = clauses(accept)
    for clause in listed:
        media = _media(clause.media)
        if media is None or (watch and media == YAML):
            continue
        shape = _shape(clause)
        if shape is None or (shape is not Shape.OBJECT and not shapes):
            continue
        return Form(media) if shape is Shape.OBJECT else Form(media, shape, clause.parameter("v"))
    streaming = watch and any(_media(clause.media) == YAML for clause in listed)
    raise NotAcceptable(f"only the following media types are accepted: {STREAMED if streaming else ACCEPTED}")


def error_media(accept: str) -> str:
    """The media type of a Status: errors are never transformed, but keep to YAML or protobuf where nothing else is accepted."""
    try:
        listed = clauses(accept)
    except BadRequest:
        return JSON
    for clause in listed:
        if clause.media in (JSON, YAML, PROTOBUF):
            return clause.media if clause.media != PROTOBUF or len(listed) == 1 else JSON
        if clause.media in ("*/*", "application/*"):
            break
    return JSON


def body_media(content_type: str, *, protobuf: bool = True) -> str:
    """JSON, YAML or protobuf, for the body of a create, an update or a delete. Nothing means JSON. Raises UnsupportedMediaType.

    `protobuf` says whether that is read there.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", JSON):
        return JSON
    if media == YAML or (media == PROTOBUF and protobuf):
        return media
    raise unknown_format(protobuf=protobuf)


def unknown_format(*, protobuf: bool) -> UnsupportedMediaType:
    """415: a body in a form that is not read there."""
    accepted = ACCEPTED if protobuf else ACCEPTED_CUSTOM
    return UnsupportedMediaType(f"the body of the request was in an unknown format - accepted media types include: {accepted}")


def _media(media: str) -> str | None:
    if media in (JSON, "*/*", "application/*"):
        return JSON
    return YAML if media == YAML else None


def _shape(clause: Clause) -> Shape | None:
    """None for a transformation that is not known. Other parameters (`pretty`, `stream`, `profile`) change nothing."""
    wanted = clause.parameter("as")
    if not wanted:
        return Shape.OBJECT
    if clause.parameter("g") != "meta.k8s.io" or clause.parameter("v") not in ("v1", "v1beta1"):
        return None
    return next((shape for shape in Shape if shape.value == wanted), None)
