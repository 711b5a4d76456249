"""Why somebody may do something, or what is nearest to letting them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from admission.explaining import allows, explained
from admission.identity import Identity
from admission.rbac import Binding, Place, Rbac, Role, Subject
from admission.review import Attributes
from admission.rules import Rule
from tests.admission.test_rbac import ASKED, RULE, is_about

ANN = Identity("ann", groups=("system:authenticated",))


def a_world() -> Rbac:
    rbac = Rbac()
    rbac.put_role(Place("", "reader"), Role((Rule(("get", "list"), ("",), ("pods",)),)))
    rbac.put_role(Place("", "writer"), Role((Rule(("*",), ("",), ("pods",)),)))
    rbac.put_binding(Place("shop", "b"), Binding("ClusterRole", "reader", (Subject("User", "ann"),)))
    rbac.put_binding(Place("till", "w"), Binding("ClusterRole", "writer", (Subject("User", "ann"),)))
    return rbac


def told(verb: str, resource: str, namespace: str = "shop", **more: Any) -> tuple[bool, str]:
    allowed, why = explained(a_world(), Attributes(ANN, verb, resource, namespace=namespace, **more))
    return allowed, "\n".join(why)


def test_what_is_allowed_names_the_binding_and_the_rule() -> None:
    assert told("get", "pods") == (
        True,
        (
            'RBAC: allowed by RoleBinding "b/shop" of ClusterRole "reader" to User "ann"\n'
            'by the rule {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}'
        ),
    )


def test_what_is_not_names_what_there_is_what_is_nearest_and_what_would_do() -> None:
    allowed, why = told("delete", "pods")
    assert not allowed
    assert why == (
        "what they have in the namespace shop does not allow it:\n"
        '  RoleBinding "b/shop" of ClusterRole "reader" to User "ann"\n'
        'nearest is the rule {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]} of '
        'RoleBinding "b/shop" of ClusterRole "reader" to User "ann": another verb\n'
        'it is allowed in the namespace till, by RoleBinding "w/till" of ClusterRole "writer" to User "ann"\n'
        'it would be allowed by a binding of ClusterRole "writer"'
    )


def test_who_has_nothing_is_told_so() -> None:
    allowed, why = told("get", "secrets", "elsewhere")
    assert not allowed
    nothing, nowhere = why.splitlines()
    assert nothing == "no role is bound to ann, or to a group of theirs, in the namespace elsewhere"
    assert nowhere == "no role that is there would allow it"


@settings(max_examples=200, deadline=None)
@given(RULE, ASKED)
def test_a_rule_lacks_nothing_exactly_when_it_allows(rule: Rule, asked: Attributes) -> None:
    assert allows(rule, asked) == is_about(rule, asked)
