"""The overloads of every function, as the checker of typed expressions knows them (`registry.cel.checking`)."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

from registry.cel import times, types
from registry.cel.types import Type

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
format.named(string) formats
format.dns1123Label() format
format.dns1123Subdomain() format
format.dns1035Label() format
format.qualifiedName() format
format.dns1123LabelPrefix() format
format.dns1123SubdomainPrefix() format
format.dns1035LabelPrefix() format
format.labelValue() format
format.uri() format
format.uuid() format
format.byte() format
format.date() format
format.datetime() format
format.validate(string) complaints
semver(string) semver
semver(string, bool) semver
isSemver(string) bool
isSemver(string, bool) bool
semver.major() int
semver.minor() int
semver.patch() int
semver.isGreaterThan(semver) bool
semver.isLessThan(semver) bool
semver.compareTo(semver) int
authorizer.path(string) path
authorizer.group(string) group
group.resource(string) resource
resource.subresource(string) resource
resource.namespace(string) resource
resource.name(string) resource
resource.fieldSelector(string) resource
resource.labelSelector(string) resource
resource.check(string) decision
path.check(string) decision
decision.allowed() bool
decision.reason() string
decision.errored() bool
decision.error() string
"""
"""One overload in a line: the target before the dot, the types of the arguments, the type of the result."""

GLOBAL = frozenset(
    {"strings.quote", "sets.contains", "sets.equivalent", "sets.intersects", "ip.isCanonical"}
    | {
        line.partition("(")[0]
        for line in SIGNATURES.split("\n")
        if line.startswith("format.") and not line.startswith("format.validate")
    }
)
"""Functions whose names have a dot: what stands before it is no target."""

_COMPARED = ("int", "uint", "double")
_ORDERED = ("bool", "string", "bytes", "timestamp", "duration")

_STANDARD = """
_==_(A, A) bool
_!=_(A, A) bool
_&&_(bool, bool) bool
_||_(bool, bool) bool
!_(bool) bool
_?_:_(bool, A, A) A
@not_strictly_false(bool) bool
__not_strictly_false__(bool) bool
@merged(list<map<A,B>>) map<A,B>
-_(int) int
-_(double) double
_+_(string, string) string
_+_(bytes, bytes) bytes
_+_(list<A>, list<A>) list<A>
_+_(timestamp, duration) timestamp
_+_(duration, timestamp) timestamp
_+_(duration, duration) duration
_-_(timestamp, duration) timestamp
_-_(timestamp, timestamp) duration
_-_(duration, duration) duration
_%_(int, int) int
_%_(uint, uint) uint
@in(A, list<A>) bool
@in(A, map<A,B>) bool
_[_](list<A>, int) A
_[_](map<A,B>, A) B
_[_](optional<list<A>>, int) optional<A>
_[_](optional<map<A,B>>, A) optional<B>
_[?_](list<A>, int) optional<A>
_[?_](map<A,B>, A) optional<B>
_[?_](optional<list<A>>, int) optional<A>
_[?_](optional<map<A,B>>, A) optional<B>
type(A) type<A>
dyn(A) dyn
int(int) int
int(uint) int
int(double) int
int(string) int
int(timestamp) int
int(duration) int
uint(uint) uint
uint(int) uint
uint(double) uint
uint(string) uint
double(double) double
double(int) double
double(uint) double
double(string) double
string(string) string
string(bool) string
string(int) string
string(uint) string
string(double) string
string(bytes) string
string(timestamp) string
string(duration) string
string(net.IP) string
string(net.CIDR) string
bytes(bytes) bytes
bytes(string) bytes
bool(bool) bool
bool(string) bool
duration(duration) duration
duration(string) duration
duration(int) duration
timestamp(timestamp) timestamp
timestamp(string) timestamp
timestamp(int) timestamp
string.contains(string) bool
string.startsWith(string) bool
string.endsWith(string) bool
string.matches(string) bool
matches(string, string) bool
optional.of(A) optional<A>
optional.none() optional<A>
optional.ofNonZeroValue(A) optional<A>
optional<A>.hasValue() bool
optional<A>.value() A
optional<A>.or(optional<A>) optional<A>
optional<A>.orValue(A) A
list<A>.indexOf(A) int
list<A>.lastIndexOf(A) int
sets.contains(list<A>, list<A>) bool
sets.equivalent(list<A>, list<A>) bool
sets.intersects(list<A>, list<A>) bool
list<int>.sum() int
list<uint>.sum() uint
list<double>.sum() double
list<duration>.sum() duration
"""
_NAMES = {
    "any": "dyn",
    "list": "list<dyn>",
    "strings": "list<string>",
    "map": "map<string,list<string>>",
    "quantity": "kubernetes.Quantity",
    "url": "kubernetes.URL",
    "ip": "net.IP",
    "cidr": "net.CIDR",
    "format": "kubernetes.NamedFormat",
    "formats": "optional<kubernetes.NamedFormat>",
    "complaints": "optional<list<string>>",
    "semver": "kubernetes.Semver",
    "authorizer": "kubernetes.authorization.Authorizer",
    "path": "kubernetes.authorization.PathCheck",
    "group": "kubernetes.authorization.GroupCheck",
    "resource": "kubernetes.authorization.ResourceCheck",
    "decision": "kubernetes.authorization.Decision",
}
"""What `SIGNATURES` calls types. What it says of lists is said in `_STANDARD` with the types of their items."""
QUALIFIED = GLOBAL | {"optional.of", "optional.none", "optional.ofNonZeroValue"}
"""Functions whose names have a dot."""


