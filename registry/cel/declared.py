"""What the checker is told of functions that are not in its own library: names, and the types of what they take and give."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cel_expr_python import cel

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
    "authorizer": _T.AbstractType("kubernetes.authorization.Authorizer"),
    "path": _T.AbstractType("kubernetes.authorization.PathCheck"),
    "group": _T.AbstractType("kubernetes.authorization.GroupCheck"),
    "resource": _T.AbstractType("kubernetes.authorization.ResourceCheck"),
    "decision": _T.AbstractType("kubernetes.authorization.Decision"),
}

SIGNATURES = """
string.charAt(int) string
string.indexOf(string) int
string.indexOf(string, int) int
list.indexOf(any) int
string.lastIndexOf(string) int
string.lastIndexOf(string, int) int
list.lastIndexOf(any) int
string.lowerAscii() string
string.upperAscii() string
string.trim() string
string.reverse() string
string.substring(int) string
string.substring(int, int) string
string.replace(string, string) string
string.replace(string, string, int) string
string.split(string) strings
string.split(string, int) strings
strings.join() string
strings.join(string) string
strings.quote(string) string
string.format(list) string
string.find(string) string
string.findAll(string) strings
string.findAll(string, int) strings
list.isSorted() bool
list.sum() any
list.min() any
list.max() any
sets.contains(list, list) bool
sets.equivalent(list, list) bool
sets.intersects(list, list) bool
quantity(string) quantity
isQuantity(string) bool
quantity.sign() int
quantity.isInteger() bool
quantity.asInteger() int
quantity.asApproximateFloat() double
quantity.add(quantity) quantity
quantity.add(int) quantity
quantity.sub(quantity) quantity
quantity.sub(int) quantity
quantity.isGreaterThan(quantity) bool
quantity.isLessThan(quantity) bool
quantity.compareTo(quantity) int
url(string) url
isURL(string) bool
url.getScheme() string
url.getHost() string
url.getHostname() string
url.getPort() string
url.getEscapedPath() string
url.getQuery() map
ip(string) ip
isIP(string) bool
ip.isCanonical(string) bool
ip.family() int
ip.isUnspecified() bool
ip.isLoopback() bool
ip.isLinkLocalUnicast() bool
cidr(string) cidr
isCIDR(string) bool
cidr.containsIP(string) bool
cidr.containsIP(ip) bool
cidr.containsCIDR(string) bool
cidr.containsCIDR(cidr) bool
cidr.ip() ip
cidr.masked() cidr
cidr.prefixLength() int
authorizer.path(string) path
authorizer.group(string) group
group.resource(string) resource
resource.subresource(string) resource
resource.namespace(string) resource
resource.name(string) resource
resource.check(string) decision
path.check(string) decision
decision.allowed() bool
decision.reason() string
decision.errored() bool
decision.error() string
"""
"""One overload in a line: the target before the dot, the types of the arguments, the type of the result."""

GLOBAL = frozenset({"strings.quote", "sets.contains", "sets.equivalent", "sets.intersects", "ip.isCanonical"})
"""Functions whose names have a dot: what stands before it is no target."""


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
