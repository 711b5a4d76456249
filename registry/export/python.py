"""Kinds as one Python module: a frozen struct for each version and each of its parts, and a typed client for them.

It needs msgspec and httpx, and nothing of this project. They are what reads JSON into checked types fastest, and speaks TLS and
streams; with the standard library alone both would have to be written again in every module.

    text = python(forms, client)      `client` is the source of the part that is the same in every module
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from registry.export.choosing import ExportError, Form
from registry.export.shapes import Choice, Field, Listed, Mapped, Nullable, Root, Scalar, Shape, Type, roots

SCALARS = {
    "string": "str",
    "integer": "int",
    "number": "int | float",
    "boolean": "bool",
    "int-or-string": "int | str",
    "any": "Any",
}
USED = frozenset(("str", "int", "float", "bool", "tuple", "dict", "msgspec"))
"""What annotations and defaults in a class name: a field of this name would stand for it."""
UNNAMED = re.compile(r'[\x00-\x1f"\\]')
"""Is in no name of a field that a struct can have on the wire; nor can it have none."""


def python(forms: Iterable[Form], client: str) -> str:
    """The module. Raises ExportError."""
    made = roots(forms, taken=(*_names(client), "Client"), fits=_fits)
    parts = [_shared(client)]
    for root in made:
        parts += [_struct(shape, root if shape.name == root.name else None) for shape in root.shapes]
    parts.append(_client(made))
    return "\n\n".join(parts)


def _names(source: str) -> list[str]:
    """The names that a module has."""
    found: list[str] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            found.append(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            found += [alias.asname or alias.name for alias in statement.names]
        elif isinstance(statement, ast.Assign):
            found += [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return found


def _shared(source: str) -> str:
    """What all modules have, under a docstring of its own, and without what it exports."""
    tree = ast.parse(source)
    lines = source.splitlines()
    hidden = [each for each in tree.body if isinstance(each, ast.Assign) and getattr(each.targets[0], "id", "") == "__all__"]
    for each in hidden:
        lines[each.lineno - 1 : each.end_lineno] = [""] * ((each.end_lineno or each.lineno) - each.lineno + 1)
    text = "\n".join(lines).strip("\n")
    return f"# Written by `skep registry export python`. Do not edit.\n# ruff: noqa\n{text}\n"


def _fits(names: Sequence[str]) -> bool:
    return not any(not name or UNNAMED.search(name) for name in names)


def identifier(wire: str, taken: set[str]) -> str:
    """The name of a field in Python, which no other has; it is taken then."""
    text = unicodedata.normalize("NFKC", wire)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text).lower()
    text = "".join(char if f"a{char}".isidentifier() else "_" for char in text).strip("_")
    text = unicodedata.normalize("NFKC", text)
    text = text if text.isidentifier() else f"field_{text}".rstrip("_")
    text = text if text.isidentifier() else "field"
    text = f"{text}_" if keyword.iskeyword(text) or text in USED else text
    name, count = text, 2
    while name in taken:
        name, count = f"{text}_{count}", count + 1
    taken.add(name)
    return name


def camel(name: str) -> str:
    """What the structs make of a name by themselves, as far as that is plain; else nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z]+)*", name):
        return ""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _struct(shape: Shape, root: Root | None) -> str:
    base = "Part" if root is None else "Object"
    form = None if root is None else root.form
    said = shape.description or (f"{form.kind.kind} in {form.api_version}." if form is not None else "")
    lines = [f"class {shape.name}({base}, frozen=True, kw_only=True):"]
    lines += [f"    {_docstring(said)}", ""] if said else []
    taken = {"api_version", "kind", "metadata"} if root is not None else set()
    if form is not None:
        path = f"/apis/{form.api_version}" if form.version.group else f"/api/{form.version.name}"
        lines += [
            f"    PLACE: ClassVar[Place] = Place({path!r}, {form.kind.plural!r}, {form.kind.namespaced})",
            "",
            f"    api_version: str = msgspec.field(default_factory=lambda: {form.api_version!r})",
            f"    kind: str = msgspec.field(default_factory=lambda: {form.kind.kind!r})",
        ]
        if not _fits([field.wire for field in shape.fields]):
            raise ExportError(f"{form.kind.resource} {form.version.name} has a field that no struct can have", "leave it out")
    for field in shape.fields:
        lines.append(f"    {_field(field, identifier(field.wire, taken))}")
        lines += [f"    {_docstring(field.description)}"] if field.description else []
    return "\n".join([*lines, "" if len(lines) > 1 else "    pass\n"])


def _field(field: Field, name: str) -> str:
    """An annotation with its default. What is there says so on the wire, also where it is what the server would fill in: that may
    change."""
    inner = field.type.inner if isinstance(field.type, Nullable) else field.type
    nullable = isinstance(field.type, Nullable)
    annotation = _type(field.type)
    anything = inner == Scalar("any")
    options: dict[str, str] = {}
    if field.filled:
        options["default_factory"] = f"lambda: {_value(field.default, inner)}"
    elif not field.required and (nullable or anything):
        annotation = annotation if anything else f"{annotation} | UnsetType"
        options["default"] = "UNSET"
    elif not field.required:
        annotation = f"{annotation} | None"
        options["default"] = "None"
    if camel(name) != field.wire:
        options["name"] = repr(field.wire)
    if not options:
        return f"{name}: {annotation}"
    if list(options) == ["default"]:
        return f"{name}: {annotation} = {options['default']}"
    return f"{name}: {annotation} = msgspec.field({', '.join(f'{key}={value}' for key, value in options.items())})"


def _value(value: Any, type_: Type) -> str:
    """A default, in Python."""
    if not isinstance(value, dict | list) or type_ == Scalar("any"):
        return repr(value)
    if isinstance(type_, Mapped):
        return f"msgspec.convert({value!r}, dict[str, {_type(type_.values)}])"
    return f"msgspec.convert({value!r}, {_type(type_)})"


def _type(type_: Type) -> str:
    if isinstance(type_, Scalar):
        return SCALARS[type_.name]
    if isinstance(type_, Choice):
        return f"Literal[{', '.join(map(repr, type_.values))}]"
    if isinstance(type_, Listed):
        return f"tuple[{_type(type_.items)}, ...]"
    if isinstance(type_, Mapped):
        return f"Mapping[str, {_type(type_.values)}]"
    if isinstance(type_, Nullable):
        return f"{_type(type_.inner)} | None"
    return type_.name


def _docstring(text: str) -> str:
    """A text as the literal of a docstring, whatever is in it, without changing it more than needed."""
    plain = text.isprintable() and "\\" not in text and '"' not in text
    return f'"""{text}"""' if plain else repr(text)


def _client(made: Sequence[Root]) -> str:
    lines = ["class Client(Connection):", '    """A server with these kinds, as one user."""', ""]
    taken = {"http", "namespace", "connect", "of"}
    for root in made:
        form = root.form
        wanted = f"{form.kind.plural}_{form.version.name}"
        wanted = f"{form.version.group.partition('.')[0]}_{wanted}" if wanted in taken else wanted
        name = identifier(wanted, taken)
        said = f"The objects of {form.kind.plural}, as {form.api_version} has them."
        lines += ["    @property", f"    def {name}(self) -> Resource[{root.name}]:", f"        {_docstring(said)}"]
        lines += [f"        return self.of({root.name})", ""]
    return "\n".join(lines).rstrip("\n") + "\n"
