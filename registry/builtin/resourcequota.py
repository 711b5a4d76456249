"""ResourceQuota (core/v1): how many objects of a kind there may be in a namespace.

`spec.hard` names what is limited as Kubernetes does: `count/<plural>.<group>` (`count/<plural>` in the core group), and the plural
alone for a few kinds of the core group (`configmaps`, `secrets`, ...). Other names that Kubernetes knows (`pods`, `requests.cpu`)
may be there: nothing of that kind is used here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Annotated, Any

from registry.builtin.actor import KEEPER
from registry.builtin.common import builtin, column, printer, version
from registry.errors import Cause, forbidden, invalid
from registry.kinds import Document
from registry.names import qualified_name
from registry.resource import IntOrString, Meta, Object, Spec, Status, Struct

COUNT = "count/"
PLAIN = ("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services")
"""Kinds of the core group whose plural alone is the name of their count."""
OTHERS = frozenset(
    {
        *("cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage"),
        *("requests.storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage"),
        *("services.loadbalancers", "services.nodeports"),
    }
)
"""More names without a slash that Kubernetes knows."""
LARGEST = 2**63 - 1

_QUANTITY = re.compile(r"([+-]?)(\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,2})?", re.ASCII)
_BINARY: Mapping[str, int] = {f"{letter}i": 1 << 10 * power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL: Mapping[str, int] = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}

Hard = Annotated[
    dict[str, IntOrString], Meta(description="The most of each, as count/probes.uptime.example, count/leases.coordination.k8s.io.")
]


class ScopeRequirement(Struct):
    """ScopeRequirement is a condition on a scope."""

    scope_name: str = ""
    operator: str = ""
    values: list[str] | None = None


class ScopeSelector(Struct):
    """ScopeSelector is a list of conditions on scopes."""

    match_expressions: list[ScopeRequirement] | None = None


class ResourceQuotaSpec(Spec):
    """ResourceQuotaSpec says how many there may be."""

    hard: Hard | None = None
    scopes: Annotated[list[str] | None, Meta(description="Select pods, which are not here: leave it out.")] = None
    scope_selector: Annotated[ScopeSelector | None, Meta(description="Selects pods, which are not here: leave it out.")] = None


class ResourceQuotaStatus(Status):
    """ResourceQuotaStatus says how many there are."""

    hard: Annotated[dict[str, IntOrString] | None, Meta(description="The limits that `used` was counted for.")] = None
    used: Annotated[dict[str, IntOrString] | None, Meta(description="How many there were when it was counted last.")] = None


class ResourceQuota(Object):
    """ResourceQuota bounds how many objects of a kind there may be in its namespace."""

    spec: Annotated[ResourceQuotaSpec | None, Meta(description="How many there may be.")] = None
    status: Annotated[ResourceQuotaStatus | None, Meta(description="How many there are, as the server counted last.")] = None


def quantity(value: Any) -> Decimal | None:
    """The number that a quantity stands for (`10`, `"2k"`, `"1.5e3"`); None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    found = _QUANTITY.fullmatch(str(value))
    if found is None:
        return None
    sign, digits, suffix = found[1], found[2], found[3] or ""
    number = Decimal(digits)
    if suffix in _BINARY:
        number *= _BINARY[suffix]
    else:
        number = number.scaleb(_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:]))
    return -number if sign == "-" else number


def resource_counted(name: str) -> str | None:
    """The resource whose objects a name of `spec.hard` counts, `plural.group`; None if it counts no objects."""
    if name.startswith(COUNT):
        return name[len(COUNT) :]
    return name if name in PLAIN else None


def limits_of(hard: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """What may be: of each resource that is counted, the names that count it, each with the most there may be."""
    found: dict[str, dict[str, int]] = {}
    for name in sorted(hard):
        resource, number = resource_counted(name), quantity(hard[name])
        if resource is not None and number is not None:
            most = int(number.to_integral_value(ROUND_FLOOR)) if number < LARGEST else LARGEST
            found.setdefault(resource, {})[name] = most
    return found


def prepare(new: Document, old: Document | None) -> Document:
    """There is always a spec, and numbers are written as quantities are: as texts."""
    del old
    spec = new.get("spec") or {}
    hard = spec.get("hard")
    if hard:
        spec = {**spec, "hard": {name: str(value) if _whole(value) else value for name, value in hard.items()}}
    return {**new, "spec": spec}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check(new: Document, old: Document | None) -> list[Cause]:
    """Names are such as can be counted, limits are numbers that are not negative, and nothing selects pods."""
    del old
    spec = new.get("spec") or {}
    causes = [cause for name, value in (spec.get("hard") or {}).items() for cause in _hard_causes(name, value)]
    fields = [field for field in ("scopes", "scopeSelector") if spec.get(field)]
    causes += [forbidden(f"spec.{field}", "it selects pods, and there are none here: leave it out") for field in fields]
    return causes


def _hard_causes(name: str, value: Any) -> Iterable[Cause]:
    field = f"spec.hard[{name}]"
    problems = qualified_name(name)
    if not problems and "/" not in name and name not in PLAIN and name not in OTHERS:
        problems = ["must be a standard resource for quotas, as configmaps or secrets, or count/<plural>.<group>"]
    yield from (invalid(field, name, problem) for problem in problems)
    number = quantity(value)
    if number is None:
        yield invalid(field, value, "must be a quantity, as 10 or 2k")
    elif number < 0:
        yield invalid(field, value, "must be greater than or equal to 0")
    elif resource_counted(name) is not None and number != number.to_integral_value():
        yield invalid(field, value, "must be an integer")


def _shown(document: Document, *, limits: bool) -> str:
    """What is used of what there may be, in one cell."""
    status = document.get("status") or {}
    used = status.get("used") or {}
    names = [name for name in sorted(status.get("hard") or {}) if name.startswith("limits.") == limits]
    return ", ".join(f"{name}: {used.get(name, 0)}/{status['hard'][name]}" for name in names)


TABLE = printer(
    [column("Request", "What is used, of what there may be."), column("Limit", "The same, of limits.")],
    lambda document, _: [_shown(document, limits=False), _shown(document, limits=True)],
)
RESOURCE_QUOTA = replace(
    builtin(
        "ResourceQuota",
        "resourcequotas",
        (version(ResourceQuota, "", "v1", "ResourceQuota", TABLE),),
        prepare=prepare,
        check=check,
        short=("quota",),
        has_status=True,
    ),
    owner=KEEPER,
)
