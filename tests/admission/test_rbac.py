"""Roles and bindings: the index decides as a plain reading of all bindings does, whatever was put and removed before."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.identity import Identity, authenticated
from admission.rbac import Binding, Place, Rbac, Role, Subject
from admission.review import Attributes
from admission.rules import ALL, Rule, Table, TooManyPieces, callings, compact, missing, told
from registry.selectors import LabelSelector

VERBS = ("get", "create", ALL)
GROUPS = ("", "uptime.example", ALL)
RESOURCES = ("pods", "probes", "pods/status", "*/status", "*/scale", ALL)
NAMES = ("a", "b")
PATHS = ("/healthz", "/healthz/*", "/api*", ALL)
SPACES = ("shop", "till")
USERS = ("ann", "ben", "system:serviceaccount:shop:bot")


def some(values: Iterable[str], most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(list(values)), min_size=1, max_size=most).map(tuple)


RULE = st.builds(
    Rule, verbs=some(VERBS), api_groups=some(GROUPS), resources=some(RESOURCES), resource_names=st.one_of(st.just(()), some(NAMES))
) | st.builds(Rule, verbs=some(VERBS), non_resource_urls=some(PATHS))
LABELS = st.dictionaries(st.sampled_from(["part", "whole"]), st.sampled_from(["x", "y"]))
SELECTORS = st.one_of(st.none(), st.lists(LABELS, min_size=1, max_size=2).map(lambda each: tuple(selector(one) for one in each)))
ROLE = st.builds(Role, st.lists(RULE, max_size=3).map(tuple), LABELS, SELECTORS)
SUBJECT = st.one_of(
    st.builds(Subject, st.just("User"), st.sampled_from(USERS)),
    st.builds(Subject, st.just("Group"), st.sampled_from(["devs", "ops"])),
    st.builds(Subject, st.just("ServiceAccount"), st.just("bot"), st.sampled_from(["", *SPACES])),
    st.builds(Subject, st.just("Robot"), st.just("ann")),
)
BINDING = st.builds(
    Binding,
    st.sampled_from(["Role", "ClusterRole", ""]),
    st.sampled_from(["r", "s", "none"]),
    st.lists(SUBJECT, max_size=3).map(tuple),
)
ROLE_PLACE = st.builds(Place, st.sampled_from(["", *SPACES]), st.sampled_from(["r", "s", "t"]))
BINDING_PLACE = st.builds(Place, st.sampled_from(["", *SPACES]), st.sampled_from(["b", "c"]))
STEP = st.one_of(
    st.tuples(st.just("role"), ROLE_PLACE, ROLE),
    st.tuples(st.just("binding"), BINDING_PLACE, BINDING),
    st.tuples(st.just("no role"), ROLE_PLACE, st.none()),
    st.tuples(st.just("no binding"), BINDING_PLACE, st.none()),
)
IDENTITY = st.builds(Identity, st.sampled_from(USERS), groups=st.lists(st.sampled_from(["devs", "ops"]), unique=True).map(tuple))
ASKED = st.one_of(
    st.builds(
        Attributes,
        IDENTITY,
        st.sampled_from(VERBS[:2]),
        st.sampled_from(["pods", "probes.uptime.example"]),
        st.sampled_from(["", "status", "scale"]),
        st.sampled_from(["", *SPACES]),
        st.sampled_from(["", *NAMES]),
    ),
    st.builds(Attributes, IDENTITY, st.just("get"), st.just(""), path=st.sampled_from(["/healthz", "/healthz/x", "/api", "/"])),
)


def selector(labels: dict[str, str]) -> LabelSelector:
    return LabelSelector.from_object({"matchLabels": labels})


# The plain reading: every binding and every rule is looked at, in the words of the documentation.


def plain_rules(roles: dict[Place, Role], place: Place, seen: frozenset[Place] = frozenset()) -> list[Rule]:
    role = roles.get(place)
    if role is None or place in seen:
        return []
    if role.selectors is None:
        return list(role.rules)
    chosen = [
        other for other, each in roles.items() if not other.namespace and any(one.matches(each.labels) for one in role.selectors)
    ]
    return [rule for other in chosen for rule in plain_rules(roles, other, seen | {place})]


def is_subject(subject: Subject, who: Identity, namespace: str) -> bool:
    if subject.kind == "User":
        return subject.name == who.username
    if subject.kind == "Group":
        return subject.name in who.groups
    home = subject.namespace or namespace
    return subject.kind == "ServiceAccount" and home != "" and who.username == f"system:serviceaccount:{home}:{subject.name}"


def is_about(rule: Rule, asked: Attributes) -> bool:
    if asked.verb not in rule.verbs and "*" not in rule.verbs:
        return False
    if asked.path:
        return any(
            pattern in ("*", asked.path) or (pattern.endswith("*") and asked.path.startswith(pattern[:-1]))
            for pattern in rule.non_resource_urls
        )
    plural, _, group = asked.resource.partition(".")
    if group not in rule.api_groups and "*" not in rule.api_groups:
        return False
    if rule.resource_names and asked.name not in rule.resource_names:
        return False
    wanted = f"{plural}/{asked.subresource}" if asked.subresource else plural
    return any(said in ("*", wanted) or (asked.subresource != "" and said == f"*/{asked.subresource}") for said in rule.resources)


def plainly(roles: dict[Place, Role], bindings: dict[Place, Binding], asked: Attributes) -> bool:
    for place, binding in bindings.items():
        if place.namespace and (asked.path or place.namespace != asked.namespace):
            continue
        if binding.role_kind not in ("Role", "ClusterRole") or (binding.role_kind == "Role" and not place.namespace):
            continue
        role = Place(place.namespace if binding.role_kind == "Role" else "", binding.role_name)
        if any(is_subject(subject, asked.identity, place.namespace) for subject in binding.subjects) and any(
            is_about(rule, asked) for rule in plain_rules(roles, role)
        ):
            return True
    return False


@settings(max_examples=250, deadline=None)
@given(st.lists(STEP, max_size=14), st.lists(ASKED, min_size=1, max_size=6))
def test_the_index_decides_as_a_plain_reading_of_everything_does_after_any_changes(
    steps: list[tuple[str, Place, Role | Binding | None]], questions: list[Attributes]
) -> None:
    rbac = Rbac()
    roles: dict[Place, Role] = {}
    bindings: dict[Place, Binding] = {}
    for what, place, value in steps:
        before = [rbac.decide(asked).allowed for asked in questions]
        told_narrowed: list[None] = []
        rbac.on_narrowed(lambda heard=told_narrowed: heard.append(None))  # type: ignore[misc]
        match value:
            case Role():
                rbac.put_role(place, value)
                roles[place] = value
            case Binding():
                rbac.put_binding(place, value)
                bindings[place] = value
            case None if what == "no role":
                rbac.remove_role(place)
                roles.pop(place, None)
            case None:
                rbac.remove_binding(place)
                bindings.pop(place, None)
        after = [rbac.decide(asked) for asked in questions]
        assert [decision.allowed for decision in after] == [plainly(roles, bindings, asked) for asked in questions]
        if any(had and not has.allowed for had, has in zip(before, after, strict=True)):
            assert told_narrowed, "a right was taken away, and nobody was told"


@settings(max_examples=200, deadline=None)
@given(st.lists(RULE, max_size=4), st.lists(RULE, max_size=3))
def test_what_is_missing_is_told_whole_and_with_it_nothing_is_missing(held: list[Rule], wanted: list[Rule]) -> None:
    lacking = missing(Table(held), wanted)
    assert not missing(Table([*held, *compact(lacking)]), wanted)
    assert not missing(Table(wanted), lacking), "what is missing is a part of what is wanted"
    assert all(missing(Table(held), [piece]) for piece in lacking), "nothing that is held is missing"


def a_world() -> Rbac:
    rbac = Rbac()
    rbac.put_role(Place("shop", "r"), Role((Rule(("get",), ("",), ("pods",)),)))
    rbac.put_role(Place("", "all"), Role((Rule(("*",), ("*",), ("*",)), Rule(("*",), non_resource_urls=("*",)))))
    rbac.put_binding(Place("shop", "b"), Binding("Role", "r", (Subject("User", "ann"), Subject("ServiceAccount", "bot"))))
    rbac.put_binding(Place("", "root"), Binding("ClusterRole", "all", (Subject("Group", "ops"),)))
    rbac.put_binding(Place("shop", "lost"), Binding("Role", "gone", (Subject("User", "ben"),)))
    return rbac


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        (Identity("ann"), 'RBAC: allowed by RoleBinding "b/shop" of Role "r" to User "ann"'),
        (
            Identity("system:serviceaccount:shop:bot"),
            'RBAC: allowed by RoleBinding "b/shop" of Role "r" to ServiceAccount "bot/shop"',
        ),
        (Identity("x", groups=("ops",)), 'RBAC: allowed by ClusterRoleBinding "root" of ClusterRole "all" to Group "ops"'),
    ],
)
def test_a_reason_names_the_binding_and_the_role_as_kubernetes_does(who: Identity, reason: str) -> None:
    assert a_world().decide(Attributes(who, "get", "pods", namespace="shop")).reason == reason


def test_a_refusal_says_that_a_role_is_not_there_and_otherwise_nothing() -> None:
    rbac = a_world()
    assert rbac.decide(Attributes(Identity("ben"), "get", "pods", namespace="shop")).reason == (
        'RBAC: role.rbac.authorization.k8s.io "gone" not found'
    )
    assert rbac.decide(Attributes(Identity("eve"), "get", "pods", namespace="shop")).reason == ""


def test_all_that_somebody_may_do_is_listed_resources_apart_from_paths() -> None:
    rbac = a_world()
    assert rbac.rules_for(Identity("ann"), "shop") == ((Rule(("get",), ("",), ("pods",)),), ())
    assert rbac.rules_for(Identity("ann"), "") == ((), ())
    everything, paths = rbac.rules_for(Identity("x", groups=("ops",)), "shop")
    assert (everything[0].resources, paths[0].non_resource_urls) == (("*",), ("*",))


def test_missing_permissions_are_told_by_resource() -> None:
    lacking = missing(Table([Rule(("get",), ("",), ("configmaps",))]), [Rule(("get", "list"), ("",), ("configmaps", "secrets"))])
    assert told(lacking) == (
        '{APIGroups:[""], Resources:["configmaps"], Verbs:["list"]}\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )


def test_rules_that_are_made_to_be_slow_are_refused_before_they_are_compared() -> None:
    many = tuple(str(number) for number in range(1_000))
    with pytest.raises(TooManyPieces):
        missing(Table([]), [Rule(many, many, many)])
    assert Table([Rule(many, many, many)]).reach("7", "8", callings("9")).any


def test_what_is_remembered_is_bounded() -> None:
    rbac = a_world()
    for number in range(40_000):
        rbac.decide(Attributes(authenticated(Identity(f"u{number}")), "get", "pods", namespace="shop"))
    assert len(rbac._verdicts) <= 16_384
    assert len(rbac._grants) <= 16_384


def test_what_is_remembered_of_a_question_is_not_as_long_as_whoever_asks_likes() -> None:
    rbac = a_world()
    ann = authenticated(Identity("ann"))
    long = "x" * 1_000_000
    for asked in (
        Attributes(ann, long, "pods"),
        Attributes(ann, "get", long),
        Attributes(ann, "get", "pods", long),
        Attributes(ann, "get", "pods", namespace=long),
        Attributes(authenticated(Identity(long)), "get", "pods"),
        Attributes(authenticated(Identity("ann", groups=(long,))), "get", "pods"),
    ):
        assert rbac.decide(asked) == rbac.decide(asked)
        assert not rbac.decide(asked).allowed
    kept = [*rbac._verdicts, *rbac._grants]
    assert kept, "what is short is remembered"
    assert long not in str(kept)
