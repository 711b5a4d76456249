"""Policies at work: an index of them and of their bindings, kept in the step that publishes a change, and asked about every write.

What it promises: a policy holds when the write that made it is answered. What is usual is evaluated at once; what takes longer goes
on in one thread, which lets others run every few hundred steps, up to a limit, so that no policy can stop the server. What goes
wrong counts as the failure policy says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import msgspec
from anyio import from_thread, to_thread

from admission.conditions import access_of, variables
from admission.identity import is_server
from admission.matching_rules import Address, Constraints, exempt, subject_of
from admission.policies import OVER_BUDGET, Binding, Failure, ParamRef, Policy, Verdict, broken, judge
from admission.review import Authorizer, Review
from apiserver.calls import LONGEST_NOTE
from apiserver.following import follow
from apiserver.stored import document_of, in_version
from registry.builtin.policies import POLICY, POLICY_BINDING
from registry.catalog import Catalog
from registry.cel import STEPS, CostExceeded, Meter
from registry.errors import ApiError, Cause, Forbidden, TooLarge, details
from registry.kinds import Kind, Version, resource_name
from registry.unasked import answered
from storage.sql import SqlStore
from storage.store import Key, Record

Document = dict[str, Any]
T = TypeVar("T")

AT_ONCE = 20_000
"""Steps that all policies together may take of one write before they go on in a thread: at most about 10 ms."""
TURN = 500
"""Steps after which the thread lets others run: less than half a millisecond."""
MOST_PARAMS = 1_000
"""Objects that a binding may take as parameters of one write."""
FAILURE_NOTE = "validation.policy.admission.k8s.io/validation_failure"


class _Unauthorized(ApiError):
    code = 401
    reason = "Unauthorized"


class _Invalid(ApiError):
    code = 422
    reason = "Invalid"


_REASONS: Mapping[str, type[ApiError]] = {
    "Forbidden": Forbidden,
    "Unauthorized": _Unauthorized,
    "RequestEntityTooLarge": TooLarge,
    "Invalid": _Invalid,
}


class _Yielding(Meter):
    """A meter that lets other threads run now and then."""

    __slots__ = ("_turn",)

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self._turn = steps - TURN

    def spend(self, steps: int) -> None:
        super().spend(steps)
        if self.left < self._turn:
            self._turn = self.left - TURN
            time.sleep(0)


class _Kept(Generic[T]):
    """Follows a kind; keeps what `read` makes of each object, by name. What cannot be read, since it was written past the API or by
    another version, is what `unread` makes of its name."""

    def __init__(self, read: Callable[[Document], T], unread: Callable[[str], T], changed: Callable[[], None]) -> None:
        self.by_name: dict[str, T] = {}
        self._read = read
        self._unread = unread
        self._changed = changed

    def put(self, record: Record) -> None:
        """An object is there, new or changed."""
        name = record.key.name
        try:
            self.by_name[name] = self._read(document_of(record))
        except Exception:  # a follower must not raise: it is told in the step that commits
            self.by_name[name] = self._unread(name)
        self._changed()

    def remove(self, record: Record) -> None:
        """An object is gone."""
        self.by_name.pop(record.key.name, None)
        self._changed()


class _Bound(msgspec.Struct, frozen=True):
    """A policy with one of its bindings."""

    policy: Policy
    binding: Binding


class _Case(msgspec.Struct, frozen=True):
    """A policy and a binding that are asked about a write, and what came of it."""

    bound: _Bound
    verdicts: Sequence[Verdict]


class Policies:
    """The policies of a store, as an `Admitter`."""

    def __init__(self, catalog: Catalog, store: SqlStore, authorizer: Authorizer) -> None:
        self._catalog = catalog
        self._store = store
        self._authorizer = authorizer
        self._alone = anyio.CapacityLimiter(1)
        self._about: dict[
            tuple[str, str, str, str], tuple[_Bound, ...]
        ] = {}  # of each kind of write; emptied by every change of policies or kinds
        self._policies = _Kept(Policy.of, unread_policy, self._about.clear)
        self._bindings = _Kept(Binding.of, lambda name: Binding(name, "", None, None, ()), self._about.clear)
        catalog.follow(lambda _: self._about.clear())
        if catalog.registry.of_resource(POLICY.resource) is not None:
            follow(store, POLICY.resource, self._policies)
            follow(store, POLICY_BINDING.resource, self._bindings)

    def concerns(self, review: Review[Document]) -> bool:
        """Whether any policy could mean such a write. What the server itself writes none does: a policy about everything would keep
        it from starting, and only a server that runs can be told to remove it."""
        return bool(self._bindings.by_name) and not is_server(review.identity) and bool(self._bound(review))

    async def mutate(self, review: Review[Document]) -> Document:
        """Policies change nothing."""
        return review.new

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        """Raises ApiError: the first thing that a policy has against the write."""
        cases = [case async for case in self._cases(review)]
        denied: list[tuple[_Bound, Failure]] = []
        audited: list[Document] = []
        for bound, failure in (
            (case.bound, failure) for case in cases for verdict in case.verdicts for failure in verdict.failures
        ):
            actions = bound.binding.actions
            if "Warn" in actions:
                review.warn(f"Validation failed for {_named(bound)}: {failure.message}")
            if "Audit" in actions:
                audited.append(_audited(bound, failure))
            if "Deny" in actions or bound.binding.broken:
                denied.append((bound, failure))
        if audited:
            review.note(FAILURE_NOTE, _as_note(audited))
        for key, values in _notes(cases).items():
            review.note(key, ", ".join(values))
        if denied:
            raise _refusal(review, *denied[0])
        return []

    def _bound(self, review: Review[Document]) -> tuple[_Bound, ...]:
        """What could be about such a write, as far as rules alone tell."""
        kind, version = review.kind, review.path_version
        if kind is None or version is None or exempt(kind):
            return ()
        key = (kind.resource, version.api_version, review.subresource, review.operation)
        if key not in self._about:
            self._about[key] = tuple(self._find(kind, version, review))
        return self._about[key]

    def _find(self, kind: Kind, version: Version, review: Review[Document]) -> Iterable[_Bound]:
        for _, binding in sorted(self._bindings.by_name.items()):
            policy = self._policies.by_name.get(binding.policy)
            constraints = [each.constraints for each in (policy, binding) if each is not None and each.constraints is not None]
            if policy is not None and all(each.about(review.operation, kind, version, review.subresource) for each in constraints):
                yield _Bound(policy, binding)

    async def _cases(self, review: Review[Document]) -> Any:
        """Whoever means the write, and what they say."""
        subject = subject_of(review, self._labels)
        quick = Meter(AT_ONCE)
        for bound in self._bound(review):
            address = bound.policy.constraints.match(subject)
            narrowed = bound.binding.constraints
            if address is None or (narrowed is not None and narrowed.match(subject) is None):
                continue
            yield _Case(bound, await self._judged(review, bound, address, quick))

    async def _judged(self, review: Review[Document], bound: _Bound, address: Address, quick: Meter) -> Sequence[Verdict]:
        policy = bound.policy
        try:
            params = await answered(partial(self._params, policy, bound.binding, review.namespace))
        except ValueError as error:
            return [broken(policy, f"failed to configure binding: {error}")]
        access = access_of(self._authorizer, review.identity)
        given = await answered(partial(variables, review, address, access, policy.names))
        given["namespaceObject"] = self._namespace(review.namespace) if "namespaceObject" in policy.names else None
        try:
            return judge(policy, given, params, quick)
        except CostExceeded:
            pass

        def from_there(verb: str, about: Mapping[str, str]) -> tuple[bool, str]:
            return from_thread.run_sync(access, verb, about)  # the index of the authorizer changes in the loop

        given.update(await answered(partial(variables, review, address, from_there, policy.names)))
        try:
            return await to_thread.run_sync(judge, policy, given, params, _Yielding(STEPS), limiter=self._alone)
        except CostExceeded:
            return [broken(policy, OVER_BUDGET)]

    def _params(self, policy: Policy, binding: Binding, namespace: str) -> Sequence[Document | None]:
        """The parameters of a binding; None alone: it has none. Raises ValueError."""
        if binding.broken:
            raise ValueError(binding.broken)
        if policy.param_kind is None or binding.params is None:
            return [None]
        served = self._catalog.registry.of_type(*policy.param_kind)
        if served is None:
            raise ValueError(f"paramKind kind `{', '.join(policy.param_kind)}` not known")
        found = self._records(binding.params, served[0], namespace)
        if not found and binding.params.required:
            raise ValueError("no params found for policy binding with `Deny` parameterNotFoundAction")
        return [in_version(served[1], record) for record in found]

    def _records(self, ref: ParamRef, kind: Kind, namespace: str) -> Sequence[Record]:
        if kind.namespaced:
            namespace = ref.namespace or namespace
            if not namespace:
                raise ValueError("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
        elif ref.namespace:
            raise ValueError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        else:
            namespace = ""
        if ref.name:
            record = self._store.get(Key(kind.resource, namespace, ref.name))
            return [] if record is None else [record]
        selector = ref.selector
        records = self._store.list(kind.resource, namespace or None).records
        if selector is not None and selector:
            records = [each for each in records if selector.matches(document_of(each)["metadata"].get("labels") or {})]
        if len(records) > MOST_PARAMS:
            raise ValueError(f"there are {len(records)} parameters, and may be at most {MOST_PARAMS}")
        return records

    def _namespace(self, name: str) -> Document | None:
        record = self._store.get(Key("namespaces", "", name)) if name else None
        return None if record is None else document_of(record)

    def _labels(self, namespace: str) -> Mapping[str, str] | None:
        found = self._namespace(namespace)
        return None if found is None else found["metadata"].get("labels")


def unread_policy(name: str) -> Policy:
    """A policy of which nobody knows what it is about: it refuses everything that its bindings mean."""
    return Policy(name, Constraints(everything=True), broken="it cannot be read")


def _named(bound: _Bound) -> str:
    return f"ValidatingAdmissionPolicy '{bound.policy.name}' with binding '{bound.binding.name}'"


def _audited(bound: _Bound, failure: Failure) -> Document:
    return {
        "message": failure.message[:1_000],
        "policy": bound.policy.name,
        "binding": bound.binding.name,
        "expressionIndex": failure.at,
        "validationActions": list(bound.binding.actions),
    }


def _as_note(audited: list[Document]) -> str:
    """As many failures as there is room for."""
    while len(text := msgspec.json.encode(audited).decode()) > LONGEST_NOTE and len(audited) > 1:
        audited = audited[: len(audited) // 2]
    return text


def _notes(cases: Iterable[_Case]) -> dict[str, list[str]]:
    """Audit annotations, each value once."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for key, value in (note for verdict in case.verdicts for note in verdict.notes):
            values = found.setdefault(f"{case.bound.policy.name}/{key}", [])
            if value not in values:
                values.append(value)
    return found


def _refusal(review: Review[Document], bound: _Bound, failure: Failure) -> ApiError:
    """The refusal, as a real server words it: what is invalid is said to be forbidden, too."""
    message = f"{_named(bound)} denied request: {failure.message}"
    plural = review.kind.plural if review.kind is not None else ""
    group = review.version.group if review.version is not None else ""
    about = {**details(name=review.name, group=group, kind=plural), "causes": [{"message": message}]}
    refused = _REASONS.get(failure.reason, _Invalid)
    return refused(f'{resource_name(plural, group)} "{review.name}" is forbidden: {message}', details=about)
