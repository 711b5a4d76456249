"""ApiKey (skep.dev/v1): a key that a program or a person shows to be known as a user. The key itself is in no object: only its
SHA-256 is, with its first letters, so that people can tell keys apart.

The name of an object is made of the digest, so no two objects are of one key, however many servers write: nobody takes the key of
somebody else and makes it stand for another. What a key stands for never changes; when it ends may.
"""

from __future__ import annotations

from typing import Annotated, Any

from registry.builtin.actor import GROUP, KEEPER
from registry.builtin.common import IMMUTABLE, column, printer
from registry.errors import Cause, invalid
from registry.kinds import Document, Kind, Strategy, Version
from registry.resource import Meta, OmitEmpty, Resource, Spec, Status, Time
from registry.times import age, parse_time, since
from registry.typed import schema_of

PLURAL = "apikeys"
MOST_GROUPS = 100
NEVER_ASKED = ("system:anonymous", "system:unauthenticated")
"""Whoever shows a key is neither."""


class ApiKeySpec(Spec):
    """ApiKeySpec says whom a key stands for, and until when."""

    user: Annotated[str, Meta(min_length=1, max_length=256, description="The user whom the key stands for. Cannot change.")]
    groups: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
        OmitEmpty,
        Meta(max_length=MOST_GROUPS, description="The groups of that user. Cannot change."),
    ] = ()
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="The SHA-256 of the key, in hex. Cannot change.")]
    hint: Annotated[
        str, Meta(pattern="^skep_(live|test)_[0-9A-Za-z]{4}$", description="How the key begins, which logs show. Cannot change.")
    ]
    expires: Annotated[Time | None, Meta(description="From when on the key is refused; absent: it holds until it is revoked.")] = (
        None
    )
    description: Annotated[str, OmitEmpty, Meta(max_length=1024, description="What the key is for.")] = ""


class ApiKeyStatus(Status):
    """ApiKeyStatus is what the server has seen of a key."""

    last_used: Annotated[Time | None, Meta(description="When it was last shown, to within some minutes.")] = None


class ApiKeyObject(Resource[ApiKeySpec, ApiKeyStatus]):
    """ApiKey is a key that stands for a user. It is revoked by deleting it, at once. `skep key create` makes one."""

    wire_name = "ApiKey"


def name_of(digest: str) -> str:
    """The name of the object of a key."""
    return f"key-{digest[:20]}"


def check(new: Document, old: Document | None) -> list[Cause]:
    """The name is that of the digest; names can be written; what the key stands for stays."""
    spec = new["spec"]
    causes = []
    if new["metadata"].get("name") != name_of(spec["digest"]):
        causes.append(invalid("metadata.name", new["metadata"].get("name"), f"must be {name_of(spec['digest'])}, after the digest"))
    named = [("spec.user", spec["user"]), *((f"spec.groups[{at}]", group) for at, group in enumerate(spec.get("groups", ())))]
    for field, value in named:
        if not value.isprintable() or value != value.strip():
            causes.append(invalid(field, value, "must be of printable characters, without blanks at its ends"))
        elif value in NEVER_ASKED:
            causes.append(invalid(field, value, "is for those who show no key"))
    if old is not None:
        before = old["spec"]
        fixed = [field for field in ("user", "groups", "digest", "hint") if spec.get(field) != before.get(field)]
        causes += [invalid(f"spec.{field}", spec.get(field), IMMUTABLE) for field in fixed]
    return causes


def cells(document: Document, now: float) -> list[Any]:
    """The row of a table, between name and age."""
    spec, status = document["spec"], document.get("status") or {}
    last = status.get("lastUsed")
    return [
        spec["user"],
        f"{spec['hint']}...",
        expiry_shown(spec.get("expires"), now),
        since(last, now) if last else "<never>",
        ",".join(spec.get("groups", ())),
        spec.get("description", ""),
    ]


def expiry_shown(expires: str | None, now: float) -> str:
    """When a key ends, for people."""
    if expires is None:
        return "<never>"
    left = parse_time(expires).timestamp() - now
    return f"in {age(left)}" if left > 0 else "expired"


TABLE = printer(
    (
        column("User", "Whom the key stands for."),
        column("Key", "How the key begins."),
        column("Expires", "When it ends."),
        column("Last Used", "How long ago it was last shown."),
        column("Groups", "The groups of the user.", wide=True),
        column("Description", "What it is for.", wide=True),
    ),
    cells,
)
V1 = Version(group=GROUP, name="v1", kind="ApiKey", schema=schema_of(ApiKeyObject), model=ApiKeyObject, printer=TABLE)
API_KEY = Kind(
    name="ApiKey",
    plural=PLURAL,
    singular="apikey",
    list_kind="ApiKeyList",
    versions=(V1,),
    storage=V1,
    namespaced=False,
    owner=KEEPER,
    strategy=Strategy(check=check),
    source="skep",
)
