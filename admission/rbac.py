"""Roles and bindings: what has been bound to whom, kept so that a decision does not look at what concerns others.

`Rbac` is told of every role and binding (`put_role`, `put_binding`, ...), and decides at once by what it was told last. It holds no
documents and does no I/O.

* Bindings are found by subject and namespace; of several bindings of one role to one subject in one namespace one is looked at. So
  a decision takes the time of the roles that somebody has in a namespace, not of the bindings that there are.
* The last decisions are remembered, without the name of the object, and forgotten all together when anything changes. What is
  kept of them is bounded, whatever is asked.
* A role with an aggregation rule means the rules of the roles that it selects, now: what is written in its own rules is a copy of
  that, and is not looked at. Selections go through other aggregated roles, also in a circle.
* A binding of a role that is not there allows nothing; a refusal says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from admission.identity import Identity
from admission.review import Attributes, Decision
from admission.rules import Rule, Table, callings
from registry.actors import user_of_account
from registry.builtin.rbac import ACCOUNT, GROUP, GROUP_KIND, USER
from registry.selectors import LabelSelector

REMEMBERED = 16_384
"""Decisions that are kept."""
LONGEST = 2_048
"""Letters of a question whose answer is kept. Who asks chooses them, and a review may have millions: no name is that long."""


class Place(NamedTuple):
    """Where a role or a binding is. What belongs to the cluster has no namespace."""

    namespace: str
    name: str


class Role(msgspec.Struct, frozen=True):
    """A role. `selectors`: those of an aggregation rule; None: it has none."""

    rules: tuple[Rule, ...] = ()
    labels: Mapping[str, str] = {}
    selectors: tuple[LabelSelector, ...] | None = None


class Subject(msgspec.Struct, frozen=True):
    """To whom something is bound: a User, a Group or a ServiceAccount."""

    kind: str = ""
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        """As reasons name it."""
        return f'{self.kind} "{self.name}/{self.namespace}"' if self.kind == ACCOUNT else f'{self.kind} "{self.name}"'


class Binding(msgspec.Struct, frozen=True):
    """A binding: a role, by kind and name, and to whom it is bound."""

    role_kind: str
    role_name: str
    subjects: tuple[Subject, ...] = ()


class Grant(NamedTuple):
    """A role that somebody has: through which binding, and as which subject."""

    role: Place
    binding: Place
    subject: Subject

    def __str__(self) -> str:
        """As reasons name it."""
        kind = "Role" if self.role.namespace else "ClusterRole"
        if self.binding.namespace:
            bound = f'RoleBinding "{self.binding.name}/{self.binding.namespace}"'
        else:
            bound = f'ClusterRoleBinding "{self.binding.name}"'
        return f'{bound} of {kind} "{self.role.name}" to {self.subject}'


class _Verdict(msgspec.Struct, frozen=True):
    """All that there is to say of a verb on a resource, for any name."""

    any: Decision | None
    named: Mapping[str, Decision]
    none: Decision


class _Roles(dict[Place, dict[Place, Grant]]):
    """Role -> the bindings through which one subject has it in one namespace."""


Who = tuple[str, str]
Key = tuple[str, tuple[str, ...], str, str, str, str]
"""User name and groups, verb, resource, subresource, namespace: all that a decision depends on but the name."""


class Rbac:
    """An authorizer by roles and bindings. `narrowed` hears of every change that may have taken a right away."""

    def __init__(self) -> None:
        self._roles: dict[Place, Role] = {}
        self._tables: dict[Place, Table] = {}  # of roles that were asked for
        self._bindings: dict[Place, Binding] = {}
        self._bound: dict[Who, dict[str, _Roles]] = {}  # subject -> namespace, "" for everywhere -> roles
        self._verdicts: dict[Key, _Verdict] = {}
        self._grants: dict[tuple[str, tuple[str, ...], str], tuple[Grant, ...]] = {}
        self._listeners: list[Callable[[], None]] = []

    # What there is

    def put_role(self, place: Place, role: Role) -> None:
        """A role is there, or another one than before."""
        before = self._roles.get(place)
        self._roles[place] = role
        self._forget(place, narrowed=before is not None and before != role)

    def remove_role(self, place: Place) -> None:
        """A role is gone."""
        if self._roles.pop(place, None) is not None:
            self._forget(place, narrowed=True)

    def put_binding(self, place: Place, binding: Binding) -> None:
        """A binding is there, or another one than before."""
        before = self._bindings.get(place)
        if before is not None:
            self._unbind(place, before)
        self._bindings[place] = binding
        role = _role_of(place, binding)
        for subject in binding.subjects:
            who = _who(subject, place.namespace)
            if role is not None and who is not None:
                spaces = self._bound.setdefault(who, {})
                named = subject if subject.namespace else msgspec.structs.replace(subject, namespace=place.namespace)
                spaces.setdefault(place.namespace, _Roles()).setdefault(role, {})[place] = Grant(role, place, named)
        self._forget(None, narrowed=before is not None and before != binding)

    def remove_binding(self, place: Place) -> None:
        """A binding is gone."""
        before = self._bindings.pop(place, None)
        if before is not None:
            self._unbind(place, before)
            self._forget(None, narrowed=True)

    def on_narrowed(self, listener: Callable[[], None]) -> None:
        """Has `listener` called after every change that may have taken a right away. It must not raise."""
        self._listeners.append(listener)

    def _unbind(self, place: Place, binding: Binding) -> None:
        role = _role_of(place, binding)
        for subject in binding.subjects:
            who = _who(subject, place.namespace)
            if role is None or who is None or role not in self._bound.get(who, {}).get(place.namespace, _Roles()):
                continue
            spaces = self._bound[who]
            roles = spaces[place.namespace]
            roles[role].pop(place, None)
            if not roles[role]:
                del roles[role]
            if not roles:
                del spaces[place.namespace]
            if not spaces:
                del self._bound[who]

    def _forget(self, role: Place | None, *, narrowed: bool) -> None:
        self._verdicts.clear()
        self._grants.clear()
        if role is not None:
            self._tables.pop(role, None)
            if not role.namespace:  # whatever selects it means something else now
                for place in [place for place in self._tables if self._aggregates(place)]:
                    del self._tables[place]
        if narrowed:
            for listener in self._listeners:
                listener()

    def _aggregates(self, place: Place) -> bool:
        role = self._roles.get(place)
        return role is None or role.selectors is not None

    # What follows from it

    def decide(self, attributes: Attributes) -> Decision:
        """Whether some role allows it."""
        if attributes.path:
            return self._decide_path(attributes)
        who = attributes.identity
        key = (who.username, who.groups, attributes.verb, attributes.resource, attributes.subresource, attributes.namespace)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verdict(attributes)
            if _short(who, attributes.verb, attributes.resource, attributes.subresource, attributes.namespace):
                if len(self._verdicts) >= REMEMBERED:
                    self._verdicts.clear()
                self._verdicts[key] = verdict
        if verdict.any is not None:
            return verdict.any
        return verdict.named.get(attributes.name, verdict.none)

    def grants(self, identity: Identity, namespace: str) -> tuple[Grant, ...]:
        """The roles that somebody has in a namespace (none: everywhere), those that count everywhere first; each once for each
        subject."""
        key = (identity.username, identity.groups, namespace)
        found = self._grants.get(key)
        if found is None:
            found = tuple(self._granted(identity, namespace))
            if _short(identity, namespace):
                if len(self._grants) >= REMEMBERED:
                    self._grants.clear()
                self._grants[key] = found
        return found

    def table(self, role: Place) -> Table | None:
        """What a role means; None if there is none of that name."""
        found = self._tables.get(role)
        if found is None and role in self._roles:
            found = self._tables[role] = Table(self.rules_of(role))
        return found

    def rules_of(self, place: Place) -> tuple[Rule, ...]:
        """The rules of a role, or of the roles that it selects, in the order of their names, each rule once."""
        role = self._roles.get(place)
        if role is None or role.selectors is None:
            return role.rules if role is not None else ()
        seen, waiting = {place}, [role]
        plain: list[str] = []
        while waiting:
            selectors = waiting.pop().selectors or ()
            for other, candidate in self._roles.items():
                if other.namespace or other in seen or not any(selector.matches(candidate.labels) for selector in selectors):
                    continue
                seen.add(other)
                if candidate.selectors is None:
                    plain.append(other.name)
                else:
                    waiting.append(candidate)
        return tuple(dict.fromkeys(rule for name in sorted(plain) for rule in self._roles[Place("", name)].rules))

    def roles(self) -> list[Place]:
        """Where there are roles."""
        return list(self._roles)

    def namespaces_of(self, identity: Identity) -> list[str]:
        """The namespaces in which somebody has roles; empty for everywhere."""
        subjects = [(USER, identity.username), *((GROUP_KIND, group) for group in identity.groups)]
        return sorted({namespace for who in subjects for namespace in self._bound.get(who, ())})

    def aggregated(self) -> list[Place]:
        """The cluster roles that are made of others."""
        return [place for place, role in self._roles.items() if role.selectors is not None]

    def rules_for(self, identity: Identity, namespace: str) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        """All that somebody may do in a namespace (none: everywhere): rules about resources, and rules about paths."""
        rules = dict.fromkeys(
            rule for grant in self.grants(identity, namespace) if (table := self.table(grant.role)) for rule in table.rules
        )
        return (
            tuple(rule for rule in rules if not rule.non_resource_urls),
            tuple(rule for rule in rules if rule.non_resource_urls),
        )

    def _granted(self, identity: Identity, namespace: str) -> Iterator[Grant]:
        bound = self._bound
        subjects: list[Who] = [(USER, identity.username), *[(GROUP_KIND, group) for group in identity.groups]]
        spaces = [bound[who] for who in subjects if who in bound]
        for scope in ("", namespace) if namespace else ("",):
            for space in spaces:
                if scope in space:
                    for bindings in space[scope].values():
                        yield next(iter(bindings.values()))

    def _verdict(self, attributes: Attributes) -> _Verdict:
        plural, _, group = attributes.resource.partition(".")
        called = callings(f"{plural}/{attributes.subresource}" if attributes.subresource else plural)
        verb = attributes.verb
        named: dict[str, Decision] = {}
        absent: dict[str, None] = {}
        for grant in self.grants(attributes.identity, attributes.namespace):
            table = self.table(grant.role)
            if table is None:
                absent[_absent(grant.role)] = None
                continue
            reach = table.reach(verb, group, called)
            if reach.any:
                return _Verdict(_allowed(grant), {}, _refused(absent))
            for name in reach.names:
                named.setdefault(name, _allowed(grant))
        return _Verdict(None, named, _refused(absent))

    def _decide_path(self, attributes: Attributes) -> Decision:
        absent: dict[str, None] = {}
        for grant in self.grants(attributes.identity, ""):
            table = self.table(grant.role)
            if table is None:
                absent[_absent(grant.role)] = None
            elif table.allows_path(attributes.verb, attributes.path):
                return _allowed(grant)
        return _refused(absent)


def _short(who: Identity, *texts: str) -> bool:
    """Whether a question is short enough for its answer to be kept."""
    return sum(map(len, (who.username, *who.groups, *texts))) <= LONGEST


def _who(subject: Subject, namespace: str) -> Who | None:
    """As whom a subject is found; None for one that is nobody."""
    if subject.kind == ACCOUNT:
        home = subject.namespace or namespace
        return (USER, user_of_account(home, subject.name)) if home else None
    return (subject.kind, subject.name) if subject.kind in (USER, GROUP_KIND) else None


def _role_of(place: Place, binding: Binding) -> Place | None:
    """The role that a binding is about; None for one that no such binding can bind."""
    if binding.role_kind == "ClusterRole":
        return Place("", binding.role_name)
    return Place(place.namespace, binding.role_name) if binding.role_kind == "Role" and place.namespace else None


def _allowed(grant: Grant) -> Decision:
    return Decision(True, f"RBAC: allowed by {grant}")


def _refused(absent: Iterable[str]) -> Decision:
    said = list(absent)
    if not said:
        return Decision(False)
    return Decision(False, f"RBAC: {said[0]}" if len(said) == 1 else f"RBAC: [{', '.join(said)}]")


def _absent(role: Place) -> str:
    kind = "role" if role.namespace else "clusterrole"
    return f'{kind}.{GROUP} "{role.name}" not found'
