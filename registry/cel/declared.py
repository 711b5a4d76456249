"""What the checker is told of functions that are not in its own library: names, and the types of what they take and give."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from registry.cel.signatures import GLOBAL, SIGNATURES

_T = cel.Type
_TYPES: dict[str, Any] = {
    "any": _T.DYN,
    "bool": _T.BOOL,
    "int": _T.INT,
    "double": _T.DOUBLE,
    "string": _T.STRING,
    "list": _T.List(_T.DYN),
    "strings": _T.List(_T.STRING),
    "map": _T.Map(_T.STRING, _T.List(_T.STRING)),
    "quantity": _T.AbstractType("kubernetes.Quantity"),
    "url": _T.AbstractType("kubernetes.URL"),
    "ip": _T.AbstractType("net.IP"),
    "cidr": _T.AbstractType("net.CIDR"),
    "format": _T.AbstractType("kubernetes.NamedFormat"),
    "formats": _T.DYN,  # optional values have no type that could be said here
    "complaints": _T.DYN,
    "semver": _T.AbstractType("kubernetes.Semver"),
    "authorizer": _T.AbstractType("kubernetes.authorization.Authorizer"),
    "path": _T.AbstractType("kubernetes.authorization.PathCheck"),
    "group": _T.AbstractType("kubernetes.authorization.GroupCheck"),
    "resource": _T.AbstractType("kubernetes.authorization.ResourceCheck"),
    "decision": _T.AbstractType("kubernetes.authorization.Decision"),
}


@lru_cache(maxsize=1)
def functions() -> tuple[Any, ...]:
    """All declarations."""
    overloads: dict[str, list[Any]] = {}
    for line in SIGNATURES.split("\n"):
        head, _, rest = line.partition("(")
        if not head:
            continue
        given, _, result = rest.rpartition(") ")
        target, _, name = ("", "", head) if head in GLOBAL else head.rpartition(".")
        parameters = [_TYPES[each] for each in (target, *given.split(", ")) if each]
        overload = cel.Overload(
            id=f"skep_{head}_{given}".replace(".", "_").replace(", ", "_"),
            return_type=_TYPES[result],
            parameters=parameters,
            is_member=bool(target),
        )
        overloads.setdefault(name, []).append(overload)
    return tuple(cel.FunctionDecl(name, each) for name, each in overloads.items())


def type_of(name: str) -> Any:
    """A type by the name that `registry.cel` uses for it."""
    return _TYPES[name]
