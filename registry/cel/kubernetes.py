"""What Kubernetes adds to the language: quantities, URLs, addresses of networks, and questions to the authorizer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, ClassVar, Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

from registry.cel.running import Function
from registry.cel.values import INT_MAX, INT_MIN, EvaluationError, Meter, Opaque, no_overload

LONGEST = 2_048
"""Characters that the text of a quantity, URL or address may have."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_QUANTITY = re.compile(r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?")
_POWERS = {name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_POWERS |= {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(1000)}
_POWERS |= {name: Decimal(1000) ** power for power, name in enumerate(("M", "G", "T", "P", "E"), 2)}


class Quantity(Opaque):
    """An amount, such as `1.5Gi` or `100m`."""

    __slots__ = ("amount",)
    type_name: ClassVar[str] = "kubernetes.Quantity"

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def same(self, other: Any) -> bool:
        """Amounts, however they are written."""
        return bool(self.amount == other.amount)


class Url(Opaque):
    """A URL in its parts."""

    __slots__ = ("parts", "text")
    type_name: ClassVar[str] = "kubernetes.URL"

    def __init__(self, text: str, parts: SplitResult) -> None:
        self.text = text
        self.parts = parts

    def same(self, other: Any) -> bool:
        """By their texts."""
        return bool(self.text == other.text)


class Ip(Opaque):
    """An address."""

    __slots__ = ("address",)
    type_name: ClassVar[str] = "net.IP"

    def __init__(self, address: Address) -> None:
        self.address = address

    def __str__(self) -> str:
        return str(self.address)

    def same(self, other: Any) -> bool:
        """By what they address."""
        return bool(self.address == other.address)


class Cidr(Opaque):
    """A network, with the address that it was written with."""

    __slots__ = ("address", "network")
    type_name: ClassVar[str] = "net.CIDR"

    def __init__(self, address: Address, network: Network) -> None:
        self.address = address
        self.network = network

    def __str__(self) -> str:
        return f"{self.address}/{self.network.prefixlen}"

    def same(self, other: Any) -> bool:
        """By address and length."""
        return bool((self.address, self.network) == (other.address, other.network))


class Access(Protocol):
    """Whether something may be done: a verb on a resource (group, resource, subresource, namespace, name), or on a path."""

    def __call__(self, verb: str, about: Mapping[str, str]) -> tuple[bool, str]:
        """Whether, and why or why not."""
        ...


class Question(Opaque):
    """A question to the authorizer, as far as it has been asked. `about` has a path, or a group and so on."""

    __slots__ = ("about", "access", "stage")
    type_name: ClassVar[str] = "kubernetes.authorization.Authorizer"

    def __init__(self, access: Access, stage: str = "", about: Mapping[str, str] | None = None) -> None:
        self.access = access
        self.stage = stage
        self.about = about or {}


class Verdict(Opaque):
    """What the authorizer says."""

    __slots__ = ("allowed", "reason")
    type_name: ClassVar[str] = "kubernetes.authorization.Decision"

    def __init__(self, allowed: bool, reason: str) -> None:
        self.allowed = allowed
        self.reason = reason


def _text(name: str, act: Callable[[str], Any]) -> Function:
    def function(meter: Meter, text: Any) -> Any:
        if type(text) is not str:
            no_overload(name, text)
        meter.spend(1 + min(len(text), LONGEST) // 10)
        return act(text)

    return function


def _whether(act: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            act(text)
        except EvaluationError:
            return False
        return True

    return check


def _of(kind: type, name: str, act: Callable[..., Any], *others: type) -> Function:
    """A function of one opaque value, and of others."""

    def function(meter: Meter, value: Any, *given: Any) -> Any:
        del meter
        fits = all(isinstance(each, wanted) and type(each) is not bool for each, wanted in zip(given, others, strict=False))
        if not isinstance(value, kind) or not fits:
            no_overload(name, value, *given)
        return act(value, *given)

    return function


def quantity(text: str) -> Quantity:
    """`1.5Gi`, `100m`, `1e3`. Raises EvaluationError."""
    found = _QUANTITY.fullmatch(text[:LONGEST])
    if found is None:
        raise EvaluationError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    number, suffix, exponent = found.groups()
    with localcontext() as context:
        context.prec = 200
        factor = _POWERS[suffix] if suffix else Decimal(10) ** int(exponent or "0")
        return Quantity(Decimal(number) * factor)


def _exactly(act: Callable[[Decimal, Decimal], Decimal]) -> Callable[[Quantity, Any], Quantity]:
    def combine(one: Quantity, other: Quantity | int) -> Quantity:
        with localcontext() as context:
            context.prec = 200
            try:
                return Quantity(act(one.amount, other.amount if isinstance(other, Quantity) else Decimal(other)))
            except InvalidOperation:
                raise EvaluationError("quantity overflow") from None

    return combine


def _as_integer(one: Quantity) -> int:
    if not _is_integer(one):
        raise EvaluationError("cannot convert value to integer")
    return int(one.amount)


def _is_integer(one: Quantity) -> bool:
    return INT_MIN <= one.amount <= INT_MAX and one.amount == one.amount.to_integral_value()


def _sign(amount: Decimal) -> int:
    return (amount > 0) - (amount < 0)


def url(text: str) -> Url:
    """An absolute URL, or a path. Raises EvaluationError."""
    try:
        parts = urlsplit(text) if len(text) <= LONGEST and text.isprintable() and " " not in text else None
        if parts is not None and (parts.scheme or text.startswith("/")):
            _ = parts.port
            return Url(text, parts)
    except ValueError:
        pass
    raise EvaluationError(f"URL parse error during conversion from string: invalid URI for request: {text[:100]!r}")


def _host(one: Url) -> str:
    return one.parts.netloc.rpartition("@")[2]


def _query(one: Url) -> dict[str, list[str]]:
    try:
        return parse_qs(one.parts.query, keep_blank_values=True, max_num_fields=200)
    except ValueError as error:
        raise EvaluationError(f"URL query: {error}") from None


def ip(text: str) -> Ip:
    """An IPv4 or IPv6 address, without a zone. Raises EvaluationError."""
    try:
        if "%" not in text and len(text) <= LONGEST:
            found = ipaddress.ip_address(text)
            if not (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped):
                return Ip(found)
    except ValueError:
        pass
    raise EvaluationError(f"IP Address {text[:100]!r} parse error during conversion from string")


def cidr(text: str) -> Cidr:
    """An address and a length of prefix. Raises EvaluationError."""
    address, slash, length = text[:LONGEST].partition("/")
    try:
        if slash and length.isascii() and length.isdigit() and len(length) <= 3:
            found = ip(address).address
            return Cidr(found, ipaddress.ip_network(f"{found}/{length}", strict=False))
    except ValueError:
        pass
    raise EvaluationError(f"network address parse error during conversion from string: {text[:100]!r}")


def _is_canonical(text: str) -> bool:
    return str(ip(text).address) == text


def _within(whole: Cidr, part: Any) -> bool:
    found = ip(part).address if isinstance(part, str) else part.address
    return found.version == whole.network.version and found in whole.network


def _covers(whole: Cidr, part: Any) -> bool:
    found = (cidr(part) if isinstance(part, str) else part).network
    inside = found.network_address in whole.network and found.broadcast_address in whole.network
    return found.version == whole.network.version and inside


def _masked(one: Cidr) -> Cidr:
    return Cidr(one.network.network_address, one.network)


# Questions to the authorizer

_AFTER: Mapping[str, tuple[str, ...]] = {
    "path": ("",),
    "group": ("",),
    "resource": ("group",),
    "subresource": ("resource",),
    "namespace": ("resource",),
    "name": ("resource",),
    "fieldSelector": ("resource",),
    "labelSelector": ("resource",),
}
"""What may be said after what."""


def _asking(name: str) -> Function:
    def function(meter: Meter, question: Any, value: Any) -> Question:
        del meter
        if not isinstance(question, Question) or type(value) is not str or question.stage not in _AFTER[name]:
            no_overload(name, question, value)
        stage = name if name in ("path", "group", "resource") else question.stage
        return Question(question.access, stage, {**question.about, name: value})

    return function


def _check(meter: Meter, question: Any, verb: Any) -> Verdict:
    meter.spend(200)
    if not isinstance(question, Question) or type(verb) is not str or question.stage not in ("path", "resource"):
        no_overload("check", question, verb)
    return Verdict(*question.access(verb, question.about))


KUBERNETES: Mapping[str, Function] = {
    "quantity": _text("quantity", quantity),
    "isQuantity": _text("isQuantity", _whether(quantity)),
    "sign": _of(Quantity, "sign", lambda one: _sign(one.amount)),
    "isInteger": _of(Quantity, "isInteger", _is_integer),
    "asInteger": _of(Quantity, "asInteger", _as_integer),
    "asApproximateFloat": _of(Quantity, "asApproximateFloat", lambda one: float(one.amount)),
    "add": _of(Quantity, "add", _exactly(lambda one, other: one + other), Quantity | int),  # type: ignore[arg-type]
    "sub": _of(Quantity, "sub", _exactly(lambda one, other: one - other), Quantity | int),  # type: ignore[arg-type]
    "isGreaterThan": _of(Quantity, "isGreaterThan", lambda one, other: one.amount > other.amount, Quantity),
    "isLessThan": _of(Quantity, "isLessThan", lambda one, other: one.amount < other.amount, Quantity),
    "compareTo": _of(Quantity, "compareTo", lambda one, other: _sign(one.amount - other.amount), Quantity),
    "url": _text("url", url),
    "isURL": _text("isURL", _whether(url)),
    "getScheme": _of(Url, "getScheme", lambda one: one.parts.scheme),
    "getHost": _of(Url, "getHost", _host),
    "getHostname": _of(Url, "getHostname", lambda one: one.parts.hostname or ""),
    "getPort": _of(Url, "getPort", lambda one: "" if one.parts.port is None else str(one.parts.port)),
    "getEscapedPath": _of(Url, "getEscapedPath", lambda one: one.parts.path),
    "getQuery": _of(Url, "getQuery", _query),
    "isIP": _text("isIP", _whether(ip)),
    "ip.isCanonical": _text("ip.isCanonical", _is_canonical),
    "family": _of(Ip, "family", lambda one: one.address.version),
    "isUnspecified": _of(Ip, "isUnspecified", lambda one: one.address.is_unspecified),
    "isLoopback": _of(Ip, "isLoopback", lambda one: one.address.is_loopback),
    "isLinkLocalUnicast": _of(Ip, "isLinkLocalUnicast", lambda one: one.address.is_link_local),
    "cidr": _text("cidr", cidr),
    "isCIDR": _text("isCIDR", _whether(cidr)),
    "containsIP": _of(Cidr, "containsIP", _within, str | Ip),  # type: ignore[arg-type]
    "containsCIDR": _of(Cidr, "containsCIDR", _covers, str | Cidr),  # type: ignore[arg-type]
    "masked": _of(Cidr, "masked", _masked),
    "prefixLength": _of(Cidr, "prefixLength", lambda one: one.network.prefixlen),
    "ip": lambda meter, value: Ip(value.address) if isinstance(value, Cidr) else _text("ip", ip)(meter, value),
    **{name: _asking(name) for name in _AFTER},
    "check": _check,
    "allowed": _of(Verdict, "allowed", lambda one: one.allowed),
    "reason": _of(Verdict, "reason", lambda one: one.reason),
    "errored": _of(Verdict, "errored", lambda _: False),
    "error": _of(Verdict, "error", lambda _: ""),
}
"""By the names that `registry.cel.declared` declares."""
