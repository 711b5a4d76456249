"""Why somebody may do something, or what is nearest to letting them. Pure: it reads what `admission.rbac` knows."""

from __future__ import annotations

from collections.abc import Iterator

from admission.rbac import Grant, Place, Rbac
from admission.review import Attributes
from admission.rules import ALL, Rule, callings, covers_path

MOST = 5
"""Roles, places or rules that are named of each sort."""


def explained(rbac: Rbac, asked: Attributes) -> tuple[bool, list[str]]:
    """Whether roles allow it, and lines that say why."""
    decision = rbac.decide(asked)
    if decision.allowed:
        return True, [decision.reason, *_by_rules(rbac, asked)]
    return False, [*_has(rbac, asked), *_nearest(rbac, asked), *_elsewhere(rbac, asked), *_by_roles(rbac, asked)]


def allows(rule: Rule, asked: Attributes) -> bool:
    """Whether one rule allows it."""
    return not lacking(rule, asked)


def lacking(rule: Rule, asked: Attributes) -> list[str]:
    """In which respects a rule is about something else."""
    wrong = [] if asked.verb in rule.verbs or ALL in rule.verbs else ["verb"]
    if asked.path:
        return wrong + ([] if any(covers_path(each, asked.path) for each in rule.non_resource_urls) else ["path"])
    plural, _, group = asked.resource.partition(".")
    resource = f"{plural}/{asked.subresource}" if asked.subresource else plural
    if not set(callings(resource)) & set(rule.resources):
        wrong.append("resource")
    if group not in rule.api_groups and ALL not in rule.api_groups:
        wrong.append("API group")
    if rule.resource_names and asked.name not in rule.resource_names:
        wrong.append("name")
    return wrong


def _granted(rbac: Rbac, asked: Attributes, namespace: str) -> Iterator[tuple[Grant, Rule]]:
    for grant in rbac.grants(asked.identity, "" if asked.path else namespace):
        table = rbac.table(grant.role)
        for rule in table.rules if table is not None else ():
            yield grant, rule


def _by_rules(rbac: Rbac, asked: Attributes) -> list[str]:
    found = [rule for _, rule in _granted(rbac, asked, asked.namespace) if allows(rule, asked)]
    return [f"by the rule {rule}" for rule in found[:1]]


def _has(rbac: Rbac, asked: Attributes) -> list[str]:
    where = f"in the namespace {asked.namespace}" if asked.namespace else "everywhere"
    grants = rbac.grants(asked.identity, asked.namespace)
    if not grants:
        return [f"no role is bound to {asked.identity.username}, or to a group of theirs, {where}"]
    said = [f"{'the role is not there: ' if rbac.table(grant.role) is None else ''}{grant}" for grant in grants]
    more = [f"... and {len(said) - MOST} more"] if len(said) > MOST else []
    return [f"what they have {where} does not allow it:", *(f"  {line}" for line in [*said[:MOST], *more])]


def _nearest(rbac: Rbac, asked: Attributes) -> list[str]:
    """The rule that is wrong in the fewest respects, if it is about the thing at all."""
    scored = [(lacking(rule, asked), grant, rule) for grant, rule in _granted(rbac, asked, asked.namespace)]
    about = [each for each in scored if not {"resource", "path"} & set(each[0])]
    if not about:
        return []
    wrong, grant, rule = min(about, key=lambda each: len(each[0]))
    return [f"nearest is the rule {rule} of {grant}: another {' and '.join(wrong)}"]


def _elsewhere(rbac: Rbac, asked: Attributes) -> list[str]:
    if asked.path:
        return []
    there = [
        (namespace, grant)
        for namespace in rbac.namespaces_of(asked.identity)
        if namespace != asked.namespace
        for grant, rule in _granted(rbac, asked, namespace)
        if allows(rule, asked)
    ]
    first = dict(reversed(there))
    return [f"it is allowed in the namespace {namespace}, by {first[namespace]}" for namespace in sorted(first)[:MOST]]


def _by_roles(rbac: Rbac, asked: Attributes) -> list[str]:
    """Roles that would allow it, if they were bound."""
    could = [place for place in rbac.roles() if place.namespace in ("", asked.namespace) and _would(rbac, place, asked)]
    named = [f'{"Role" if place.namespace else "ClusterRole"} "{place.name}"' for place in sorted(could)]
    if not named:
        return ["no role that is there would allow it"]
    more = f", and {len(named) - MOST} more" if len(named) > MOST else ""
    return [f"it would be allowed by a binding of {', '.join(named[:MOST])}{more}"]


def _would(rbac: Rbac, place: Place, asked: Attributes) -> bool:
    table = rbac.table(place)
    return table is not None and any(allows(rule, asked) for rule in table.rules)