class Overload(NamedTuple):
    """A function on some types. A member's target is the first of its parameters."""

    function: str
    parameters: tuple[Type, ...]
    result: Type
    member: bool


@lru_cache(maxsize=1)
def overloads() -> dict[str, tuple[Overload, ...]]:
    """All of them, by the name of the function."""
    found: dict[str, list[Overload]] = {}
    for line in [*_STANDARD.split("\n"), *_generated()]:
        if line:
            one = _overload(line, {})
            found.setdefault(one.function, []).append(one)
    for line in SIGNATURES.split("\n"):
        if line and not line.startswith(("list.", "sets.")):
            one = _overload(line, _NAMES)
            found.setdefault(one.function, []).append(one)
    return {name: tuple(each) for name, each in found.items()}


def type_named(name: str) -> Type:
    """A type by the name that `SIGNATURES` has for it."""
    return types.read(_NAMES.get(name, name))


def _generated() -> list[str]:
    lines = [f"_{sign}_({one}, {other}) bool" for sign in ("<", "<=", ">", ">=") for one, other in product(_COMPARED, repeat=2)]
    lines += [f"_{sign}_({one}, {one}) bool" for sign in ("<", "<=", ">", ">=") for one in _ORDERED]
    lines += [f"_{sign}_({one}, {one}) {one}" for sign in "+-*/" for one in _COMPARED]
    lines += [form for one in ("string", "bytes", "list<A>", "map<A,B>") for form in (f"size({one}) int", f"{one}.size() int")]
    for one in (*_COMPARED, *_ORDERED):
        lines += [f"list<{one}>.isSorted() bool", f"list<{one}>.min() {one}", f"list<{one}>.max() {one}"]
    moments = sorted({*times.GETTERS, "getMilliseconds"})
    for name in moments:
        lines += [f"timestamp.{name}() int", f"timestamp.{name}(string) int"]
    return lines + [f"duration.{name}() int" for name in ("getHours", "getMinutes", "getSeconds", "getMilliseconds")]


def _overload(line: str, names: dict[str, str]) -> Overload:
    head, _, rest = line.partition("(")
    given, _, result = rest.rpartition(") ")
    target, _, name = ("", "", head) if head in QUALIFIED or head[:1] in "_@-!" else head.rpartition(".")
    parameters = tuple(types.read(names.get(each, each)) for each in (target, *given.split(", ")) if each)
    return Overload(name, parameters, types.read(names.get(result, result)), bool(target))
