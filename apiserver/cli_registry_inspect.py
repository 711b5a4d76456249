"""`skep registry list`, `show` and `explain`: what kinds there are, and all that is known of one, of plugins or of a server."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from apiserver.cli_registry_source import (
    EXIT,
    MISSING,
    Ca,
    Config,
    DataDir,
    Kubeconfig,
    Plugin,
    Server,
    TokenFile,
    Where,
    kind_of,
    looking,
    missing,
    registry_of,
)
from apiserver.config import StartError

if TYPE_CHECKING:
    from registry.description import Description, KindDescription, VersionDescription

Output = Annotated[
    Literal["table", "wide", "json", "yaml", "name"], typer.Option("--output", "-o", help="For people, or for programs.")
]
Group = Annotated[str, typer.Option("--group", "-g", metavar="GROUP", help="Only kinds of this group.")]
All = Annotated[bool, typer.Option("--all", "-a", help="Also the kinds that every server has.")]


def names_for_shell(context: typer.Context, incomplete: str) -> list[str]:
    """Kinds of the plugins that are named before the cursor; nothing when there are none, or they are broken."""
    described = _described(context)
    if described is None:
        return []
    names = [kind.plural for kind in described.kinds]
    return [name for name in [*names, *(kind.resource for kind in described.kinds)] if name.startswith(incomplete)]


def fields_for_shell(context: typer.Context, incomplete: str) -> list[str]:
    """Kinds, and after a dot fields, of the plugins that are named before the cursor."""
    from registry.description_fields import at, fields_of
    from registry.description_names import NoSuchKind, find_within

    described = _described(context)
    if described is None or "." not in incomplete:
        return names_for_shell(context, incomplete)
    before, _, begun = incomplete.rpartition(".")
    try:
        named = find_within(described, before)
    except NoSuchKind:
        return names_for_shell(context, incomplete)
    kind = next(each for each in described.kinds if each.resource == named.kind.resource)
    field = at(_version(kind, named.version.name if named.version else "").schema or {}, named.rest)
    found = [each.name for each in fields_of(field.schema)] if field is not None else []
    fields = [f"{before}.{name}" for name in found if name.startswith(begun)]
    return fields or names_for_shell(context, incomplete)


def _described(context: typer.Context) -> Description | None:
    """What the plugins say that stand before the cursor, or that the environment names. A shell is told of no failure."""
    from registry.description import describe

    named = list(context.params.get("plugin") or ())
    if not named and not os.environ.get("SKEP_PLUGINS"):
        return None
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return describe(registry_of(named, None))
    except BaseException:  # a plugin may do anything when it is imported, also leave
        return None


def list_kinds(
    group: Group = "",
    all_kinds: All = False,
    output: Output = "table",
    plugin: Plugin = None,
    server: Server = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    config: Config = None,
) -> None:
    """Shows the kinds: their names, versions, and who writes their status; of a server also how many objects there are.

    Examples:

    - skep registry list --plugin uptime.py

    - skep registry list --all -o wide
    """
    with looking(Where(plugin, server, kubeconfig, data_dir, token_file, ca, config)) as source:
        described = chosen(of_group(source.brief(), group), [group] if group else [], builtin=all_kinds)
        counted = source.counted
    from apiserver import showing_kinds

    showing_kinds.listed(described, output, counted=counted)


def show(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="A kind, plural or short name; with .VERSION and .GROUP.", autocompletion=names_for_shell
        ),
    ],
    depth: Annotated[int | None, typer.Option(min=1, max=100, metavar="N", help="Levels of fields.  [default: all]")] = None,
    output: Output = "table",
    plugin: Plugin = None,
    server: Server = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    config: Config = None,
) -> None:
    """Shows one kind: versions and their lives, converters, handlers in their order, actors, and the fields of a version.

    Examples:

    - skep registry show probes --plugin uptime.py

    - skep registry show probes.v1.uptime.example -o wide
    """
    with looking(Where(plugin, server, kubeconfig, data_dir, token_file, ca, config)) as source:
        named = kind_of(source.brief(), kind)
        described = source.full(named.kind.resource)
    from apiserver import showing_kinds

    found = only(described, named.kind.resource)
    showing_kinds.one(described, found, _version(found, named.version.name if named.version else ""), output, depth=depth)


def explain(
    field: Annotated[str, typer.Argument(metavar="KIND[.FIELD...]", help="As probes.spec.url.", autocompletion=fields_for_shell)],
    version: Annotated[str, typer.Option("--version", metavar="VERSION", help="As v1beta1.  [default: the preferred one]")] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="All fields below it.")] = False,
    output: Output = "table",
    plugin: Plugin = None,
    server: Server = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    config: Config = None,
) -> None:
    """Explains a field: type, rules, default, description, and in which versions of the kind it is.

    Examples:

    - skep registry explain probes.spec.url --plugin uptime.py

    - skep registry explain probes.v1.uptime.example.spec -r
    """
    from registry.description_names import NoSuchKind, find_within

    with looking(Where(plugin, server, kubeconfig, data_dir, token_file, ca, config)) as source:
        try:
            named = find_within(source.brief(), field)
        except NoSuchKind as error:
            raise missing(error) from None
        found = only(source.full(named.kind.resource), named.kind.resource)
    wanted = version or (named.version.name if named.version else "")
    _explain(found, wanted, ".".join(named.rest), output, recursive=recursive)


def _explain(kind: KindDescription, wanted: str, path: str, output: str, *, recursive: bool) -> None:
    from apiserver.showing_field import Explained, explain, in_versions
    from registry.description_fields import at, steps_of

    chosen_version, steps = _version(kind, wanted), steps_of(path)
    field = at(chosen_version.schema or {}, steps)
    if field is None and not wanted:  # another version may have it
        there = [each for each in in_versions(kind, steps) if each.field is not None]
        chosen_version, field = (there[0].version, there[0].field) if there else (chosen_version, None)
    if field is None:
        raise _no_field(kind, chosen_version, steps)
    explain(Explained(kind, chosen_version, steps, field), output, recursive=recursive)


def _no_field(kind: KindDescription, version: VersionDescription, steps: Sequence[str]) -> StartError:
    """What to tell of a path that leads nowhere: how far it leads, and what there is."""
    from registry.description_fields import at, fields_of

    schema = version.schema or {}
    known = next(end for end in range(len(steps) - 1, -1, -1) if at(schema, steps[:end]) is not None)
    parent = at(schema, steps[:known])
    there = [field.name for field in fields_of(parent.schema)] if parent is not None else []
    near = get_close_matches(steps[known], there, 3, 0.5)
    where = ".".join((kind.plural, *steps[:known]))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(there[:20])}" if there else ""
    hint = hint or f"{where} has no fields that are known"
    return StartError(f"{where} has no field {steps[known]!r} in {version.name}", hint, exit_code=MISSING)


def chosen(description: Description, words: Sequence[str], *, builtin: bool = False) -> Description:
    """The kinds that are asked for, by group or by name; without any word, those of plugins and definitions, or all. Raises
    StartError."""
    from msgspec.structs import replace

    from registry.description import BUILTIN

    kinds = description.kinds
    if words:
        groups = {kind.group for kind in kinds}
        named = {kind_of(description, word).kind.resource for word in words if word not in groups}
        kinds = tuple(kind for kind in kinds if kind.group in words or kind.resource in named)
    elif not builtin:
        kinds = tuple(kind for kind in kinds if kind.declared != BUILTIN)
    resources = {kind.resource for kind in kinds}
    actors = tuple(each for each in description.actors if resources & {each.owns, *each.observes, *each.writes})
    return replace(description, kinds=kinds, actors=actors)


def of_group(description: Description, group: str) -> Description:
    """The same; there has to be such a group, if one is named. Raises StartError."""
    there = {kind.group for kind in description.kinds}
    if group and group not in there:
        near = get_close_matches(group, there, 3, 0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`skep registry list --all` shows all kinds with their groups"
        raise StartError(f"there is no group {group!r}", hint, exit_code=MISSING)
    return description


def only(description: Description, resource: str) -> KindDescription:
    """The kind of a description of one. Raises StartError if it has gone meanwhile."""
    found = next((kind for kind in description.kinds if kind.resource == resource), None)
    if found is None:
        raise StartError(f"there is no kind {resource!r} any more", exit_code=MISSING)
    return found


def _version(kind: KindDescription, name: str) -> VersionDescription:
    """The version of a name; without one, the preferred one that is served. Raises StartError."""
    if not name:
        return next((each for each in kind.versions if each.served), kind.versions[0])
    version = kind.version(name)
    if version is None:
        there = ", ".join(each.name for each in kind.versions)
        raise StartError(f"{kind.resource} has no version {name!r}", f"there are {there}", exit_code=MISSING)
    return version


COMMANDS = ((list_kinds, "list", EXIT), (show, "show", EXIT), (explain, "explain", EXIT))
"""What this module puts into `skep registry`: function, name, epilog."""
