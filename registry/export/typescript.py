"""Kinds as TypeScript: an interface for each version and each of its parts, and a map of all kinds. Types only: nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from registry.export.choosing import Form
from registry.export.shapes import Choice, Field, Listed, Mapped, Nullable, Root, Scalar, Shape, Type, roots

SHARED = ("ObjectMeta", "OwnerReference", "ListMeta", "List", "Kinds", "KindInfo")
SCALARS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "int-or-string": "number | string",
    "any": "unknown",
}
HEAD = """\
// Written by `skep registry export typescript`. Do not edit.

/** What every object says of itself. Times are texts in RFC 3339. */
export interface ObjectMeta {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: Record<string, unknown>[];
}

/** Whose dependent an object is. */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** What a list says of itself. */
export interface ListMeta {
  resourceVersion?: string;
  continue?: string;
  remainingItemCount?: number;
}

/** A page of objects. */
export interface List<T> {
  apiVersion: string;
  kind: string;
  metadata: ListMeta;
  items: T[];
}
"""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BREAKS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u0085\u2028\u2029]")


def typescript(forms: Iterable[Form]) -> str:
    """The module."""
    made = roots(forms, taken=SHARED)
    parts = [HEAD]
    for root in made:
        parts += [_interface(shape, root if shape.name == root.name else None) for shape in root.shapes]
    parts.append(_kinds(made))
    return "\n".join(parts)


def _interface(shape: Shape, root: Root | None) -> str:
    lines = [*_comment(shape.description, ""), f"export interface {shape.name} {{"]
    if root is not None:
        lines += [
            f"  apiVersion: {_text(root.form.api_version)};",
            f"  kind: {_text(root.form.kind.kind)};",
            "  metadata: ObjectMeta;",
        ]
    for field in shape.fields:
        lines += [*_comment(_said(field), "  "), f"  {_key(field.wire)}{'' if field.required else '?'}: {_type(field.type)};"]
    return "\n".join([*lines, "}", ""])


def _said(field: Field) -> str:
    said = f"Default: {json.dumps(field.default, ensure_ascii=False)}" if field.filled else ""
    return "\n\n".join(each for each in (field.description, said) if each)


def _kinds(made: Iterable[Root]) -> str:
    """The types by `apiVersion/kind`, and where their objects are."""
    made = tuple(made)
    types = [f"  {_text(f'{root.form.api_version}/{root.form.kind.kind}')}: {root.name};" for root in made]
    infos = []
    for root in made:
        form = root.form
        base = f"/apis/{form.api_version}" if form.version.group else f"/api/{form.version.name}"
        infos += [
            f"  {_text(f'{form.api_version}/{form.kind.kind}')}: {{",
            f"    path: {_text(base)};",
            f"    plural: {_text(form.kind.plural)};",
            f"    namespaced: {str(form.kind.namespaced).lower()};",
            "  };",
        ]
    lines = ["/** All kinds, by their apiVersion and kind. */", "export interface Kinds {", *types, "}", ""]
    lines += ["/** Where the objects of each kind are. */", "export interface KindInfo {", *infos, "}", ""]
    return "\n".join(lines)


def _comment(text: str, indent: str) -> list[str]:
    if not text:
        return []
    safe = _BREAKS.sub(" ", text).replace("*/", "*\\/")
    first, *rest = safe.split("\n")
    if not rest:
        return [f"{indent}/** {first} */"]
    return [f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in (first, *rest)), f"{indent} */"]


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _text(name)


def _text(value: str | int) -> str:
    return json.dumps(value)


def _type(type_: Type) -> str:
    if isinstance(type_, Scalar):
        return SCALARS[type_.name]
    if isinstance(type_, Choice):
        return " | ".join(map(_text, type_.values))
    if isinstance(type_, Listed):
        inner = _type(type_.items)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if isinstance(type_, Mapped):
        return f"Record<string, {_type(type_.values)}>"
    if isinstance(type_, Nullable):
        return f"{_type(type_.inner)} | null"
    return type_.name
